"""What env runners send to learners."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SampleBatch:
    """A rollout fragment of one env runner: time-major arrays of T rows and N environments.

    It travels through the object store, whose arrays come back read-only: consumers never write
    into one.

    Attributes:
        obs: [T, N, ...] s_t, as the environment returned it.
        actions: [T, N, ...] a_t, before clipping and stretching to the space.
        rewards: [T, N] float32 r_t.
        terminateds: [T, N] s_{t+1} is terminal.
        truncateds: [T, N] the episode was cut after a_t.
        reset_rows: [T, N] rows in which the environment was only reset, or had played enough: no
            env steps, never trained on.
        action_dist_inputs: [T, N, inputs] what the behaviour policy's network gave out.
        action_logp: [T, N] log probability of a_t under the behaviour policy.
        last_obs: [N, ...] the observations after the last row.
        final_obs: [K, ...] true last observations of the K truncated episodes.
        final_index: [K] int64, their rows as ``t * N + n``.
        weights_seq_no: how many weight syncs the behaviour policy had seen.
        state_in: [C, ...] the policy's memory before each sequence's first row, by name. A sequence
            begins with the fragment, with an episode, and after ``max_seq_len`` rows. Empty for
            policies without memory.
        state_rows: [C] int64, the first rows of the sequences as ``t * N + n``.
        streams: [N] int64, of several agents: which stream of time a column goes on with, in which
            fragments of those who come, go and skip turns have columns. ``None``: the n-th.
    """

    obs: NDArray[Any]
    actions: NDArray[Any]
    rewards: NDArray[np.float32]
    terminateds: NDArray[np.bool_]
    truncateds: NDArray[np.bool_]
    reset_rows: NDArray[np.bool_]
    action_dist_inputs: NDArray[np.float32]
    action_logp: NDArray[np.float32]
    last_obs: NDArray[Any]
    final_obs: NDArray[Any]
    final_index: NDArray[np.int64]
    weights_seq_no: int
    state_in: dict[str, NDArray[Any]] = field(default_factory=dict)
    state_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    streams: NDArray[np.int64] | None = None

    @cached_property
    def num_env_steps(self) -> int:
        """Env steps in the fragment: its rows less the reset rows."""
        return int(self.reset_rows.size - np.count_nonzero(self.reset_rows))

    @property
    def dones(self) -> NDArray[np.bool_]:
        """[T, N] the episode ended in this row."""
        return self.terminateds | self.truncateds
