"""What is drawn from a replay buffer.

Legend: B transitions, S sequences, L steps of a full one.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]


class Transitions(NamedTuple):
    """Steps, each with what came of it n steps later; never across the end of an episode.

    The value to learn is ``rewards + discounts * V(next_obs)``.

    Attributes:
        obs: [B, ...] s_t.
        actions: [B, ...] a_t.
        rewards: [B] r_t + gamma r_{t+1} + ... + gamma^(n-1) r_{t+n-1}.
        next_obs: [B, ...] s_{t+n}; of a truncated episode its true last observation. Where the
            episode terminated, an observation of the same shape without a meaning.
        terminateds: [B] s_{t+n} is terminal.
        discounts: [B] gamma^n; 0 where terminated.
        n: [B] int64 steps in between: fewer than asked for where the episode ended or where its
            next step has not been added yet.
        indices: [B] int64, for ``update_priorities``: the how-manieth step ever added this is.
        weights: [B] importance weights, the largest 1.
    """

    obs: NDArray[Any]
    actions: NDArray[Any]
    rewards: Floats
    next_obs: NDArray[Any]
    terminateds: Bools
    discounts: Floats
    n: Indices
    indices: Indices
    weights: Floats

    @property
    def num_env_steps(self) -> int:
        """B."""
        return len(self.rewards)


class StepSequences(NamedTuple):
    """Runs of consecutive steps, each of one episode, padded at the end to the same length.

    Attributes:
        obs: [S, L + 1, ...] s_t, and after the last step what was observed then: of a truncated
            episode its true last observation; without a meaning where it terminated.
        actions: [S, L, ...] a_t.
        rewards: [S, L] r_t.
        terminateds: [S, L] s_{t+1} is terminal.
        mask: [S, L] whether this is a step, and no padding.
        train_mask: [S, L] whether to train on it: the burn-in only brings the memory up to date. An
            episode's beginning needs none.
        state_in: [S, ...] the stored memory before the first step, by name; empty if none was.
        indices: [S] int64, for ``update_priorities``: the how-manieth step ever added each first
            step is.
        weights: [S] importance weights, the largest 1.
    """

    obs: NDArray[Any]
    actions: NDArray[Any]
    rewards: Floats
    terminateds: Bools
    mask: Bools
    train_mask: Bools
    state_in: dict[str, NDArray[Any]]
    indices: Indices
    weights: Floats

    @property
    def num_env_steps(self) -> int:
        """Steps that are no padding."""
        return int(np.count_nonzero(self.mask))


class ReplayStatistics(NamedTuple):
    """What a buffer holds and what went through it, by RLlib's names.

    An episode counts once for every run of its steps that is kept; sampled env steps are the
    transitions drawn, of sequences their steps.
    """

    num_env_steps_stored: int
    num_episodes_stored: int
    num_env_steps_added_lifetime: int
    num_env_steps_evicted_lifetime: int
    num_env_steps_sampled_lifetime: int
