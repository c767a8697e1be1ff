"""V-trace: values and advantages from the experience of another policy.

Legend: T rows, N environments.
"""

from typing import NamedTuple

import numpy as np

from rllib.estimators.recurrence import Bools, Floats, accumulate, goes_on


class VTrace(NamedTuple):
    """Value targets v_s and policy gradient advantages, both [T, N] and 0 on reset rows."""

    value_targets: Floats
    pg_advantages: Floats


def vtrace(
    rewards: Floats,
    values: Floats,
    following: Floats,
    dones: Bools,
    reset_rows: Bools,
    log_rhos: Floats,
    *,
    gamma: float,
    lambda_: float = 1.0,
    clip_rho: float = 1.0,
    clip_pg_rho: float = 1.0,
    clip_c: float = 1.0,
) -> VTrace:
    """V-trace targets (Espeholt et al. 2018, arXiv 1802.01561, eq. 1 and section 4.2).

    With ``rho_t = min(clip_rho, pi/mu)``, ``c_t = lambda min(clip_c, pi/mu)`` and
    ``delta_t = rho_t (r_t + gamma V(s_{t+1}) - V(s_t))`` computes, backwards in time,
    ``v_t - V(s_t) = delta_t + gamma c_t (v_{t+1} - V(s_{t+1}))``, where the sum stops at every
    episode's end. The advantage is ``min(clip_pg_rho, pi/mu) (r_t + gamma v_{t+1} - V(s_t))``, at
    an end with V for v. On-policy, the targets are those of ``gae`` with the same lambda.

    Args:
        rewards: [T, N].
        values: [T, N] V(s_t).
        following: [T, N] V(s_{t+1}) from ``next_values``.
        dones: [T, N] the episode ended in this row, by termination or truncation.
        reset_rows: [T, N] rows that are no env steps; they get 0 and pass nothing on.
        log_rhos: [T, N] log(pi/mu): of the action's probability now, and when it was taken.
        gamma: discount factor per env step.
        lambda_: 1 corrects by all later rows, 0 by the next value alone.
        clip_rho: the smaller, the nearer the fixed point is to the value of the policy that acted.
        clip_pg_rho: limit of the weight of an advantage.
        clip_c: limits variance, and does not move the fixed point.
    """
    live, on = ~reset_rows, goes_on(dones, reset_rows)
    # Clipped before the exponential, which would overflow for policies far apart.
    rhos, pg_rhos, cs = (_weights(log_rhos, limit) for limit in (clip_rho, clip_pg_rho, clip_c))
    errors = (rewards + gamma * following - values) * live
    excess = accumulate(rhos * errors, np.float32(gamma * lambda_) * cs * on)
    # gamma (v_{t+1} - V(s_{t+1})): what the rest of the fragment adds to the one-step error.
    later = np.zeros_like(errors)
    later[:-1] = gamma * excess[1:] * on[:-1]
    return VTrace((values + excess) * live, pg_rhos * (errors + later))


def _weights(log_rhos: Floats, limit: float) -> Floats:
    """``min(limit, pi/mu)``."""
    weights: Floats = np.exp(np.minimum(log_rhos, np.float32(np.log(limit))))
    return weights
