"""One root seed derives every other: by role, index and generation, never by order of creation.

Because a seed depends on what it is for and not on where it is used, an env runner draws the same
numbers in the main process as in an actor on another node.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import numpy as np


class Role(IntEnum):
    """What a random stream is for. The numbers are part of every seed: never reuse one."""

    MODULE_INIT = 0
    LEARNER = 1
    ENV_RUNNER = 2
    ENVIRONMENT = 3
    EVALUATION = 4
    CIRCULAR_BUFFER = 5
    MODULE = 6
    REPLAY = 7
    ACTING = 8


def seed_sequence(
    root: int, role: Role, index: int = 0, generation: int = 0
) -> np.random.SeedSequence:
    """The seed of one role; ``generation`` counts the restores that could not go on seamlessly."""
    return np.random.SeedSequence(root, spawn_key=(role, index, generation))


def later_life(generation: int, num_restarts: int) -> int:
    """The generation of an env runner that was started anew so often since a restore."""
    return generation + (num_restarts << 16)


def derive_seed(root: int, role: Role, index: int = 0, generation: int = 0) -> int:
    """The same as an integer in [0, 2**31), for those who take no more."""
    return int(seed_sequence(root, role, index, generation).generate_state(1)[0] >> 1)


def draw_seed(rng: np.random.Generator) -> int:
    """A seed of the same range out of a stream, which a restored stream draws again."""
    return int(rng.integers(2**31))


def derive_rng(root: int, role: Role, index: int = 0, generation: int = 0) -> np.random.Generator:
    """A generator for one role."""
    return np.random.Generator(np.random.PCG64(seed_sequence(root, role, index, generation)))


def rng_state(rng: np.random.Generator) -> dict[str, Any]:
    """State tree of a generator; integers of 128 bits become text, which every format can hold."""
    return _map_leaves(rng.bit_generator.state, lambda leaf: f"{leaf:#x}", int)


def set_rng_state(rng: np.random.Generator, state: dict[str, Any]) -> None:
    """Put a generator of the same kind into a state from ``rng_state``.

    Raises:
        ValueError: the state belongs to another kind of generator.
    """
    plain = _map_leaves(state, lambda leaf: int(leaf, 16) if leaf.startswith("0x") else leaf, str)
    rng.bit_generator.state = plain


def _map_leaves(tree: Mapping[str, Any], change: Any, kind: type) -> dict[str, Any]:
    return {
        key: _map_leaves(leaf, change, kind)
        if isinstance(leaf, dict)
        else (change(leaf) if isinstance(leaf, kind) else leaf)
        for key, leaf in tree.items()
    }
