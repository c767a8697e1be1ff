"""What the calls of a `Pool` give back: `AsyncResult` and the iterators of ``imap``."""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import TimeoutError
from typing import Any

from rllib.core import api
from rllib.core.exceptions import TaskError
from rllib.core.object_ref import ObjectRef

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Arguments of one call."""
Chunk = ObjectRef[list[Any]]
"""The outcomes of some calls, in order: values, and a `Failure` for each that raised."""
Callback = Callable[[Any], None]


class Failure:
    """What a call raised, at the place of its value; so that the others of a chunk go on."""

    def __init__(self, error: TaskError) -> None:
        self.error = error


def outcomes(function: Callable[..., Any], calls: Iterable[Call]) -> list[Any]:
    """Run all calls, whatever some of them raise."""
    return [_outcome(function, args, kwargs) for args, kwargs in calls]


def _outcome(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    try:
        return function(*args, **kwargs)
    except Exception as error:
        name = getattr(function, "__name__", repr(function))
        return Failure(TaskError.from_exception(name, error, os.getpid()))


def _value(outcome: Any) -> Any:
    """The value; or raise the very exception that the function raised, as the standard library
    does, with the remote traceback as its cause."""
    if not isinstance(outcome, Failure):
        return outcome
    if outcome.error.cause is None:  # it cannot be unpickled here
        raise outcome.error
    raise outcome.error.cause from outcome.error


class AsyncResult:
    """The result of an ``*_async`` call: one value, or the list of them.

    Callbacks run in a thread of the runtime, one at a time; they should return soon.
    """

    def __init__(
        self,
        chunks: list[Chunk],
        *,
        single: bool = False,
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> None:
        self._chunks = chunks
        self._single = single
        if callback is not None or error_callback is not None:
            self._when_done(lambda: self._tell(callback, error_callback))

    def _when_done(self, action: Callable[[], None]) -> None:
        """Do it once every chunk is there."""
        if not self._chunks:
            action()
        left, lock = len(self._chunks), threading.Lock()

        def one_done(_future: Any) -> None:
            nonlocal left
            with lock:
                left -= 1
                last = not left
            if last:
                action()

        for chunk in self._chunks:
            chunk.future().add_done_callback(one_done)

    def _tell(self, callback: Callback | None, error_callback: Callback | None) -> None:
        try:
            value = self.get()
        except Exception as error:
            if error_callback is not None:
                error_callback(error)
        else:
            if callback is not None:
                callback(value)

    def get(self, timeout: float | None = None) -> Any:
        """The result; blocks.

        Raises `multiprocessing.TimeoutError` after ``timeout`` seconds, the first exception that
        the function raised, or `ActorDiedError` if a worker process died.
        """
        self.wait(timeout)
        if not self.ready():
            raise TimeoutError(f"the result was not there after {timeout} s")
        found = itertools.chain.from_iterable(api.get(self._chunks))
        values = [_value(outcome) for outcome in found]
        return values[0] if self._single else values

    def wait(self, timeout: float | None = None) -> None:
        """Block until the result is there, or for ``timeout`` seconds."""
        if self._chunks:
            api.wait(self._chunks, num_returns=len(self._chunks), timeout=timeout)

    def ready(self) -> bool:
        """Whether the result is there."""
        return all_ready(self._chunks)

    def successful(self) -> bool:
        """Whether no call raised. Raises `ValueError` when the result is not there yet."""
        if not self.ready():
            raise ValueError("the result is not there yet; wait() for it first")
        try:
            self.get()
        except Exception:  # of whatever kind: the question is whether there was one
            return False
        return True


class IMapIterator(Iterator[Any]):
    """Results of ``imap``, which takes from its input only as fast as results are taken from it.

    An exception of the function is raised at its place; the iteration can go on behind it.
    """

    def __init__(self, start_next: Callable[[], Chunk | None], window: int, ordered: bool) -> None:
        self._start_next = start_next
        self._ordered = ordered
        self._under_way: list[Chunk] = []
        self._outcomes: deque[Any] = deque()
        for _ in range(window):
            self._top_up()

    def _top_up(self) -> None:
        chunk = self._start_next()
        if chunk is not None:
            self._under_way.append(chunk)

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: float | None = None) -> Any:
        """The next result. Raises `multiprocessing.TimeoutError` after ``timeout`` seconds."""
        if not self._outcomes:
            chunk = self._next_chunk(timeout)
            self._under_way.remove(chunk)
            self._top_up()
            self._outcomes.extend(api.get(chunk))
        return _value(self._outcomes.popleft())

    def _next_chunk(self, timeout: float | None) -> Chunk:
        if not self._under_way:
            raise StopIteration
        candidates = self._under_way[:1] if self._ordered else self._under_way
        ready: list[Chunk] = api.wait(candidates, timeout=timeout)[0]
        if not ready:
            raise TimeoutError(f"the next result was not there after {timeout} s")
        return ready[0]


def all_ready(refs: list[Chunk]) -> bool:
    """Whether all are there."""
    return not refs or len(api.wait(refs, num_returns=len(refs), timeout=0)[0]) == len(refs)
