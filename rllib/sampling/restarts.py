"""Which env runners that failed are started anew, when, and when that is enough.

A state machine without clock or processes: what happened goes in, with its time, and who is to be
started comes out.

    healthy --failed--> resting --begin--> starting --ready--> healthy
                  |        ^                   |
                  v        '------failed-------'
                gone

An env runner that has delivered since it was started is started anew at once. One that fails again
and again without a fragment in between is tried a few times in a row, and then rests for a while;
training goes on without it. When nobody is left who does not rest, all of it is over.
"""

from collections import deque
from enum import Enum
from typing import NamedTuple, NoReturn

from rllib.config import AlgorithmConfig
from rllib.core.exceptions import TaskError
from rllib.errors import EnvRunnersError

MOST_TOLD = 10
"""Failures that the story of a run's end has."""


class State(Enum):
    """What there is of an env runner."""

    HEALTHY = "healthy"
    STARTING = "starting"
    RESTING = "resting"
    GONE = "gone"


class Failure(NamedTuple):
    """When (s) which env runner failed, and of what."""

    at: float
    runner: int
    cause: str


class _Runner:
    """What is known of one env runner.

    Attributes:
        fruitless: when it failed without having delivered since it was started, of late.
    """

    def __init__(self) -> None:
        self.state = State.HEALTHY
        self.num_restarts = 0
        self.fruitless: list[float] = []
        self.has_delivered = False
        self.is_spent = False
        self.due = self.started = 0.0


class Restarts:
    """The fate of all env runners of a group.

    Args:
        config: its ``fault_tolerance`` settings.
        num_runners: indices count from 0.
        is_vital: whether it is over when nobody is left who works.

    Attributes:
        num_restarts: of all env runners.
    """

    def __init__(self, config: AlgorithmConfig, num_runners: int, is_vital: bool = True) -> None:
        self.config, self.is_vital = config, is_vital
        self.num_restarts = 0
        self._runners = [_Runner() for _ in range(num_runners)]
        self._story: deque[Failure] = deque(maxlen=MOST_TOLD)
        self._num_failures = self._num_in_a_row = 0

    def those(self, state: State) -> list[int]:
        """Who is in this state."""
        return [index for index, each in enumerate(self._runners) if each.state is state]

    @property
    def are_healthy(self) -> bool:
        """Whether nobody is out of order."""
        return all(each.state is State.HEALTHY for each in self._runners)

    def num_restarts_of(self, runner: int) -> int:
        """How often it was started anew."""
        return self._runners[runner].num_restarts

    def delivered(self, runner: int) -> None:
        """It has done what it was asked for."""
        self._num_in_a_row = 0
        self._runners[runner].has_delivered = True

    def failed(self, runner: int, error: Exception, now: float) -> None:
        """It died, raised, hangs, or sent what cannot be trained on.

        Raises:
            EnvRunnersError: that was once too often; the error tells of all failures.
            Exception: the error itself, where no failure is tolerated.
        """
        config, failed = self.config, self._runners[runner]
        if not (config.restart_failed_env_runners or config.ignore_env_runner_failures):
            raise error
        self._story.append(Failure(now, runner, headline(error)))
        self._num_failures += 1
        self._num_in_a_row += 1
        if config.restart_failed_env_runners:
            self._rest(failed, now)
        else:
            failed.state = State.GONE
        self._stop_if_enough(failed, error)

    def _rest(self, failed: _Runner, now: float) -> None:
        config = self.config
        if failed.has_delivered:
            failed.fruitless.clear()
        since = now - config.env_runner_restart_period_s
        failed.fruitless = [at for at in failed.fruitless if at > since] + [now]
        failed.is_spent = len(failed.fruitless) > config.env_runner_restart_intensity
        failed.due = now + config.delay_between_env_runner_restarts_s if failed.is_spent else now
        failed.state, failed.has_delivered = State.RESTING, False

    def _stop_if_enough(self, failed: _Runner, error: Exception) -> None:
        most, in_a_row = (
            self.config.max_num_env_runner_restarts,
            self.config.num_consecutive_env_runner_failures_tolerance,
        )
        if failed.state is State.RESTING and failed.num_restarts >= most:
            self._stop(f"one was started anew max_num_env_runner_restarts = {most} times", error)
        if self._num_in_a_row > in_a_row:
            name = "num_consecutive_env_runner_failures_tolerance"
            self._stop(f"more than {name} = {in_a_row} failures in a row", error)
        if self.is_vital and all(e.state is State.GONE or e.is_spent for e in self._runners):
            self._stop("none is left that works", error)

    def _stop(self, reason: str, error: Exception) -> NoReturn:
        failures = "\n".join(self._lines())
        text = f"env runners fail: {reason}; {self._num_failures} failures, of late\n{failures}"
        raise EnvRunnersError(f"{text}\n\nthe last one: {error}") from error

    def _lines(self) -> list[str]:
        last = self._story[-1].at
        return [
            f"  {last - each.at:6.1f} s before: env runner {each.runner}: {each.cause}"
            for each in self._story
        ]

    def due(self, now: float) -> list[int]:
        """Who is to be started by now."""
        resting = self.those(State.RESTING)
        return [index for index in resting if self._runners[index].due <= now]

    def next_due(self) -> float | None:
        """When the next one is; ``None`` if nobody rests."""
        return min((self._runners[index].due for index in self.those(State.RESTING)), default=None)

    def begin(self, runner: int, now: float) -> None:
        """It is being started."""
        begun = self._runners[runner]
        begun.state, begun.started = State.STARTING, now
        begun.num_restarts += 1
        self.num_restarts += 1

    def ready(self, runner: int) -> None:
        """It is as the others."""
        self._runners[runner].state = State.HEALTHY
        self._runners[runner].is_spent = False

    def overdue(self, now: float) -> list[int]:
        """Who has been starting for too long."""
        since = now - self.config.env_runner_restore_timeout_s
        return [
            index for index in self.those(State.STARTING) if self._runners[index].started < since
        ]


def headline(error: Exception) -> str:
    """One line of it: the last one of a traceback, else the first one."""
    if isinstance(error, TaskError):
        return error.remote_traceback.strip().rpartition("\n")[2]
    return str(error).strip().partition("\n")[0] or type(error).__name__
