"""`PollPoller`: two plain sets with the same descriptors, on any system.

A leader must get the background out of its set, for both would be told of everything.
"""

from __future__ import annotations

import contextlib
import os
import select

from rllib.core.native.poller import READ, Events, Poller


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
    from ending. So each change rings whoever waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self._wake = _Bell()
        self._poke = _Bell()
        self._front = select.poll()  # of the leader
        self._back = select.poll()  # of the background while it watches
        self._rest = select.poll()  # of the background while it does not
        self._front.register(self._poke.fd, READ)
        self._back.register(self._wake.fd, READ)
        self._rest.register(self._wake.fd, READ)
        self._masks: dict[int, int] = {}
        self._waiting = False  # the leader, on ``_front``

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
        if self._watching:
            self._end_watch()

    def wait(self, timeout_s: float | None) -> Events:
        """One system call."""
        self._waiting = True
        events = self._front.poll(None if timeout_s is None else timeout_s * 1000)
        self._waiting = False
        return events

    def _watch(self) -> bool:
        self._watching = True
        events = [] if self._led else self._back.poll()
        self._watching = False
        return self._answer(events)

    def _end_watch(self) -> None:
        self._watching = False  # so that the next one does not ring as well
        self._wake.ring()

    def _sleep(self, timeout_s: float | None) -> None:
        self._answer(self._rest.poll(None if timeout_s is None else timeout_s * 1000))

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
