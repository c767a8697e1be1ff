"""`ActorPool`: hand work to whichever actor of a set is free."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rllib.core import api
from rllib.core.exceptions import ActorDiedError
from rllib.core.object_ref import ObjectRef
from rllib.core.remote import ActorHandle

Work = Callable[[ActorHandle, Any], Any]
"""Makes a call and returns what it returns: ``lambda actor, value: actor.f.remote(value)``."""


class ActorPool:
    """A set of actors, each working on at most one value at a time. A dead one is taken out.

    ::

        pool = ActorPool([Actor.remote(), Actor.remote()])
        results = list(pool.map(lambda actor, value: actor.double.remote(value), [1, 2, 3]))
    """

    def __init__(self, actors: Iterable[ActorHandle]) -> None:
        self._idle = deque(actors)
        self._waiting: deque[tuple[Work, Any]] = deque()
        self._running: dict[int, tuple[ActorHandle, Any]] = {}  # by number of submission
        self._submitted = 0

    def submit(self, fn: Work, value: Any) -> None:
        """Work on ``value`` as soon as an actor is free."""
        if not self._idle:
            self._waiting.append((fn, value))
            return
        actor = self._idle.popleft()
        self._running[self._submitted] = actor, fn(actor, value)
        self._submitted += 1

    def has_next(self) -> bool:
        """Whether results are still to be fetched."""
        return bool(self._running or self._waiting)

    def has_free(self) -> bool:
        """Whether an actor has nothing to do."""
        return bool(self._idle) and not self._waiting

    # -- results -------------------------------------------------------------------------------

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """The result of the earliest submission not fetched yet; blocks.

        Raises `StopIteration` when there is none, `TimeoutError` after ``timeout`` seconds, what
        the call raised, and `ActorDiedError` when no actor is left to do what was submitted.
        ``ignore_if_timedout`` gives the late result up: it is not the next one any more.
        """
        self._check_next()
        number = next(iter(self._running))
        ready, _ = api.wait([_first_ref(self._running[number][1])], timeout=timeout)
        if not ready:
            raise self._late(number, timeout, ignore_if_timedout)
        return api.get(self._finish(number))

    def get_next_unordered(
        self, timeout: float | None = None, ignore_if_timedout: bool = False
    ) -> Any:
        """Whichever result is there first; otherwise like `get_next`."""
        self._check_next()
        numbers = {_first_ref(result): number for number, (_, result) in self._running.items()}
        ready, _ = api.wait(list(numbers), timeout=timeout)
        if not ready:
            raise self._late(next(iter(self._running)), timeout, ignore_if_timedout)
        return api.get(self._finish(numbers[ready[0]]))

    def _check_next(self) -> None:
        if self._running:
            return
        if self._waiting:
            raise ActorDiedError(
                f"every actor of the pool is dead, and {len(self._waiting)} submissions were not "
                "begun; push() an actor"
            )
        raise StopIteration("no more results to get")

    def _late(self, number: int, timeout: float | None, give_up: bool) -> TimeoutError:
        if not give_up:
            return TimeoutError(f"the next result was not there after {timeout} s")
        self._return(self._running.pop(number)[0])
        return TimeoutError(f"the result was not there after {timeout} s and is given up")

    def _finish(self, number: int) -> Any:
        """Take a ready result out; its actor goes on, unless it is dead."""
        actor, result = self._running.pop(number)
        if not isinstance(api.error_of(_first_ref(result)), ActorDiedError):
            self._return(actor)
        return result

    def map(self, fn: Work, values: Iterable[Any]) -> Iterator[Any]:
        """Results of ``fn`` for all ``values``, in their order. The work begins at once."""
        self._start(fn, values)
        return self._drain(self.get_next)

    def map_unordered(self, fn: Work, values: Iterable[Any]) -> Iterator[Any]:
        """Results of ``fn`` for all ``values``, as they come. The work begins at once."""
        self._start(fn, values)
        return self._drain(self.get_next_unordered)

    def _start(self, fn: Work, values: Iterable[Any]) -> None:
        """Give up what nobody fetched, and begin."""
        self._waiting.clear()
        while self._running:
            self._return(self._running.pop(next(iter(self._running)))[0])
        for value in values:
            self.submit(fn, value)

    def _drain(self, fetch: Callable[[], Any]) -> Iterator[Any]:
        while self.has_next():
            yield fetch()

    # -- actors --------------------------------------------------------------------------------

    def push(self, actor: ActorHandle) -> None:
        """Add an actor. Raises `ValueError` if it is in the pool already."""
        if actor in self._idle or any(actor == busy for busy, _ in self._running.values()):
            raise ValueError(f"{actor!r} belongs to the pool already")
        self._return(actor)

    def _return(self, actor: ActorHandle) -> None:
        self._idle.append(actor)
        if self._waiting:
            self.submit(*self._waiting.popleft())

    def pop_idle(self) -> ActorHandle | None:
        """Take an actor that has nothing to do out of the pool; ``None`` if there is none."""
        return self._idle.popleft() if self.has_free() else None


def _first_ref(result: Any) -> ObjectRef[Any]:
    """The returns of one call arrive together: the first tells when."""
    ref: ObjectRef[Any] = result[0] if isinstance(result, list) else result
    return ref
