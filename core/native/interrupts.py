"""Ctrl-C while the runtime is at work: not between two halves of a change.

Python raises `KeyboardInterrupt` between any two instructions of the main thread. Amid the
handling of a message that would lose the message, and whoever waits for it would wait for ever.
So an interrupt that comes at such a moment is raised again a moment later; one that comes while
the main thread waits, or runs user code, is raised at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

from rllib.core.native import reactor
from rllib.core.native.process import interrupt_main
from rllib.core.native.reactor import Reactor

_WAITING = {Reactor.wait_for_events.__code__, Reactor.wait_for_leader.__code__}


class InterruptGuard:
    """Stands in for Python's own SIGINT handler; one that the user has set is left alone.

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

    def remove(self) -> None:
        """Give back, where that can be done from here."""
        if (
            self._installed
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) == self._on_interrupt
        ):
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        if self._amid_a_change(frame) and self._reactor.postpone(interrupt_main):
            return
        if self._wanted():
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
