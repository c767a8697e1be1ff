"""Signals while the runtime is at work: not between two halves of a change.

Python raises `KeyboardInterrupt`, and whatever a handler of the user raises, between any two
instructions of the main thread. Amid the handling of a message that would lose the message, and
whoever waits for it would wait for ever. So a signal that comes at such a moment is sent again a
moment later; one that comes while the main thread waits, or runs user code, is handled at once.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import functools
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from rllib.core.native import reactor
from rllib.core.native.process import interrupt_main
from rllib.core.native.reactor import Reactor

Handler = Callable[[int, FrameType | None], Any]

_WAITING = {Reactor.wait_for_events.__code__, Reactor.wait_for_leader.__code__}
_NAMES = ("SIGALRM", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGPROF", "SIGVTALRM")
_COVERED = tuple(int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name))
"""Signals whose handlers are the user's alone. Not SIGINT: event loops that set a handler of it
take it back only if they find the very same again."""

_handler_of: Callable[[int], Any] = _signal.getsignal
"""Without making an enumeration's member of what it finds, which takes six times as long."""


class InterruptGuard:
    """Stands in for Python's own SIGINT handler, and for the user's handlers of other signals.

    ``wanted`` tells whether an interrupt that comes now is to be raised, or ignored.
    """

    def __init__(
        self, lock: threading.RLock, reactor: Reactor, wanted: Callable[[], bool] = lambda: True
    ) -> None:
        self._lock = lock
        self._reactor = reactor
        self._wanted = wanted
        self._installed = False

    def install(self) -> None:
        """Take over, where Python's own handler is in place and may be replaced from here."""
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            signal.signal(signal.SIGINT, self._on_interrupt)
            self._installed = True

    def cover(self) -> None:
        """Stand in for handlers that the user has set meanwhile; before the main thread waits."""
        if threading.get_ident() != threading.main_thread().ident:
            return
        for number in _COVERED:
            handler = _handler_of(number)
            if callable(handler) and not self._has_covered(handler):
                signal.signal(number, StandIn(self, handler))

    def _has_covered(self, handler: Any) -> bool:
        return isinstance(handler, StandIn) and handler.guard is self

    def remove(self) -> None:
        """Give back, where that can be done from here."""
        if threading.current_thread() is not threading.main_thread():
            return
        if self._installed and signal.getsignal(signal.SIGINT) == self._on_interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in _COVERED:
            handler = _handler_of(number)
            if self._has_covered(handler):
                signal.signal(number, handler.original)

    def postpones(self, number: int, frame: FrameType | None) -> bool:
        """Whether that signal, which has come in ``frame``, is sent again instead of handled."""
        again = functools.partial(interrupt_main, number)
        return self._amid_a_change(frame) and self._reactor.postpone(again)

    def _on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        if not self.postpones(signum, frame) and self._wanted():
            signal.default_int_handler(signum, frame)

    def _amid_a_change(self, frame: FrameType | None) -> bool:
        if self._lock._is_owned():  # type: ignore[attr-defined]
            return True
        while frame is not None:
            if frame.f_code in _WAITING:
                return False
            if frame.f_code.co_filename == reactor.__file__:
                return True
            frame = frame.f_back
        return False


class StandIn:
    """Calls a handler of the user, at a moment when it may raise."""

    def __init__(self, guard: InterruptGuard, original: Handler) -> None:
        self.guard = guard
        self.original = original

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Be the handler."""
        if not self.guard.postpones(signum, frame):
            self.original(signum, frame)
