"""Whether there is a module for an environment's spaces."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np

from rllib.envs.check.code import as_code
from rllib.envs.check.findings import Finding, error, warning
from rllib.envs.check.watch import MASK
from rllib.envs.faults import EnvSetupError, field_path
from rllib.envs.packing import leaves


def check_spaces(env: Any) -> Iterator[Finding]:
    """Those of an environment of one agent."""
    for name in ("observation_space", "action_space"):
        space = getattr(env, name, None)
        if not isinstance(space, gym.Space):
            yield error(name, f"is {space!r}", f"set self.{name} in the constructor")
            return
        yield from check_space(name, space)
    yield from check_mask_space(env.observation_space, env.action_space)


def spaces_of(env: Any) -> dict[str, gym.Space[Any]]:
    """Copies of both, by name."""
    return {name: deepcopy(getattr(env, name)) for name in ("observation_space", "action_space")}


def check_unchanged(env: Any, before: Mapping[str, gym.Space[Any]]) -> Iterator[Finding]:
    """A module is made once, for spaces that stay what they are."""
    for name, space in before.items():
        if (now := getattr(env, name)) != space:
            text = f"was {space} when the environment was made, and {now} after it was played"
            yield error(name, text, "set it once, in the constructor; masks forbid some actions")


def check_mask_space(
    observation_space: Any, action_space: Any, root: str = "obs"
) -> Iterator[Finding]:
    """One entry for each choice, of actions that can be forbidden."""
    if mask_fits(observation_space, action_space):
        return
    sizes, place = choices(action_space), field_path(root, [MASK])
    if sizes:
        text = f"is of {observation_space[MASK]}, but {action_space} has {sum(sizes)} choices"
        yield error(place, text, as_code(gym.spaces.MultiBinary(sum(sizes))))
    else:
        text = f"only actions of Discrete and MultiDiscrete can be masked, not {action_space}"
        yield error(place, text, "rename the field, or change the action space")


def check_space(name: str, space: gym.Space[Any]) -> Iterator[Finding]:
    """Parts of a fixed shape; actions with bounds."""
    try:
        parts = list(leaves(space, name))
    except EnvSetupError as failure:
        yield error(name, str(failure))
        return
    for leaf in parts:
        box = leaf.space
        if name == "action_space" and isinstance(box, gym.spaces.Box) and not box.is_bounded():
            text = f"{box} has no bounds, so actions of order one are all that is tried"
            bounded = as_code(gym.spaces.Box(-1, 1, box.shape, np.float32))
            yield warning(leaf.path(name), text, f"give it the bounds that it has: {bounded}")


def choices(space: gym.Space[Any]) -> tuple[int, ...]:
    """How many entries of a mask each action dimension has; empty if it cannot be masked."""
    if isinstance(space, gym.spaces.Discrete):
        return (int(space.n),)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return tuple(int(n) for n in space.nvec.flat)
    return ()


def has_mask(observation_space: gym.Space[Any]) -> bool:
    """Whether observations tell which actions are allowed."""
    return isinstance(observation_space, gym.spaces.Dict) and MASK in observation_space.spaces


def mask_fits(observation_space: Any, action_space: gym.Space[Any]) -> bool:
    """Whether the mask has an entry for each choice, or there is none."""
    if not has_mask(observation_space):
        return True
    sizes = choices(action_space)
    return bool(sizes) and observation_space[MASK].shape == (sum(sizes),)


def mask_sizes_of(env: Any) -> tuple[int, ...]:
    """``mask_sizes`` of an environment's spaces."""
    return mask_sizes(env.observation_space, env.action_space)


def mask_sizes(observation_space: Any, action_space: Any) -> tuple[int, ...]:
    """``choices`` of spaces whose mask fits; empty without a mask."""
    fits = has_mask(observation_space) and mask_fits(observation_space, action_space)
    return choices(action_space) if fits else ()
