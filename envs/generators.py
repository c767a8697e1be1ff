"""State of the random generators that gymnasium's environments draw from."""

from collections.abc import Mapping
from typing import Any, cast

from numpy.random import Generator


def generator_state(rng: Generator) -> dict[str, Any]:
    """State tree of a PCG64; integers of 128 bits are text, which every format can hold."""
    state = cast(dict[str, Any], rng.bit_generator.state)
    return {
        "rng": {key: hex(value) for key, value in state["state"].items()},
        "rng_cache": [int(state["has_uint32"]), int(state["uinteger"])],
    }


def set_generator_state(rng: Generator, state: Mapping[str, Any]) -> None:
    """Draw on from a state of ``generator_state``."""
    has_uint32, uinteger = state["rng_cache"]
    rng.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {key: int(value, 16) for key, value in state["rng"].items()},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }
