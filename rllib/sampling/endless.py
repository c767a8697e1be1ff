"""Episodes that do not end, for whoever waits until they do."""

from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from rllib.config import AlgorithmConfig
from rllib.errors import TrainingError

SHARE = 0.9
"""Of the time that somebody elsewhere waits, who does not know what takes so long."""


class EndWatch:
    """Looks after every step at how long ago an episode ended that was waited for.

    Args:
        limit_s: what ``timeout`` is set to.
        timeout: the setting that says how long may be waited.
        setting: the one that makes us wait for the ends of episodes.
        instead: its value that does not.
        clock: seconds.
    """

    def __init__(
        self,
        limit_s: float,
        timeout: str,
        setting: str,
        instead: str,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self.limit_s, self.timeout, self.setting, self.instead = limit_s, timeout, setting, instead
        self.clock, self.since = clock, clock()
        self.num_ended = self.num_steps = 0

    def look(self, num_ended: int, waited_for: Sequence[int] | NDArray[np.int64]) -> None:
        """Count a step.

        Args:
            num_ended: episodes so far.
            waited_for: the environments whose episodes are still to end.

        Raises:
            TrainingError: none has for too long.
        """
        now = self.clock()
        self.num_steps += 1
        if num_ended != self.num_ended:
            self.num_ended, self.num_steps, self.since = num_ended, 0, now
        elif now - self.since > SHARE * self.limit_s and len(waited_for):
            raise TrainingError(self._message([int(index) for index in waited_for]))

    def _message(self, indices: list[int]) -> str:
        names = " and ".join(", ".join(map(str, indices)).rsplit(", ", 1))
        who = f"environment {names} has" if len(indices) == 1 else f"environments {names} have"
        return (
            f"{who} not ended an episode for {SHARE * self.limit_s:g} seconds, {self.num_steps:,} "
            "steps of each, and whole episodes are waited for. Give them an end, for example by "
            "max_episode_steps (gymnasium.wrappers.TimeLimit); or raise "
            f"{self.timeout}, {self.limit_s:g}; or set {self.setting} to {self.instead!r}"
        )


def training_watch(config: AlgorithmConfig) -> EndWatch:
    """For a fragment of whole episodes."""
    limit = config.sample_timeout_s
    return EndWatch(limit, "sample_timeout_s", "batch_mode", "truncate_episodes")


def evaluation_watch(config: AlgorithmConfig) -> EndWatch:
    """For a number of episodes that are played."""
    limit = config.evaluation_sample_timeout_s
    timeout = "evaluation_sample_timeout_s"
    return EndWatch(limit, timeout, "evaluation_duration_unit", "timesteps")
