"""Returns: what a row's action brought, counted to the episode's end or bootstrapped before it.

Legend: T rows, N environments.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rllib.estimators.recurrence import Bools, Floats, accumulate, goes_on

Ints = NDArray[np.int64]


def discounted_returns(rewards: Floats, dones: Bools, reset_rows: Bools, *, gamma: float) -> Floats:
    """``G_t = r_t + gamma G_{t+1}`` to the episode's or the fragment's end, without bootstrap.

    Args:
        rewards: [T, N].
        dones: [T, N] the episode ended in this row.
        reset_rows: [T, N] rows that are no env steps; they get 0 and pass nothing on.
        gamma: discount factor per env step.
    """
    return accumulate(rewards * ~reset_rows, np.float32(gamma) * goes_on(dones, reset_rows))


def td_lambda(
    rewards: Floats,
    following: Floats,
    dones: Bools,
    reset_rows: Bools,
    *,
    gamma: float,
    lambda_: float,
) -> Floats:
    """Lambda returns [T, N] (Sutton & Barto 2018, eq. 12.20), 0 on reset rows.

    ``G_t = r_t + gamma ((1 - lambda) V(s_{t+1}) + lambda G_{t+1})``, where the end of an episode or
    of the fragment has ``V(s_{t+1})`` for ``G_{t+1}``.

    Args:
        rewards: [T, N].
        following: [T, N] V(s_{t+1}) from ``next_values``.
        dones: [T, N] the episode ended in this row.
        reset_rows: [T, N] rows that are no env steps.
        gamma: discount factor per env step.
        lambda_: 0 bootstraps after one step, 1 at the end alone.
    """
    on = np.float32(lambda_) * goes_on(dones, reset_rows)
    bootstrapped = rewards + gamma * (1.0 - on) * following
    return accumulate(bootstrapped * ~reset_rows, gamma * on)


class NStep(NamedTuple):
    """Of every row [T, N]: the discounted sum of its next rewards, and how many they are.

    The sum is bootstrapped by ``gamma ** lengths`` times the value of what was observed after row
    ``t + lengths - 1``. On reset rows both are 0.
    """

    rewards: Floats
    lengths: Ints


def n_step(rewards: Floats, dones: Bools, reset_rows: Bools, *, gamma: float, n: int) -> NStep:
    """Up to ``n`` rewards of each row: fewer where the episode or the fragment ends before.

    Args:
        rewards: [T, N].
        dones: [T, N] the episode ended in this row.
        reset_rows: [T, N] rows that are no env steps.
        gamma: discount factor per env step.
        n: at least 1.
    """
    on = goes_on(dones, reset_rows)
    total, lengths = rewards * ~reset_rows, (~reset_rows).astype(np.int64)
    still = np.ones_like(on)
    for k in range(1, min(n, len(rewards))):
        # A row's sum goes on as long as every row in it does.
        still = still[:-1] & on[k - 1 : -1]
        total[:-k] += gamma**k * (rewards[k:] * still)
        lengths[:-k] += still
    return NStep(total, lengths)


def n_step_returns(
    rewards: Floats,
    following: Floats,
    dones: Bools,
    reset_rows: Bools,
    *,
    gamma: float,
    n: int,
) -> Floats:
    """Bootstrapped n-step returns [T, N] (Sutton & Barto 2018, eq. 7.1), 0 on reset rows.

    Args:
        rewards: [T, N].
        following: [T, N] V(s_{t+1}) from ``next_values``.
        dones: [T, N] the episode ended in this row.
        reset_rows: [T, N] rows that are no env steps.
        gamma: discount factor per env step.
        n: at least 1.
    """
    sums, lengths = n_step(rewards, dones, reset_rows, gamma=gamma, n=n)
    last = np.arange(len(rewards))[:, None] + np.maximum(lengths, 1) - 1
    beyond = np.take_along_axis(following, last, axis=0)
    bootstrap = np.float32(gamma) ** lengths.astype(np.float32) * beyond
    returns: Floats = sums + np.where(reset_rows, np.float32(0.0), bootstrap)
    return returns
