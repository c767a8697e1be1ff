"""Which descriptors are ready: one set of them, and two threads that may wait for it.

The thread that *leads* waits in ``wait``. The *background* waits in ``wait_in_background``: for
descriptors while nobody leads, and for ``wake`` at all times. `EpollPoller` (Linux) and
`PollPoller` (everywhere) do it in their ways.
"""

from __future__ import annotations

import select
from abc import ABC, abstractmethod

from rllib.core.native import platform

READ = select.POLLIN  # the same numbers as epoll's
WRITE = select.POLLOUT

Events = list[tuple[int, int]]
"""Descriptors and their event masks."""


class Poller(ABC):
    """See the module's text. Who leads is settled by the caller: one thread at a time."""

    @abstractmethod
    def register(self, fd: int, mask: int) -> None:
        """Wait for ``mask`` on ``fd`` from now on, also in waits under way."""

    @abstractmethod
    def modify(self, fd: int, mask: int) -> None:
        """Wait for other events on ``fd``."""

    @abstractmethod
    def unregister(self, fd: int) -> None:
        """Forget ``fd``."""

    @abstractmethod
    def take(self) -> None:
        """The calling thread leads from now on."""

    @abstractmethod
    def give(self) -> None:
        """It leads no more."""

    @abstractmethod
    def wait(self, timeout_s: float | None) -> Events:
        """What is ready; none of it is lost if this is interrupted. Pokes go to `heard`."""

    @abstractmethod
    def wait_in_background(self) -> bool:
        """Return after `wake`, or with ``True`` when descriptors are ready and nobody leads.

        It may return without a reason.
        """

    @abstractmethod
    def wake(self) -> None:
        """Have `wait_in_background` return."""

    @abstractmethod
    def poke(self) -> None:
        """Have `wait` return."""

    @abstractmethod
    def heard(self, fd: int) -> None:
        """``wait`` returned ``fd``, which nobody registered: if that was a poke, it is over."""

    @abstractmethod
    def close(self) -> None:
        """Close the own descriptors."""


def new_poller() -> Poller:
    """The best that this system has."""
    if platform.has_epoll():
        from rllib.core.native.epoll_poller import EpollPoller

        return EpollPoller()
    from rllib.core.native.poll_poller import PollPoller

    return PollPoller()
