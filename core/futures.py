"""References as futures: for event loops, and for code that is called back.

The runtime says in any of its threads, amid its work, that a value is there; so all that happens
there is to wake somebody else: the event loop, or the one thread that completes futures.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import queue
import threading
from collections.abc import Callable
from typing import Any

from rllib.core import api
from rllib.core.object_ref import ObjectRef


def asyncio_future_of(ref: ObjectRef[Any]) -> asyncio.Future[Any]:
    """See `ObjectRef.as_future`."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def arrived() -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed, so nobody waits any more
            loop.call_soon_threadsafe(_complete, future, ref)

    api.runtime().when_ready(ref, arrived)
    return future


def future_of(ref: ObjectRef[Any]) -> concurrent.futures.Future[Any]:
    """See `ObjectRef.future`."""
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()
    todo = _completions()
    api.runtime().when_ready(ref, lambda: todo.put(lambda: _complete(future, ref)))
    return future


def _complete(future: Any, ref: ObjectRef[Any]) -> None:
    if future.cancelled():
        return
    try:
        value = api.get(ref)
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(value)


@functools.cache
def _completions() -> queue.SimpleQueue[Callable[[], None]]:
    """What the thread that completes futures is to do; it is started with the first one."""
    todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def work() -> None:
        while True:
            todo.get()()

    threading.Thread(target=work, name="rllib-futures", daemon=True).start()
    return todo
