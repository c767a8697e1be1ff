"""`Queue`: first in, first out, between any tasks, actors and the driver. An actor holds it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from queue import Empty, Full
from typing import Any

from rllib.core import api
from rllib.core.remote import ActorClass, ActorHandle

__all__ = ["Empty", "Full", "Queue"]

_MAX_WAITING = 100_000
"""Calls that the actor keeps waiting; a put behind more waiting gets than that could never run."""


class Queue:
    """A queue of at most ``maxsize`` items (0: without limit); copies of it can be passed around.

    Blocking calls wait inside the actor that holds the items, so an item is handed over the moment
    it is there. ``actor_options`` are those of that actor. When it dies, whoever waits gets an
    `ActorDiedError`. An item that is a reference arrives as its value, as every argument does.
    """

    def __init__(self, maxsize: int = 0, actor_options: dict[str, Any] | None = None) -> None:
        options = {"num_cpus": 0, "max_concurrency": _MAX_WAITING, **(actor_options or {})}
        self.maxsize = maxsize
        self.actor: ActorHandle = ActorClass(_Items, options).remote(maxsize)

    # -- one item ------------------------------------------------------------------------------

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item; wait for room up to ``timeout`` seconds. Raises `Full`."""
        wait = _seconds(block, timeout)
        if not api.get(self.actor.put.remote(item, _possible(wait))):
            raise _unmet(Full, wait)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Remove and return an item; wait for one up to ``timeout`` seconds. Raises `Empty`."""
        wait = _seconds(block, timeout)
        items = api.get(self.actor.get.remote(_possible(wait)))
        if not items:
            raise _unmet(Empty, wait)
        return items[0]

    async def put_async(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """`put` for coroutines."""
        wait = _seconds(block, timeout)
        if not await self.actor.put.remote(item, _possible(wait)):
            raise _unmet(Full, wait)

    async def get_async(self, block: bool = True, timeout: float | None = None) -> Any:
        """`get` for coroutines."""
        wait = _seconds(block, timeout)
        items = await self.actor.get.remote(_possible(wait))
        if not items:
            raise _unmet(Empty, wait)
        return items[0]

    def put_nowait(self, item: Any) -> None:
        """Add an item if there is room now. Raises `Full`."""
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        """Remove and return an item if there is one now. Raises `Empty`."""
        return self.get(block=False)

    # -- many items ----------------------------------------------------------------------------

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Add all items, or none and raise `Full`. Raises `TypeError` for what is no iterable."""
        if not isinstance(items, Iterable):
            raise TypeError(f"items must be an iterable, got {type(items).__name__}")
        batch = list(items)
        if not api.get(self.actor.put_batch.remote(batch)):
            raise Full(f"the queue of at most {self.maxsize} has no room for {len(batch)} items")

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Remove and return exactly ``num_items``, or none and raise `Empty`."""
        if isinstance(num_items, bool) or not isinstance(num_items, int):
            raise TypeError(f"num_items must be an int, got {num_items!r}")
        if num_items < 0:
            raise ValueError(f"num_items must be at least 0, got {num_items}")
        items: list[Any] = api.get(self.actor.get_batch.remote(num_items))
        if len(items) < num_items:
            raise Empty(f"the queue has fewer than {num_items} items")
        return items

    # -- the queue itself ----------------------------------------------------------------------

    def qsize(self) -> int:
        """Number of items now."""
        size: int = api.get(self.actor.qsize.remote())
        return size

    def size(self) -> int:
        """The same as `qsize`."""
        return self.qsize()

    def __len__(self) -> int:
        return self.qsize()

    def empty(self) -> bool:
        """Whether there is no item now."""
        return self.qsize() == 0

    def full(self) -> bool:
        """Whether there is no room now."""
        return 0 < self.maxsize <= self.qsize()

    def shutdown(self, force: bool = False, grace_period_s: float = 5.0) -> None:
        """End the queue's actor; items in it are lost, and whoever waits gets an error.

        Without ``force``, calls made before this one are answered first where they need not wait,
        for at most ``grace_period_s`` seconds.
        """
        if not force:
            api.wait([self.actor.qsize.remote()], timeout=grace_period_s)
        api.kill(self.actor)


def _seconds(block: bool, timeout: float | None) -> float | None:
    """How long to wait, ``None`` without limit. Raises `ValueError` for a negative timeout."""
    if not block:
        return 0.0
    if timeout is not None and timeout < 0:
        raise ValueError(f"timeout must not be negative, got {timeout}")
    return timeout


def _possible(wait: float | None) -> float | None:
    """A serial engine cannot wait: nothing would ever change meanwhile."""
    return 0.0 if api.runtime().serial else wait


def _unmet(error: type[Exception], wait: float | None) -> Exception:
    if wait is not None:
        return error()
    state = "empty" if error is Empty else "full"
    return RuntimeError(
        f"the queue is {state}, and on the inline engine nobody can change that while this call "
        "waits; use init() for the native engine"
    )


class _Items:
    """The actor: a queue in its event loop."""

    def __init__(self, maxsize: int) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue(maxsize)

    async def put(self, item: Any, wait: float | None) -> bool:
        """Add an item once there is room; ``False`` when there was none in time."""
        try:
            if wait == 0.0:
                self._queue.put_nowait(item)
            else:
                async with asyncio.timeout(wait):
                    await self._queue.put(item)
        except (asyncio.QueueFull, TimeoutError):
            return False
        return True

    async def get(self, wait: float | None) -> list[Any]:
        """Take an item once there is one; none when there was none in time."""
        try:
            if wait == 0.0:
                return [self._queue.get_nowait()]
            async with asyncio.timeout(wait):
                return [await self._queue.get()]
        except (asyncio.QueueEmpty, TimeoutError):
            return []

    async def put_batch(self, items: list[Any]) -> bool:
        """Add all items now, or none."""
        if 0 < self._queue.maxsize < self._queue.qsize() + len(items):
            return False
        for item in items:
            self._queue.put_nowait(item)
        return True

    async def get_batch(self, count: int) -> list[Any]:
        """Take ``count`` items now, or none."""
        if count > self._queue.qsize():
            return []
        return [self._queue.get_nowait() for _ in range(count)]

    async def qsize(self) -> int:
        """Number of items."""
        return self._queue.qsize()
