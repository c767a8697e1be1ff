"""How a worker sends what generators yield, one result after the other.

The state of one such job is its `streams.Outflow`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from rllib.core.native import wire
from rllib.core.native.lanes import Job
from rllib.core.native.streams import Outflow

if TYPE_CHECKING:
    from rllib.core.native.engine import NativeRuntime

_END = object()


class Yields:
    """Sends results of generators, at the pace at which their callers take them."""

    def __init__(self, runtime: NativeRuntime) -> None:
        self._runtime = runtime

    def send_all(self, job: Job, outflow: Outflow, result: Any, name: str) -> None:
        """Send what a generator yields, until it ends, is cancelled, or nobody wants more.

        Raises what the generator raises, and `TypeError` where ``result`` is none.
        """
        results = _iterator(name, result)
        for index in itertools.count():
            if not outflow.has_room():
                self._runtime.wait_for(lambda: outflow.has_room() or job.cancelled, None)
            if not self._send_one(job, outflow, index, next(results, _END)):
                return

    async def send_all_async(self, job: Job, outflow: Outflow, result: Any, name: str) -> None:
        """The same for one that runs on an event loop, asynchronous or not."""
        results = _async_iterator(name, result)
        for index in itertools.count():
            if not outflow.has_room():
                await _room(outflow)
            if not self._send_one(job, outflow, index, await anext(results, _END)):
                return

    def _send_one(self, job: Job, outflow: Outflow, index: int, value: Any) -> bool:
        """Send one result; ``False`` when it was the end, or nobody wants more."""
        if value is _END or job.cancelled:
            return False
        stored = self._runtime.values.store(value)
        outflow.yielded = index + 1
        with self._runtime.lock:
            if job.peer.gone:
                return False
            if stored.is_plain:
                frame = wire.plain_item_frame(job.seq, index, stored.body)
            else:
                outgoing = self._runtime.values.outgoing(stored, job.peer, handed=True)
                frame = wire.item_frame(job.seq, index, outgoing)
            job.peer.conn.send(frame)
            if outflow.flush_is_due():
                self._runtime.peers.flush(job.peer.conn)
            else:
                self._runtime.peers.hold(job.peer.conn)
        return True


def _iterator(name: str, result: Any) -> Iterator[Any]:
    if not isinstance(result, Iterable):
        raise TypeError(f"{name} was to yield its results, but returned {type(result).__name__}")
    return iter(result)


async def _async_iterator(name: str, result: Any) -> AsyncIterator[Any]:
    if isinstance(result, AsyncIterator):
        async for value in result:
            yield value
        return
    for value in _iterator(name, result):
        yield value


async def _room(outflow: Outflow) -> None:
    """Wait, on the event loop, until the caller has taken enough."""
    loop = asyncio.get_running_loop()
    taken = asyncio.Event()
    outflow.on_taken = lambda: loop.call_soon_threadsafe(taken.set)
    while not outflow.has_room():
        await taken.wait()
        taken.clear()
