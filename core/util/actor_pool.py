"""`ActorPool`: hand work to whichever actor of a fixed set is free."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rllib.core import api
from rllib.core.object_ref import ObjectRef
from rllib.core.remote import ActorHandle

Work = Callable[[ActorHandle, Any], Any]
"""Makes a call and returns its reference: ``lambda actor, value: actor.f.remote(value)``."""


class ActorPool:
    """A fixed set of actors, each working on at most one value at a time.

    ::

        pool = ActorPool([Actor.remote(), Actor.remote()])
        results = list(pool.map(lambda actor, value: actor.double.remote(value), [1, 2, 3]))
    """

    def __init__(self, actors: Iterable[ActorHandle]) -> None:
        self._idle = deque(actors)
        self._waiting: deque[tuple[Work, Any]] = deque()
        self._running: dict[ObjectRef[Any], tuple[int, ActorHandle]] = {}
        self._refs: dict[int, ObjectRef[Any]] = {}  # by number of submission, until returned
        self._submitted = 0
        self._next = 0

    def submit(self, fn: Work, value: Any) -> None:
        """Work on ``value`` as soon as an actor is free."""
        if not self._idle:
            self._waiting.append((fn, value))
            return
        actor = self._idle.popleft()
        ref = fn(actor, value)
        self._refs[self._submitted] = ref
        self._running[ref] = (self._submitted, actor)
        self._submitted += 1

    def has_next(self) -> bool:
        """Whether results are still to be fetched."""
        return bool(self._refs or self._waiting)

    def has_free(self) -> bool:
        """Whether an actor has nothing to do."""
        return bool(self._idle) and not self._waiting

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """The result of the earliest submission not fetched yet; blocks.

        Raises `StopIteration` when there is none, `TimeoutError` after ``timeout`` seconds, and
        what the call raised. ``ignore_if_timedout`` gives the late result up and returns ``None``.
        """
        if not self.has_next():
            raise StopIteration("no more results to get")
        while self._next not in self._refs and self._next < self._submitted:
            self._next += 1  # fetched out of order
        ref = self._refs[self._next]
        if not api.wait([ref], timeout=timeout)[0]:
            if not ignore_if_timedout:
                raise TimeoutError(f"the next result was not there after {timeout} s")
            self._finish(ref)
            return None
        self._finish(ref)
        return api.get(ref)

    def get_next_unordered(
        self, timeout: float | None = None, ignore_if_timedout: bool = False
    ) -> Any:
        """Whichever result is there first; otherwise like `get_next`."""
        if not self.has_next():
            raise StopIteration("no more results to get")
        ready, _ = api.wait(list(self._running), timeout=timeout)
        if not ready:
            if ignore_if_timedout:
                return None
            raise TimeoutError(f"no result was there after {timeout} s")
        self._finish(ready[0])
        return api.get(ready[0])

    def _finish(self, ref: ObjectRef[Any]) -> None:
        number, actor = self._running.pop(ref)
        del self._refs[number]
        self.push(actor)

    def map(self, fn: Work, values: Iterable[Any]) -> Iterator[Any]:
        """Results of ``fn`` for all ``values``, in their order."""
        self._start(fn, values)
        while self.has_next():
            yield self.get_next()

    def map_unordered(self, fn: Work, values: Iterable[Any]) -> Iterator[Any]:
        """Results of ``fn`` for all ``values``, as they come."""
        self._start(fn, values)
        while self.has_next():
            yield self.get_next_unordered()

    def _start(self, fn: Work, values: Iterable[Any]) -> None:
        while self.has_next():  # results of earlier submissions nobody asked for
            self.get_next_unordered()
        for value in values:
            self.submit(fn, value)

    def push(self, actor: ActorHandle) -> None:
        """Add an actor, or put one back that has nothing to do."""
        self._idle.append(actor)
        if self._waiting:
            self.submit(*self._waiting.popleft())

    def pop_idle(self) -> ActorHandle | None:
        """Take an actor that has nothing to do out of the pool; ``None`` if there is none."""
        return self._idle.popleft() if self.has_free() else None
