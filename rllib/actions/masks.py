"""Action masks: 1 for each action that is allowed, 0 for what is forbidden.

Of several action dimensions (MultiDiscrete) the mask is that of each, one after the other, as the
logits are.

Legend: T rows, N environments, B rows, A logits.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.envs.faults import EnvFault
from rllib.errors import ConfigError
from rllib.modules.observations import ACTION_MASK

Floats = NDArray[np.float32]

FORBIDDEN = np.float32(-1e9)
"""Logit of a forbidden action: its probability is exactly 0, and nothing is infinite or NaN."""


def mask_inputs(inputs: Floats, mask: NDArray[Any]) -> Floats:
    """Logits, or action values, [B, A] without those that the mask [B, A] forbids."""
    return np.where(mask == 0, FORBIDDEN, inputs)


def mask_sizes(observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> tuple[int, ...]:
    """How many entries of the mask each action dimension has; empty without a mask.

    Raises:
        ConfigError: the mask does not fit the actions, or these cannot be forbidden.
    """
    spaces = observation_space.spaces if isinstance(observation_space, gym.spaces.Dict) else {}
    if ACTION_MASK not in spaces:
        return ()
    mask_space, sizes = spaces[ACTION_MASK], num_choices(action_space)
    if mask_space.shape != (sum(sizes),):
        raise ConfigError(
            f"the observation's field {ACTION_MASK!r} is of {mask_space}, but {action_space} needs "
            f"a mask of shape ({sum(sizes)},): one entry for each choice"
        )
    return sizes


def num_choices(action_space: gym.Space[Any]) -> tuple[int, ...]:
    """How many entries of a mask each dimension of such actions needs.

    Raises:
        ConfigError: they cannot be forbidden.
    """
    if isinstance(action_space, gym.spaces.Discrete):
        return (int(action_space.n),)
    if isinstance(action_space, gym.spaces.MultiDiscrete):
        return tuple(int(n) for n in action_space.nvec.flat)
    raise ConfigError(
        f"there is an {ACTION_MASK!r}, but actions of {action_space} cannot be masked, only those "
        "of Discrete and MultiDiscrete; rename the observation's field, or change the space"
    )


class BadMask(NamedTuple):
    """What is wrong with one of many masks: where it is, and why it cannot be obeyed."""

    place: tuple[int, ...]
    dimension: int
    element: int | None
    value: Any


def find_bad_mask(mask: NDArray[Any], sizes: Sequence[int]) -> BadMask | None:
    """The first of masks [..., A] that is not made of 0 and 1, or leaves no action.

    Args:
        mask: all of them.
        sizes: from ``mask_sizes``; they add up to A.
    """
    starts = np.cumsum([0, *sizes[:-1]])
    allowed = mask == 1
    odd = ~allowed & (mask != 0)
    if odd.any():
        *place, element = (int(i) for i in np.argwhere(odd)[0])
        value = mask[(*place, element)].item()
        return BadMask(tuple(place), _dimension(starts, element), element, value)
    left = np.logical_or.reduceat(allowed, starts, axis=-1)
    if left.all():
        return None
    *place, dimension = (int(i) for i in np.argwhere(~left)[0])
    return BadMask(tuple(place), dimension, None, mask[tuple(place)].tolist())


def _dimension(starts: NDArray[Any], element: int) -> int:
    return int(np.searchsorted(starts, element, "right")) - 1


def check_mask(
    mask: NDArray[Any],
    sizes: Sequence[int],
    first_step: int,
    agents: Sequence[tuple[int, Any]] | None = None,
) -> None:
    """Refuse masks [T, N, A] that cannot be obeyed, whose row 0 is vector step ``first_step``.

    Args:
        mask: of every environment in every row.
        sizes: from ``mask_sizes``; they add up to A.
        first_step: the vector step of row 0.
        agents: [N] environment and agent whose masks these are, where there are several agents;
            otherwise each column is an environment.

    Raises:
        EnvFault: naming environment, agent, vector step, action dimension and value.
    """
    bad = find_bad_mask(mask, sizes)
    if bad is None:
        return
    row, column = bad.place
    env_index, agent_id = (column, None) if agents is None else agents[column]
    agent = "" if agents is None else f", agent {agent_id!r},"
    who, when = f"environment {env_index}{agent}", f"at vector step {first_step + row}"
    if bad.element is None:
        of = f" for action dimension {bad.dimension}" if len(sizes) > 1 else ""
        text = f"{who} forbids every action in {ACTION_MASK}{of} {when}. {ALLOW_ONE}"
    else:
        text = f"{who} returned {ACTION_MASK}[{bad.element}] = {bad.value} {when}. {ZERO_OR_ONE}"
    raise EnvFault(
        text,
        env_index=env_index,
        step=first_step + row,
        agent=agent_id,
        field=ACTION_MASK,
        value=repr(bad.value),
    )


ALLOW_ONE = "Allow at least one, or end the episode before it comes to this."
ZERO_OR_ONE = "A mask is made of 1 for what is allowed and 0 for what is forbidden."
