"""`EpollPoller`: one epoll set in another, so that getting the background out of it is one system
call and disturbs no wait under way::

    background --waits on--> outer --contains--> inner --contains--> every descriptor
    a leader   --takes inner out of outer, and waits on inner itself--

Linux alone has what it takes.
"""

from __future__ import annotations

import os
import select

from rllib.core.native.poller import READ, Events, Poller


class EpollPoller(Poller):
    """One epoll set in another, and eventfds."""

    def __init__(self) -> None:
        super().__init__()
        self._inner = select.epoll()
        self._outer = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poke = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._inner.register(self._poke, READ)
        self._outer.register(self._wake, READ)
        self._outer.register(self._inner.fileno(), 0)

    def register(self, fd: int, mask: int) -> None:
        """One system call."""
        self._inner.register(fd, mask)

    def modify(self, fd: int, mask: int) -> None:
        """One system call."""
        self._inner.modify(fd, mask)

    def unregister(self, fd: int) -> None:
        """One system call."""
        self._inner.unregister(fd)

    def wait(self, timeout_s: float | None) -> Events:
        """One system call."""
        return self._inner.poll(timeout_s)

    def _watch(self) -> bool:
        if not self._watching:
            self._watching = True
            self._outer.modify(self._inner.fileno(), READ)
            if self._led:
                self._end_watch()
        return self._wakes_aside(self._outer.poll())

    def _end_watch(self) -> None:
        self._outer.modify(self._inner.fileno(), 0)
        self._watching = False
        self.wake()

    def _sleep(self, timeout_s: float | None) -> None:
        self._wakes_aside(self._outer.poll(timeout_s))

    def _wakes_aside(self, events: Events) -> bool:
        """End the wake, if there was one; whether anything else is ready."""
        ready = False
        for fd, _mask in events:
            if fd == self._wake:
                os.eventfd_read(fd)
            else:
                ready = True
        return ready

    def wake(self) -> None:
        """Ring one eventfd."""
        os.eventfd_write(self._wake, 1)

    def poke(self) -> None:
        """Ring the other one."""
        os.eventfd_write(self._poke, 1)

    def heard(self, fd: int) -> None:
        """Else it was unregistered by a handler before it."""
        if fd == self._poke:
            os.eventfd_read(fd)

    def close(self) -> None:
        """Sets and eventfds."""
        self._inner.close()
        self._outer.close()
        os.close(self._wake)
        os.close(self._poke)
