"""Action masks: 1 for each action that is allowed, 0 for what is forbidden.

Of several action dimensions (MultiDiscrete) the mask is that of each, one after the other, as the
logits are.

Legend: T rows, N environments, B rows, A logits.
"""

from collections.abc import Sequence
from typing import Any

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
    mask_space, sizes = spaces[ACTION_MASK], _num_choices(action_space)
    if mask_space.shape != (sum(sizes),):
        raise ConfigError(
            f"the observation's field {ACTION_MASK!r} is of {mask_space}, but {action_space} needs "
            f"a mask of shape ({sum(sizes)},): one entry for each choice"
        )
    return sizes


def _num_choices(action_space: gym.Space[Any]) -> tuple[int, ...]:
    if isinstance(action_space, gym.spaces.Discrete):
        return (int(action_space.n),)
    if isinstance(action_space, gym.spaces.MultiDiscrete):
        return tuple(int(n) for n in action_space.nvec.flat)
    raise ConfigError(
        f"observations have a field {ACTION_MASK!r}, but actions of {action_space} cannot be "
        "masked, only those of Discrete and MultiDiscrete; rename the field, or change the space"
    )


def check_mask(
    mask: NDArray[Any],
    sizes: Sequence[int],
    first_step: int,
    agents: Sequence[tuple[int, Any]] | None = None,
) -> None:
    """Refuse masks [T, N, A] that leave no action, whose row 0 is vector step ``first_step``.

    Args:
        mask: of every environment in every row.
        sizes: from ``mask_sizes``; they add up to A.
        first_step: the vector step of row 0.
        agents: [N] environment and agent whose masks these are, where there are several agents;
            otherwise each column is an environment.

    Raises:
        EnvFault: naming environment, agent, vector step and action dimension.
    """
    starts = np.cumsum([0, *sizes[:-1]])
    allowed = np.logical_or.reduceat(mask != 0, starts, axis=-1)
    if allowed.all():
        return
    row, column, dimension = (int(i) for i in np.argwhere(~allowed)[0])
    env_index, agent_id = (column, None) if agents is None else agents[column]
    agent = "" if agents is None else f", agent {agent_id!r},"
    place = ACTION_MASK if len(sizes) == 1 else f"{ACTION_MASK} for action dimension {dimension}"
    raise EnvFault(
        f"environment {env_index}{agent} forbids every action in {place} at vector step "
        f"{first_step + row}. Allow at least one, or end the episode before it comes to this.",
        env_index=env_index,
        step=first_step + row,
        field=ACTION_MASK,
        value=repr(mask[row, column].tolist()),
    )
