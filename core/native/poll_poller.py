"""`PollPoller`: two plain sets with the same descriptors, on any system.

A leader must get the background out of its set, for both would be told of everything. To do so for
each of ten thousand short waits a second would cost more than the waits; so the background comes
back lazily, once nobody has begun to lead for `_LINGER_S`::

    watching --take--> lingering --nobody has led for a while--> watching
                           |    \\--somebody leads all the time--> resting --give--> lingering
"""

from __future__ import annotations

import contextlib
import os
import select

from rllib.core.native.poller import READ, Events, Poller

_LINGER_S = 0.002


class _Bell:
    """A pipe to wake a thread in poll."""

    def __init__(self) -> None:
        self.fd, self._write_end = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_end, False)

    def ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full, so it rings already
            os.write(self._write_end, b"\0")

    def silence(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 1 << 12)

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._write_end)


class PollPoller(Poller):
    """Two plain sets and two pipes.

    A wait under way does not notice that its set has changed, and keeps what was closed meanwhile
    from ending. So each change rings whoever waits. Every flag is set before what the other side
    writes is looked at, so that of two threads at least one sees the other.
    """

    def __init__(self) -> None:
        self._wake = _Bell()
        self._poke = _Bell()
        self._front = select.poll()  # of the leader
        self._back = select.poll()  # of the background while it watches
        self._rest = select.poll()  # of the background while it does not
        self._front.register(self._poke.fd, READ)
        self._back.register(self._wake.fd, READ)
        self._rest.register(self._wake.fd, READ)
        self._masks: dict[int, int] = {}
        self._led = False
        self._leads = 0  # how often somebody began to lead
        self._leads_seen = 0
        self._waiting = False  # the leader, on ``_front``
        self._watching = False  # the background, on ``_back``
        self._resting = False  # the background, without limit, until the leader leaves

    def register(self, fd: int, mask: int) -> None:
        """Add to both sets."""
        self._masks[fd] = mask
        self._front.register(fd, mask)
        self._back.register(fd, mask)
        self._ring_waiters()

    def modify(self, fd: int, mask: int) -> None:
        """The same, unless nothing changes."""
        if self._masks[fd] != mask:
            self.register(fd, mask)

    def unregister(self, fd: int) -> None:
        """Remove from both sets."""
        del self._masks[fd]
        self._front.unregister(fd)
        self._back.unregister(fd)
        self._ring_waiters()

    def _ring_waiters(self) -> None:
        if self._waiting:
            self._poke.ring()
        self._end_watch()

    def _end_watch(self) -> None:
        if self._watching:
            self._watching = False  # so that the next one does not ring as well
            self._wake.ring()

    def take(self) -> None:
        """Only the first of many leaders in a row has to get the background out of its set."""
        self._leads += 1
        self._led = True
        self._end_watch()

    def give(self) -> None:
        """The background notices by itself, unless the leader stayed for long."""
        self._led = False
        if self._resting:
            self._wake.ring()

    def wait(self, timeout_s: float | None) -> Events:
        """One system call."""
        self._waiting = True
        events = self._front.poll(None if timeout_s is None else timeout_s * 1000)
        self._waiting = False
        return events

    def wait_in_background(self) -> bool:
        """Watch, linger or rest, as the module's text draws it."""
        quiet = self._leads == self._leads_seen
        self._leads_seen = self._leads
        if not quiet:
            self._answer(self._rest.poll(_LINGER_S * 1000))
            return False
        return self._rest_while_led() if self._led else self._watch()

    def _watch(self) -> bool:
        self._watching = True
        events = [] if self._led else self._back.poll()
        self._watching = False
        return self._answer(events)

    def _rest_while_led(self) -> bool:
        self._resting = True
        if self._led:
            self._answer(self._rest.poll())
        self._resting = False
        return False

    def _answer(self, events: Events) -> bool:
        """Silence the bell if it rang; whether anything else is ready."""
        others = 0
        for fd, _mask in events:
            if fd == self._wake.fd:
                self._wake.silence()
            else:
                others += 1
        return others > 0

    def wake(self) -> None:
        """Write to one pipe."""
        self._wake.ring()

    def poke(self) -> None:
        """Write to the other one."""
        self._poke.ring()

    def heard(self, fd: int) -> None:
        """Else it was unregistered by a handler before it."""
        if fd == self._poke.fd:
            self._poke.silence()

    def close(self) -> None:
        """The pipes."""
        self._wake.close()
        self._poke.close()
