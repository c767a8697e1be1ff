"""A logger in a thread of its own, so that one that hangs or fails keeps nobody from training.

What it logs is derived from the record of the run. So one that fails is dropped, and made anew from
the record with the next result: what was between is not lost.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from rllib.runs.record import ITERATION, Metrics

MOST_WAITING = 1000
"""Results that wait for a logger; it is made anew from the record when there are more."""


class Logger(Protocol):
    """What takes the results of a run; one of the group ``rllib.loggers`` is made with the run's
    folder and the rows from which it goes on, so that its curve has no step back either.
    """

    def log(self, metrics: Metrics) -> None:
        """Take one flat result."""

    def close(self) -> None:
        """Write what is left, and close."""


T = TypeVar("T", bound=Logger)
MakeLogger = Callable[[Path, Iterable[Metrics]], Logger]


class LoggerThread:
    """Hands results to a logger, and never waits for it.

    Args:
        make: makes the logger.
        folder: of the run.
        rows: reads the record, up to a training iteration.
        after_iteration: the last one that is there when it begins.
        tell: says to the user that it fails, or hangs, once.
    """

    def __init__(
        self,
        make: MakeLogger,
        folder: Path,
        rows: Callable[[float], Iterable[Metrics]],
        after_iteration: float,
        tell: Callable[[str], None],
    ) -> None:
        self._make, self._folder, self._rows, self._tell = make, folder, rows, tell
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(MOST_WAITING)
        self._logger: Logger | None = None
        self._is_failing = self._has_missed = self._is_told = False
        name = getattr(make, "__name__", type(make).__name__)
        self.name = f"the logger {name}"
        work = partial(self._work, after_iteration)
        self._thread = threading.Thread(target=work, name=f"rllib-logger-{name}", daemon=True)
        self._thread.start()

    def log(self, metrics: Metrics) -> None:
        """Hand a result over that is in the record."""
        try:
            self._waiting.put_nowait(partial(self._take, metrics, self._has_missed))
            self._has_missed = False
        except queue.Full:
            self.miss()
            if not self._is_told:
                self._tell(f"{self.name} takes no results; training goes on without it")
            self._is_told = True

    def also(self, kind: type[T], work: Callable[[T], None]) -> None:
        """Have something done with the logger, if it is of this class and keeps up."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(partial(self._do, kind, work))

    def _do(self, kind: type[T], work: Callable[[T], None]) -> None:
        if isinstance(self._logger, kind):
            work(self._logger)

    def miss(self) -> None:
        """Leave a result out, which is not in the record yet; the next one brings it, too."""
        self._has_missed = True

    def end(self) -> None:
        """Let it write what is left, and close; nobody waits for it here."""
        while True:
            try:
                self._waiting.put_nowait(None)
                break
            except queue.Full:  # it hangs, and will end when it does no longer
                with contextlib.suppress(queue.Empty):
                    self._waiting.get_nowait()

    def has_ended(self, within_s: float) -> bool:
        """Wait for it after ``end``, so many seconds at most; whether it has closed."""
        self._thread.join(max(0.0, within_s))
        return not self._thread.is_alive()

    def _work(self, after_iteration: float) -> None:
        self._guarded(partial(self._begin, after_iteration))
        while (work := self._waiting.get()) is not None:
            self._guarded(work)
        self._drop()

    def _begin(self, until: float) -> None:
        self._logger = self._make(self._folder, self._rows(until))

    def _take(self, metrics: Metrics, is_anew: bool) -> None:
        """Log a result; a logger that is made anew has it from the record."""
        if is_anew:
            self._drop()
        if self._logger is None:
            self._begin(metrics[ITERATION])
        else:
            self._logger.log(metrics)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # also of a client that would end the program
            if not self._is_failing:
                text = f"{self.name} fails: {type(error).__name__}: {error}"
                self._tell(f"{text}; training goes on, and the next result is tried again")
            self._is_failing = True
            self._drop()
        else:
            self._is_failing = False

    def _drop(self) -> None:
        """Half an event may be in a file, after which nobody reads on."""
        dropped, self._logger = self._logger, None
        with contextlib.suppress(BaseException):
            if dropped is not None:
                dropped.close()
