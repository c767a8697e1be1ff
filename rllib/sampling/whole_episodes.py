"""Fragments of whole episodes: each environment plays on until one ends, and then sits out.

    environment 0   e e e E e e E . .      E the last step of an episode, with at least 4 wanted;
    environment 1   e e e e e e e e E      . is no env step: what is played there is thrown away

Legend: T rows, N environments.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib.envs.vector import EnvStep
from rllib.sampling.endless import EndWatch
from rllib.sampling.rollout import RolloutBuffer

Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]


class EpisodeCount:
    """Which of N environments have played whole episodes of enough steps together.

    That is settled before an episode begins, so that short ones are not preferred.

    Args:
        num_steps: enough for one environment.
        num_envs: N.

    Attributes:
        missing: [N] steps that there are still too few of.
        is_open: [N] whether an environment is to play on.
        num_ended: episodes of those that were.
    """

    def __init__(self, num_steps: int, num_envs: int) -> None:
        self.missing = np.full(num_envs, num_steps)
        self.is_open = np.ones(num_envs, np.bool_)
        self.num_ended = 0

    def add(self, num_steps: NDArray[Any], is_over: Bools) -> Bools:
        """Count steps [N]; returns the environments [N] that are done by them."""
        self.missing -= np.where(self.is_open, num_steps, 0)
        ended = self.is_open & is_over
        self.num_ended += int(np.count_nonzero(ended))
        closed: Bools = ended & (self.missing <= 0)
        self.is_open &= ~closed
        return closed


class EpisodeBuffer(RolloutBuffer):
    """A rollout buffer that has as many rows as whole episodes take.

    Args:
        num_rows: env steps that each environment plays at least.
        mask_sizes: as of every rollout buffer.
        make_watch: what is asked after every row of a fragment whether that takes too long.
    """

    is_of_episodes = True

    def __init__(
        self, num_rows: int, mask_sizes: Sequence[int], make_watch: Callable[[], EndWatch]
    ) -> None:
        self.make_watch = make_watch
        super().__init__(num_rows, mask_sizes)

    def begin(self) -> None:
        """Start an empty fragment."""
        super().begin()
        self.watch = self.make_watch()
        self.ends: Indices = np.empty(0, np.int64)

    @property
    def is_full(self) -> bool:
        """Whether all environments have played enough."""
        return self.length > 0 and not self.count.is_open.any()

    def add(
        self,
        obs: NDArray[Any],
        actions: NDArray[Any],
        rows: NDArray[np.float32],
        step: EnvStep,
    ) -> None:
        """Append one row; the arrays grow by doubling.

        Raises:
            TrainingError: no episode has ended for too long.
        """
        if not self.length:
            self.count = EpisodeCount(self.num_rows, len(step.reward))
            self.ends = np.zeros(len(step.reward), np.int64)
        elif self.length == len(self.columns["rewards"]):
            self.columns = {
                name: np.concatenate([each, np.empty_like(each)])
                for name, each in self.columns.items()
            }
        closed = self.count.add(~step.is_reset_row, step.terminated | step.truncated)
        self.ends[closed] = self.length
        super().add(obs, actions, rows, step)
        self.watch.look(self.count.num_ended, np.flatnonzero(self.count.is_open))

    def _finished(self) -> None:
        """Nothing happened in an environment after its last episode."""
        self.columns = {name: each[: self.length] for name, each in self.columns.items()}
        beyond = np.arange(self.length)[:, None] > self.ends
        self.columns["reset_rows"][beyond] = True
        for name in ("rewards", "terminateds", "truncateds"):
            self.columns[name][beyond] = 0
        self._drop_final_obs(beyond.reshape(-1))

    def _drop_final_obs(self, beyond: Bools) -> None:
        """Those of episodes that do not count."""
        kept = [~beyond[index] for index in self.final_index]
        self.final_obs = _chosen(self.final_obs, kept)
        self.final_index = _chosen(self.final_index, kept)


def _chosen(arrays: Sequence[NDArray[Any]], kept: Sequence[Bools]) -> list[NDArray[Any]]:
    return [array[those] for array, those in zip(arrays, kept, strict=True)]
