"""Every error that rllib raises on purpose.

Each says what happened, where, and what to do about it. The command line prints the message alone
and leaves with ``exit_code``: 2 for bad input (nothing was started), 1 for a run that failed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from rllib.envs.located import Located


class RLlibError(Exception):
    """Base of all errors of rllib."""

    exit_code: ClassVar[int] = 1


@dataclass(frozen=True)
class Problem:
    """One mistake in a configuration: what is wrong with which key, and where it was written."""

    text: str
    key: str = ""
    where: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.text) if part)


class ConfigError(RLlibError, ValueError):
    """A configuration is wrong; ``problems`` lists every mistake that was found, not the first."""

    exit_code = 2

    def __init__(self, problems: str | Problem | Iterable[Problem]) -> None:
        if isinstance(problems, str):
            problems = Problem(problems)
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return str(self.problems[0])
        lines = [f"{len(self.problems)} mistakes", *map(str, self.problems)]
        return "\n  ".join(lines)


class RunError(RLlibError):
    """A run's folder cannot be used: locked, damaged, of another configuration, or not a run."""

    exit_code = 2


class CheckpointError(RLlibError):
    """A checkpoint cannot be read or written; the message gives the reason and the path."""


class EnvError(Located, RLlibError):
    """An environment raised, or returned something that cannot be trained on.

    Raise it ``from`` the environment's own exception, so that its traceback is shown.
    """


class InputError(Located, RLlibError, ValueError):
    """A module was asked to act on what cannot be acted on; ``field`` and ``value`` tell what."""


class TrainingError(RLlibError):
    """Training cannot go on, for example because a loss or a gradient is not finite."""


class LearnerError(TrainingError):
    """A learner died or does not answer; the message names it and says why.

    Attributes:
        rank: its number.
        overdue: whether it has let others wait for as long as it may.
    """

    def __init__(self, message: str, *, rank: int = 0, overdue: bool = False) -> None:
        super().__init__(message)
        self.rank, self.overdue = rank, overdue


class LateError(TrainingError):
    """An env runner took longer than it may."""


class EnvRunnersError(TrainingError):
    """Env runners failed too often; the message tells of the failures, the cause is the last."""


class CallbackError(TrainingError):
    """A callback raised; the message names the hook and its owner, the cause is what was raised."""
