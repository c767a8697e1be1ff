"""References as futures: for event loops, and for code that is called back.

The runtime says in any of its threads, amid its work, that a value is there; so all that happens
there is to wake somebody else: the event loop, or a thread that completes futures.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from rllib.core import api
from rllib.core.object_ref import ObjectRef
from rllib.core.runtime import Runtime


def asyncio_future_of(ref: ObjectRef[Any]) -> asyncio.Future[Any]:
    """See `ObjectRef.as_future`."""
    return _asyncio_future(ref, _complete)


def arrival_of(ref: ObjectRef[Any]) -> asyncio.Future[None]:
    """See `ObjectRef._ready`."""
    return _asyncio_future(ref, _complete_empty)


def _asyncio_future(ref: ObjectRef[Any], complete: Callable[..., None]) -> asyncio.Future[Any]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    runtime = api.runtime()

    def arrived() -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed, so nobody waits any more
            loop.call_soon_threadsafe(complete, future, runtime, ref)

    runtime.when_ready(ref, arrived)
    return future


def call_when_ready(ref: ObjectRef[Any], callback: Callable[[None], object]) -> Callable[[], None]:
    """See `ObjectRef._on_ready`."""
    future: concurrent.futures.Future[None] = concurrent.futures.Future()
    future.add_done_callback(lambda done: None if done.cancelled() else callback(None))

    def arrived() -> None:
        if future.set_running_or_notify_cancel():
            future.set_result(None)

    def take_back() -> None:
        future.cancel()

    api.runtime().when_ready(ref, lambda: _completer.add(arrived))
    return take_back


def future_of(ref: ObjectRef[Any]) -> concurrent.futures.Future[Any]:
    """See `ObjectRef.future`."""
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()  # `cancel` stops calls; a future of one only looks on
    runtime = api.runtime()
    runtime.when_ready(ref, lambda: _completer.add(lambda: _complete(future, runtime, ref)))
    return future


def _complete(future: Any, runtime: Runtime, ref: ObjectRef[Any]) -> None:
    if future.cancelled():
        return
    try:
        (value,) = runtime.get((ref,), None)
    except BaseException as error:
        future.set_exception(_for_coroutines(error))
    else:
        future.set_result(value)


def _for_coroutines(error: BaseException) -> BaseException:
    """A coroutine in which `StopIteration` is raised returns; so that one is told as a cause."""
    if not isinstance(error, StopIteration):
        return error
    story = RuntimeError(f"the call raised StopIteration:\n{error}")
    story.__cause__ = error
    return story


def _complete_empty(future: Any, _runtime: Runtime, _ref: ObjectRef[Any]) -> None:
    if not future.cancelled():
        future.set_result(None)


class _Completer:
    """Completes futures one after the other, in a thread that is there while there are some."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._todo: deque[Callable[[], None]] = deque()
        self._at_work = False

    def add(self, action: Callable[[], None]) -> None:
        """Have it done soon; does not wait, whoever calls."""
        with self._lock:
            self._todo.append(action)
            if self._at_work:
                return
            self._at_work = True
        threading.Thread(target=self._work, name="rllib-futures", daemon=True).start()

    def _work(self) -> None:
        while (action := self._next()) is not None:
            action()

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            if self._todo:
                return self._todo.popleft()
            self._at_work = False
            return None


_completer = _Completer()


def _after_fork() -> None:
    """The thread stays with the parent, and so does what it had to do."""
    global _completer
    _completer = _Completer()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
