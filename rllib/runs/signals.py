"""Ctrl-C, SIGTERM, SIGUSR1 and SIGHUP: finish what can be finished, and leave in time.

The first signal lets the training iteration end, so that a checkpoint can be written. If that takes
too long, or at a second signal, ``Interrupted`` is raised wherever the main thread is; should
clean-up hang after that, or a third signal come, the process ends on the spot. A cluster that
preempts and a user who waits both see the process gone within ``grace_s`` seconds, also where the
main thread sits in code that is not Python's and hears of no signal. SLURM sends
SIGTERM, and before that, if asked to (``--signal=USR1@60``), SIGUSR1, which ends the run likewise;
and so does SIGHUP, when the terminal is gone, unless it is ignored, as ``nohup`` sees to.

All this is the main process's: what it forks finds handlers as they were before.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

from rllib.runs.silence import let_go_of_lost_terminal

GRACE_S = 7.5
CLEAN_UP_S = 2.5
NUDGE_S = 0.1
_LONGEST_S = 1e9
"""More the system cannot be asked to wait; decades are as good as for ever."""


Handlers = dict[int, Any]
"""What `signal.signal` takes, of signals."""

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal ends the run; not an ``Exception``, so that nobody handles it by mistake."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
        self.exit_code = 128 + signum

    def __str__(self) -> str:
        return "Ctrl-C" if self.signum == signal.SIGINT else signal.Signals(self.signum).name


class StopSignals:
    """Handlers for SIGINT, SIGTERM, SIGUSR1 and SIGHUP; for the main thread only.

    Args:
        grace_s: seconds from the first signal to the end of the process; ``deferred`` code has all
            but the last ``CLEAN_UP_S`` of them.

    Attributes:
        received: the first signal that came, or None.
    """

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self.received: int | None = None
        self._watchdog = _Watchdog(min(max(0.0, grace_s - CLEAN_UP_S), _LONGEST_S), self)
        self._on_first: Callable[[], None] | None = None
        self._leaving = False
        self._may_raise = True

    @contextlib.contextmanager
    def installed(self) -> Iterator["StopSignals"]:
        """Handle signals while the context lasts; a first one raises ``Interrupted`` at once."""
        global _before
        earlier, stops = _before, [signum for signum in _STOPS if _is_for_us(signum)]
        old: Handlers = {signum: signal.getsignal(signum) for signum in stops}
        with self._watchdog, _Nudge(stops, self._watchdog.tell) as nudge:
            try:
                for signum in stops:
                    signal.signal(signum, self._handle)
                _before = {**old, signal.SIGURG: nudge.old_handler, **earlier}
                yield self
            finally:
                _before = earlier
                for each, handler in old.items():
                    signal.signal(each, handler)

    @contextlib.contextmanager
    def deferred(self, on_first: Callable[[], None]) -> Iterator[None]:
        """Only note the first signal, call ``on_first``, and allow what grace leaves."""
        self._on_first = on_first
        try:
            yield
        finally:
            self._on_first = None

    @contextlib.contextmanager
    def held_back(self) -> Iterator[None]:
        """Only note the first signal; the second, or the end of grace, ends the process on the
        spot: nothing can be raised through the code within."""
        self._may_raise = False
        try:
            with self.deferred(lambda: None):
                yield
        finally:
            self._may_raise = True

    def heed(self) -> None:
        """Leave if a signal has come while it was deferred."""
        if self.received is not None:
            self.leave()

    def leave(self) -> NoReturn:
        """Raise ``Interrupted``; clean-up has ``CLEAN_UP_S`` seconds from here."""
        self._leaving = True
        self._watchdog.tell(_LEAVING)
        raise Interrupted(self.received or signal.SIGINT)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGHUP:
            let_go_of_lost_terminal()
            if self.received is not None:  # a shell says it, and after it the system
                return
        first = self.received is None
        if self._leaving or not (first or self._may_raise):
            _end(128 + (self.received or signum))
        self.received = self.received or signum
        if not first or self._on_first is None:
            self.leave()
        self._watchdog.tell(_FINISHING)
        self._on_first()


def _is_for_us(signum: int) -> bool:
    """Not a SIGHUP that is ignored, nor what is handled in C, which could not be restored."""
    known = signal.getsignal(signum)
    return known is not None and not (signum == signal.SIGHUP and known is signal.SIG_IGN)


_before: Handlers = {}
"""Handlers that were there before those of the main process."""


def _forget() -> None:
    """In a process that was forked: whatever comes there is no news for the main process."""
    if _before:
        signal.set_wakeup_fd(-1)
    for signum, handler in _before.items():
        signal.signal(signum, handler)
    _before.clear()


os.register_at_fork(after_in_child=_forget)


def _send_main_thread(signum: int) -> None:
    main = threading.main_thread().ident
    assert main is not None, "the main thread is running"
    signal.pthread_kill(main, signum)


_FINISHING, _LEAVING, _QUIT = b"f", b"l", b"q"


_MOST_SIGNALS = 3
"""With so many of them the process ends on the spot."""


class _Watchdog:
    """A thread that acts when time is up, however long the main thread sits in one call.

        arrived -> finishing -> poked -> leaving -> gone

    Whoever does not come to the next of these in time is gone.

    It takes its orders through a pipe, because starting a timer within a signal handler could wait
    for a lock that the interrupted code holds. SIGALRM is left to those who need it.
    """

    def __init__(self, finish_s: float, signals: StopSignals) -> None:
        self._finish_s = finish_s
        self._signals = signals
        self._arrivals: list[int] = []
        self._until: float | None = None
        self._at_the_end = self._exit

    def __enter__(self) -> None:
        self._orders, self._tell = os.pipe()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="rllib-watchdog")
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self.tell(_QUIT)
        self._thread.join()
        os.close(self._orders)
        os.close(self._tell)

    def tell(self, order: bytes) -> None:
        os.write(self._tell, order)

    def _watch(self) -> None:
        while True:
            left = None if self._until is None else max(0.0, self._until - time.monotonic())
            if not select.select([self._orders], [], [], left)[0]:
                self._at_the_end()
                continue
            order = os.read(self._orders, 1)
            if order == _QUIT:
                return
            if order == _FINISHING:
                self._wait(self._finish_s, self._poke)
            elif order == _LEAVING:
                self._wait(CLEAN_UP_S, self._exit)
            else:
                self._on_arrival(ord(order))

    def _wait(self, seconds: float, action: Callable[[], None]) -> None:
        self._until, self._at_the_end = time.monotonic() + seconds, action

    def _on_arrival(self, signum: int) -> None:
        """A signal has come, and the main thread may hear of it now, or much later."""
        if signum == signal.SIGHUP and self._arrivals:
            return
        self._arrivals.append(signum)
        if len(self._arrivals) == _MOST_SIGNALS:
            self._exit()
        if self._until is None:
            self._wait(self._finish_s + CLEAN_UP_S, self._exit)

    def _poke(self) -> None:
        """Send the main thread another signal, which also ends the system call it may be in."""
        self._wait(CLEAN_UP_S, self._exit)
        _send_main_thread(signal.SIGINT)

    def _exit(self) -> None:
        _end(128 + (self._signals.received or self._arrivals[0]))


EXIT_S, SOON_S = 30.0, 1.0
"""Seconds for what libraries do when the interpreter exits, and of them after a signal."""


def leave_in_time(code: object) -> None:
    """See to it that the process ends now that its work is done.

    Clients of loggers wait for their servers then, however long these hang.

    Args:
        code: what it exits with.
    """
    number = code if isinstance(code, int) else int(code is not None)
    seconds = SOON_S if number - 128 in _STOPS else EXIT_S
    threading.Thread(target=_end_after, args=(seconds, number), daemon=True).start()


def _end_after(seconds: float, code: int) -> None:
    time.sleep(seconds)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads, or it is closed
            stream.flush()
    _end(code)


def _end(code: int) -> NoReturn:
    """End on the spot, and with this process those of environments, which may hang as well: nobody
    else would ever end one that does."""
    multiprocessing = sys.modules.get("multiprocessing")
    with contextlib.suppress(Exception):
        for child in multiprocessing.active_children() if multiprocessing else ():
            child.kill()
    os._exit(code)


class _Nudge:
    """Sees to it that the main thread notices a signal that came at the wrong instant.

    One that arrives after the interpreter last asked for signals, and before the system call that
    it is about to enter (again) blocks, sets a flag that nobody reads until the call returns. The
    wakeup descriptor tells of every arrival, and ``on_arrival`` is told; ``NUDGE_S`` later SIGURG,
    which means nothing here, ends the system call, and what is flagged is handled.
    """

    def __init__(
        self, stops: Sequence[signal.Signals], on_arrival: Callable[[bytes], None]
    ) -> None:
        self._stops, self._on_arrival = stops, on_arrival

    def __enter__(self) -> "_Nudge":
        self._arrivals, self._arrived = os.pipe()
        os.set_blocking(self._arrived, False)  # the interpreter writes to it in the handler
        self.old_handler = signal.signal(signal.SIGURG, lambda *_: None)
        self._old_wakeup = signal.set_wakeup_fd(self._arrived, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._watch, daemon=True, name="rllib-nudge")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._old_wakeup)
        signal.signal(signal.SIGURG, self.old_handler)
        os.write(self._arrived, _QUIT)
        self._thread.join()
        os.close(self._arrivals)
        os.close(self._arrived)

    def _watch(self) -> None:
        while (arrival := os.read(self._arrivals, 1)) != _QUIT:
            if ord(arrival) in self._stops:
                self._on_arrival(arrival)
                time.sleep(NUDGE_S)
                _send_main_thread(signal.SIGURG)
