"""Ctrl-C and SIGTERM: finish what can be finished, and leave in time.

The first signal lets the training iteration end, so that a checkpoint can be written. If that takes
too long, or at a second signal, ``Interrupted`` is raised wherever the main thread is; should
clean-up hang after that, or a third signal come, the process ends on the spot. A cluster that
preempts and a user who waits both see the process gone within ten seconds.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

FINISH_S = 6.0
CLEAN_UP_S = 3.0


class Interrupted(BaseException):
    """A signal ends the run; not an ``Exception``, so that nobody handles it by mistake."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
        self.exit_code = 128 + signum

    def __str__(self) -> str:
        return "Ctrl-C" if self.signum == signal.SIGINT else signal.Signals(self.signum).name


class StopSignals:
    """Handlers for SIGINT and SIGTERM; for the main thread only.

    Args:
        finish_s: seconds that ``deferred`` code has after the first signal.

    Attributes:
        received: the first signal that came, or None.
    """

    def __init__(self, finish_s: float = FINISH_S) -> None:
        self.received: int | None = None
        self._finish_s = finish_s
        self._on_first: Callable[[], None] | None = None
        self._last_resort: threading.Timer | None = None

    @contextlib.contextmanager
    def installed(self) -> Iterator["StopSignals"]:
        """Handle signals while the context lasts; a first one raises ``Interrupted`` at once."""
        handlers = {
            signal.SIGINT: self._handle,
            signal.SIGTERM: self._handle,
            signal.SIGALRM: lambda signum, frame: self.leave(),
        }
        old = {signum: signal.signal(signum, handler) for signum, handler in handlers.items()}
        try:
            yield self
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for signum, handler in old.items():
                signal.signal(signum, handler)
            if self._last_resort:
                self._last_resort.cancel()

    @contextlib.contextmanager
    def deferred(self, on_first: Callable[[], None]) -> Iterator[None]:
        """Only note the first signal, call ``on_first``, and allow ``finish_s`` seconds more."""
        self._on_first = on_first
        try:
            yield
        finally:
            self._on_first = None
            signal.setitimer(signal.ITIMER_REAL, 0)

    def leave(self) -> NoReturn:
        """Raise ``Interrupted``; clean-up has ``CLEAN_UP_S`` seconds from here."""
        signum = self.received or signal.SIGINT
        if self._last_resort is None:
            self._last_resort = threading.Timer(CLEAN_UP_S, os._exit, [128 + signum])
            self._last_resort.daemon = True
            self._last_resort.start()
        raise Interrupted(signum)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._last_resort is not None:
            os._exit(128 + signum)
        first = self.received is None
        self.received = self.received or signum
        if not first or self._on_first is None:
            self.leave()
        signal.setitimer(signal.ITIMER_REAL, self._finish_s)
        self._on_first()
