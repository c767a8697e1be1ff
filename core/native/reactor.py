"""Who reads the sockets: whichever thread waits, or else a background thread.

A reply should not hop through a second thread to reach the one that waits for it, yet sockets must
be read while nobody waits. So a thread that comes to wait takes over from the background thread,
and gives back when it leaves, which `poller` makes cheap. Threads that come to wait
while another one reads are followers: they sleep until something was dispatched and look again.
What happens without a message, in a thread that does not read, is made known by `announce`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable

from rllib.core.native.deadlines import bounded, left
from rllib.core.native.poller import HANG_UP, READ, WRITE, Events, Poller, new_poller

__all__ = ["HANG_UP", "READ", "WRITE", "Handler", "Reactor"]

Handler = Callable[[int], None]
"""Called with the event mask, under the runtime's lock."""

_LEAVE_S = 5.0
_PAUSE_S = 1e-3
_REST_S = 0.1
_SPIN_S = 50e-6
_SHORT_S = 100e-6
"""Waits below this are followed by one that begins with looking again and again."""

_yield_core: Callable[[], object] = getattr(os, "sched_yield", lambda: time.sleep(0))


class Reactor:
    """Dispatches socket events to handlers, one thread at a time.

    ``lock`` is the runtime's lock: held during dispatch, free while waiting. ``finish`` runs under
    it after every dispatch, and in the background thread soon after `nudge`.
    """

    def __init__(
        self, lock: threading.RLock, finish: Callable[[], None], poller: Poller | None = None
    ) -> None:
        self._lock = lock
        self._finish = finish
        self._handlers: dict[int, Handler] = {}
        self._resting: dict[int, Handler] = {}
        self._postponed: deque[Callable[[], None]] = deque()
        self._poller = poller or new_poller()
        self._turn = threading.Lock()  # held by the thread that reads
        self._led = False  # ... when that is a thread inside run_until
        self._changed = threading.Condition(threading.Lock())
        self._followers = 0
        self._generation = 0
        self._nudged = False
        self._waits_are_short = False
        self._stopping = False
        self._thread = threading.Thread(target=self._background, name="rllib-io", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no thread
            self._poller.close()
            raise

    # -- registration --------------------------------------------------------------------------

    def register(self, fd: int, handler: Handler, mask: int = READ) -> None:
        """Call ``handler`` when ``fd`` is ready; never once this has been stopped."""
        self._handlers[fd] = handler
        if not self._stopping:
            self._poller.register(fd, mask)

    def modify(self, fd: int, mask: int) -> None:
        """Wait for other events on ``fd``."""
        if not self._stopping:
            self._poller.modify(fd, mask)

    def unregister(self, fd: int) -> None:
        """Forget ``fd``; call before closing it. Does nothing for one that is not known."""
        self._resting.pop(fd, None)
        if self._handlers.pop(fd, None) is not None and not self._stopping:
            self._poller.unregister(fd)

    def rest(self, fd: int) -> None:
        """Do not read ``fd`` for a while: what is to be done about it cannot be done now, and would
        be tried again and again. For handlers."""
        handler = self._handlers[fd]
        self.unregister(fd)
        self._resting[fd] = handler
        timer = threading.Timer(_REST_S, self._resume, (fd, handler))
        timer.daemon = True
        timer.start()

    def _resume(self, fd: int, handler: Handler) -> None:
        with self._lock:
            if self._resting.get(fd) is handler and not self._stopping:
                del self._resting[fd]
                self.register(fd, handler)

    # -- waiting -------------------------------------------------------------------------------

    def run_until(self, done: Callable[[], bool], deadline: float | None) -> bool:
        """Read sockets until ``done()``; ``False`` at ``deadline`` (monotonic clock) or `stop`."""
        while not (done() or self._stopping):
            if self._led or not self._lead(done, deadline):
                self._follow(done, deadline)
            if deadline is not None and time.monotonic() >= deadline:
                break
        return done()

    def _lead(self, done: Callable[[], bool], deadline: float | None) -> bool:
        """Read until done or late; ``False`` when another waiting thread reads already."""
        with self._turn:  # the background thread holds it for one dispatch at most
            if self._led or self._stopping:
                return False
            self._led = True
        try:
            self._poller.take()
            while not (done() or self._stopping):
                remaining = bounded(left(deadline))
                self._dispatch(self.wait_for_events(remaining))
                if remaining == 0.0:
                    break
        finally:
            self._poller.give()
            self._led = False  # from here on the poller may be closed
            if self._followers or self._stopping:
                self._wake_followers()  # one of them may want to lead
        return True

    def wait_for_events(self, timeout: float | None) -> Events:
        """Events of sockets; none of them is lost if this is interrupted.

        Who sleeps is woken late. So where the last wait was short, this one begins with looking
        again and again, while everybody else who wants the core gets it.
        """
        began = time.perf_counter()
        if self._waits_are_short:
            until = began + _SPIN_S
            while not (events := self._poller.wait(0)) and time.perf_counter() < until:
                _yield_core()
            if events:
                return events
        events = self._poller.wait(timeout)
        self._waits_are_short = time.perf_counter() - began < _SHORT_S
        return events

    def _follow(self, done: Callable[[], bool], deadline: float | None) -> None:
        """Sleep until something was dispatched, the leader left, or the deadline."""
        with self._changed:
            seen = self._generation
            self._followers += 1
        try:
            if done() or not self._led:
                return
            self.wait_for_leader(seen, deadline)
        finally:
            with self._changed:
                self._followers -= 1

    def wait_for_leader(self, seen: int, deadline: float | None) -> None:
        """Sleep until the generation is no longer the one ``seen``, or until the deadline."""
        with self._changed:
            self._changed.wait_for(lambda: self._generation != seen, bounded(left(deadline)))

    def _wake_followers(self) -> None:
        with self._changed:
            self._generation += 1
            self._changed.notify_all()

    def announce(self) -> None:
        """Have waiting threads look again, because something happened without a message."""
        if self._led and not self._stopping:
            self._poller.poke()
        if self._followers:
            self._wake_followers()

    def _dispatch(self, events: Events) -> None:
        handlers = self._handlers
        with self._lock:
            for fd, mask in events:
                handler = handlers.get(fd)
                if handler is not None:
                    handler(mask)
                elif not self._stopping:
                    self._poller.heard(fd)
            self._finish()
        if self._followers:
            self._wake_followers()

    # -- the background thread -----------------------------------------------------------------

    def nudge(self) -> None:
        """Have ``finish`` run in the background soon; cheap when asked for repeatedly."""
        if not (self._nudged or self._stopping):
            self._nudged = True
            self._poller.wake_soon()

    def postpone(self, action: Callable[[], None]) -> bool:
        """Run ``action`` in the background once nobody holds the lock; ``False`` if it is late."""
        if self._stopping:
            return False
        self._postponed.append(action)
        self.nudge()
        return True

    def _background(self) -> None:
        while not self._stopping:
            try:
                ready = self._poller.wait_in_background()
                if self._nudged:
                    self._answer_nudge()
                if ready:
                    self._take_turn()
            except Exception:  # a defect; this thread must live on, others wait for it
                traceback.print_exc()

    def _answer_nudge(self) -> None:
        self._nudged = False
        with self._lock:
            self._finish()
        if self._postponed:
            time.sleep(_PAUSE_S)  # else a signal would hit the handler that has just put it off
            while self._postponed:
                self._postponed.popleft()()
            self.announce()  # a signal just before a system call is not noticed until that returns

    def _take_turn(self) -> None:
        with self._turn:
            if not self._led:
                self._dispatch(self._poller.wait(0))

    def stop(self) -> None:
        """End the background thread and close everything; handlers are not called any more."""
        own_thread = threading.current_thread() is self._thread  # then the turn is ours already
        with contextlib.nullcontext() if own_thread else self._turn:
            self._stopping = True  # nobody begins to lead any more
        self._poller.wake()
        self._poller.poke()
        if not own_thread:
            self._thread.join()
        with self._changed:  # a thread that reads must have left before the poller is closed
            self._changed.wait_for(lambda: not self._led, _LEAVE_S)
        self._wake_followers()
        self.close()

    def close(self) -> None:
        """Close the own descriptors; alone, only in a forked child, whose threads are gone."""
        self._stopping = True
        self._poller.close()
