"""Results to files: JSON lines, which are the record of a run, and all that is derived from them.

When a run continues from a checkpoint, what was logged after it is taken back: the record is cut
there and other loggers begin with it, so that curves have no step back, no gap and no double
points, whenever the run was killed.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rllib.runs.logger_thread import Logger, LoggerThread, MakeLogger
from rllib.runs.record import (
    PROGRESS,
    TIMESTAMP,
    JsonLines,
    Rows,
    flatten,
)

T = TypeVar("T", bound=Logger)

CLOSE_S = 30.0
"""Seconds that loggers may take to write what is left when training has ended: servers can be slow,
and a short run may be done before the first result has arrived there."""
HURRIED_S = 2.0
"""Seconds after a signal; and those after which the user hears what is waited for."""


class Loggers:
    """Everything that writes the results of one run to files.

    A disk that is full, or gone, does not stop training: the record is written when the disk takes
    it again, and everything else is then written anew from it. All but the record has threads.

    Attributes:
        history: the rows that were there when the logs were opened.
    """

    def __init__(
        self,
        folder: Path,
        *,
        after_iteration: int,
        more: Sequence[MakeLogger] = (),
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Continue the logs in ``folder`` after that iteration; 0 begins them anew.

        Args:
            folder: of the run.
            after_iteration: the last one that counts.
            more: makes the loggers besides the record.
            tell: says to the user that results cannot be written, once.
        """
        self._folder, self._tell = folder, tell
        self._json = JsonLines(folder / PROGRESS, after_iteration)
        self.history = Rows(folder / PROGRESS, after_iteration)
        self._is_failing = False
        rows = partial(Rows, folder / PROGRESS)
        self._derived = [LoggerThread(make, folder, rows, after_iteration, tell) for make in more]

    def log(self, result: Mapping[str, Any]) -> None:
        """Write one training result everywhere, or as soon as that is possible."""
        metrics = flatten(result) | {TIMESTAMP: round(time.time(), 3)}
        try:
            self._json.log(metrics)
        except OSError as error:
            self._tell_failure(error)
            for each in self._derived:
                each.miss()
            return
        self._is_failing = False
        for each in self._derived:
            each.log(metrics)

    def also(self, kind: type[T], work: Callable[[T], None]) -> None:
        """Have something done with a logger of this class, if there is one, after all so far."""
        for each in self._derived:
            each.also(kind, work)

    def _tell_failure(self, error: OSError) -> None:
        if not self._is_failing:
            text = f"{self._folder}: results cannot be written: {error.strerror}"
            self._tell(f"{text}; they are kept, and training goes on")
        self._is_failing = True

    def synced(self) -> Callable[[], None]:
        """What waits until the record is on disk, so that no checkpoint is ahead of it.

        Raises:
            OSError: the disk does not take it.
        """
        return self._json.synced()

    def close(self, hurried: bool = False) -> None:
        """Close every file; a logger that hangs is left as it is after a while.

        Args:
            hurried: whether the process has to end soon, and gives loggers only ``HURRIED_S``.
        """
        self._json.close()
        for logger in self._derived:
            logger.end()
        left = self._not_ended(HURRIED_S)
        patience = HURRIED_S if hurried else CLOSE_S
        if left and patience > HURRIED_S:
            names = " and ".join(logger.name for logger in left)
            how_long = f"{patience:g} seconds at most; Ctrl-C leaves it as it is"
            self._tell(f"waiting for {names}, {how_long}")
            left = self._not_ended(patience - HURRIED_S)
        for logger in left:
            self._tell(f"{logger.name} does not end in {patience:g} seconds, and is left as it is")

    def _not_ended(self, within_s: float) -> list[LoggerThread]:
        """Those that are still at work after so many seconds, which all of them share."""
        until = time.monotonic() + within_s
        return [each for each in self._derived if not each.has_ended(until - time.monotonic())]
