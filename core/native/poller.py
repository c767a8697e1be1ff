"""Which descriptors are ready: one set of them, and two threads that may wait for it.

The thread that *leads* waits in ``wait``. The *background* waits in ``wait_in_background``: for
descriptors while nobody leads, and for ``wake`` at all times. To get the background out of the set
and into it again for each of ten thousand short waits a second would cost more than the waits; so
it comes back lazily, once nobody has begun to lead for `LINGER_S`::

    watching --take--> lingering --nobody has led for a while--> watching
                           |    \\--somebody leads all the time--> resting --give--> lingering

`EpollPoller` (Linux) and `PollPoller` (everywhere) do it in their ways.
"""

from __future__ import annotations

import select
from abc import ABC, abstractmethod

from rllib.core.native import platform

READ = select.POLLIN  # the same numbers as epoll's
WRITE = select.POLLOUT
HANG_UP = select.POLLHUP
"""Told of whatever is waited for; to wait for nothing else."""

LINGER_S = 0.005

Events = list[tuple[int, int]]
"""Descriptors and their event masks."""


class Poller(ABC):
    """See the module's text. Who leads is settled by the caller: one thread at a time.

    Every flag is set before what the other side writes is looked at, so that of two threads at
    least one sees the other.
    """

    def __init__(self) -> None:
        self._led = False
        self._leads = 0  # how often somebody began to lead
        self._leads_seen = 0
        self._watching = False  # the background, for descriptors
        self._lingering = False  # the background, not for long
        self._resting = False  # the background, without limit, until the leader leaves

    # -- leading -------------------------------------------------------------------------------

    def take(self) -> None:
        """The calling thread leads from now on. Only the first of many in a row has to get the
        background out of the set."""
        self._leads += 1
        self._led = True
        if self._watching:
            self._end_watch()

    def give(self) -> None:
        """It leads no more. The background notices by itself, unless the leader stayed long."""
        self._led = False
        if self._resting:
            self.wake()

    @abstractmethod
    def wait(self, timeout_s: float | None) -> Events:
        """What is ready; none of it is lost if this is interrupted. Pokes go to `heard`."""

    # -- the background ------------------------------------------------------------------------

    def wait_in_background(self) -> bool:
        """Return after `wake`, or with ``True`` when descriptors are ready and nobody leads.

        It may return without a reason.
        """
        quiet = self._leads == self._leads_seen
        self._leads_seen = self._leads
        if not quiet:
            self._linger()
        elif not self._led:
            return self._watch()
        else:
            self._rest_while_led()
        return False

    def _linger(self) -> None:
        self._lingering = True
        self._sleep(LINGER_S)
        self._lingering = False

    def _rest_while_led(self) -> None:
        self._resting = True
        if self._led:
            self._sleep(None)
        self._resting = False

    @abstractmethod
    def _watch(self) -> bool:
        """Wait for descriptors and for `wake`; whether descriptors are ready."""

    @abstractmethod
    def _end_watch(self) -> None:
        """Have `_watch` return, and not come back for descriptors."""

    @abstractmethod
    def _sleep(self, timeout_s: float | None) -> None:
        """Wait for `wake` alone."""

    def wake_soon(self) -> None:
        """Have `wait_in_background` return within `LINGER_S`."""
        if not self._lingering:
            self.wake()

    @abstractmethod
    def wake(self) -> None:
        """Have `wait_in_background` return at once."""

    # -- descriptors ---------------------------------------------------------------------------

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
