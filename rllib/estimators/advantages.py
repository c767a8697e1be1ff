"""Advantages over a value function.

Legend: T rows of a fragment, N environments, K truncated episodes in the fragment.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rllib.estimators.recurrence import Bools, Floats, accumulate, goes_on


class Advantages(NamedTuple):
    """Advantages and value targets, both [T, N] and 0 on reset rows."""

    advantages: Floats
    value_targets: Floats


def next_values(
    values: Floats,
    last_values: Floats,
    final_values: Floats,
    final_index: NDArray[np.int64],
    terminateds: Bools,
) -> Floats:
    """V(s_{t+1}) for every row: the one place that decides what an episode's end is worth.

    Within an episode it is the next row's value; after the fragment, ``last_values``; where an
    episode was truncated, the value of its true last observation; where it terminated, 0.

    Args:
        values: [T, N] V(s_t).
        last_values: [N] V of the observations after the last row.
        final_values: [K] V of the true last observations of truncated episodes.
        final_index: [K] their rows, as ``t * N + n``.
        terminateds: [T, N]; wins over truncation where both are set.
    """
    following = np.concatenate([values[1:], last_values[None]])
    following.reshape(-1)[final_index] = final_values
    following[terminateds] = 0.0
    return following


def gae(
    rewards: Floats,
    values: Floats,
    following: Floats,
    dones: Bools,
    reset_rows: Bools,
    *,
    gamma: float,
    lambda_: float,
) -> Advantages:
    """Generalised advantage estimation (Schulman et al. 2016, arXiv 1506.02438, eq. 16).

    Computes, backwards in time, ``delta_t = r_t + gamma V(s_{t+1}) - V(s_t)`` and
    ``A_t = delta_t + gamma lambda A_{t+1}``, where the sum stops at every episode's end.

    Args:
        rewards: [T, N].
        values: [T, N] V(s_t).
        following: [T, N] V(s_{t+1}) from ``next_values``.
        dones: [T, N] the episode ended in this row, by termination or truncation.
        reset_rows: [T, N] rows that are no env steps; they get 0 and pass nothing on.
        gamma: discount factor per env step.
        lambda_: 0 gives the one-step error, 1 the full return minus the value.
    """
    live = ~reset_rows
    deltas = (rewards + gamma * following - values) * live
    advantages = accumulate(deltas, np.float32(gamma * lambda_) * goes_on(dones, reset_rows))
    return Advantages(advantages, (advantages + values) * live)
