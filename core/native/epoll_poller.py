"""`EpollPoller`: one epoll set in another, so that leading begins and ends with one system call and
disturbs nobody::

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
        self._inner = select.epoll()
        self._outer = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poke = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._inner.register(self._poke, READ)
        self._outer.register(self._wake, READ)
        self._outer.register(self._inner.fileno(), READ)

    def register(self, fd: int, mask: int) -> None:
        """One system call."""
        self._inner.register(fd, mask)

    def modify(self, fd: int, mask: int) -> None:
        """One system call."""
        self._inner.modify(fd, mask)

    def unregister(self, fd: int) -> None:
        """One system call."""
        self._inner.unregister(fd)

    def take(self) -> None:
        """The background hears of descriptors no more."""
        self._outer.modify(self._inner.fileno(), 0)

    def give(self) -> None:
        """The background hears of descriptors again."""
        self._outer.modify(self._inner.fileno(), READ)

    def wait(self, timeout_s: float | None) -> Events:
        """One system call."""
        return self._inner.poll(timeout_s)

    def wait_in_background(self) -> bool:
        """One system call, two after a wake."""
        ready = False
        for fd, _mask in self._outer.poll():
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
