"""The event loop of an actor with ``async`` methods: one thread waits for its descriptors and for
messages alike, so that no message hops through a second thread on its way to a coroutine.

The loop's selector is the reactor: to wait for descriptors is to lead it, as every thread does
that waits. The descriptors of the loop itself are a set of their own inside the reactor's.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from rllib.core.native.reactor import READ, Reactor

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

_Ready = list[tuple[selectors.SelectorKey, int]]


class EventLoop:
    """Runs coroutines, and reads sockets while they wait."""

    def __init__(self, reactor: Reactor, lock: threading.RLock) -> None:
        self._new: deque[Callable[[], object]] = deque()
        self.loop = asyncio.SelectorEventLoop(_ReactorSelector(reactor, lock, self._new))

    def run(self) -> NoReturn:
        """The main thread's work from now on."""
        asyncio.set_event_loop(self.loop)
        while True:
            self.loop.run_forever()  # user code may stop it

    def soon(self, start: Callable[[], object]) -> None:
        """Call ``start`` on the loop. Called by who dispatches messages, which wakes the loop."""
        self._new.append(start)


class _ReactorSelector(selectors.BaseSelector):
    """Waits for the loop's own descriptors, and for what messages want to have started."""

    def __init__(
        self, reactor: Reactor, lock: threading.RLock, new: deque[Callable[[], object]]
    ) -> None:
        self._own = selectors.DefaultSelector()
        self._reactor = reactor
        self._lock = lock
        self._new = new
        self._own_ready = False
        self._own_fd: int = self._own.fileno()
        with lock:
            reactor.register(self._own_fd, self._on_own)

    def _on_own(self, _mask: int) -> None:
        self._own_ready = True
        self._reactor.modify(self._own_fd, 0)  # else all would hear of it until the loop has time

    def select(self, timeout: float | None = None) -> _Ready:
        """Descriptors of the loop that are ready. What is new begins before they are looked at."""
        if not self._new and (timeout is None or timeout > 0):
            self._wait(timeout)
        while self._new:
            self._new.popleft()()
        return self._own.select(0)

    def _wait(self, timeout: float | None) -> None:
        if self._own_ready:
            self._own_ready = False
            with self._lock:
                self._reactor.modify(self._own_fd, READ)
        deadline = None if timeout is None else time.monotonic() + timeout
        self._reactor.run_until(lambda: bool(self._new) or self._own_ready, deadline)

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        """Of the loop's own set."""
        return self._own.register(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        """Of the loop's own set."""
        return self._own.unregister(fileobj)

    def modify(
        self, fileobj: FileDescriptorLike, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        """Of the loop's own set."""
        return self._own.modify(fileobj, events, data)

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        """The loop's own set."""
        return self._own.get_map()

    def close(self) -> None:
        """The loop is closed."""
        with self._lock:
            self._reactor.unregister(self._own_fd)
        self._own.close()
