"""A mixed load of everything the runtime does, each piece of which knows what may come of it.

Pieces are begun all at once and looked at afterwards, while something kills processes amid it.
A piece ends with a value, which must be right, or with one of the errors that its kind may end in.
"""

import contextlib
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from patience import patience

from rllib import core
from rllib.core.exceptions import (
    ActorError,
    ObjectLostError,
    OwnerDiedError,
    TaskCancelledError,
    TaskError,
    WorkerCrashedError,
)

BIG = 40_000
"""Elements of an array that lives in shared memory."""

Errors = tuple[type[Exception], ...]
ACTOR: Errors = (ActorError,)
LOST: Errors = (ActorError, ObjectLostError, OwnerDiedError)
CRASH: Errors = (WorkerCrashedError,)


@dataclass
class Piece:
    """References that were begun together: what each is to be, and the errors it may end in."""

    kind: str
    refs: list[Any]
    expected: list[Any]
    errors: Errors = ()
    held: list[Any] = field(default_factory=list)
    """Actors and objects that live as long as the piece."""

    def check(self) -> int:
        """Look at every outcome; how many were values."""
        return sum(map(self._is_right, self.refs, self.expected))

    def _is_right(self, ref: Any, expected: Any) -> bool:
        try:
            value = core.get(ref, timeout=0)
        except Exception as error:
            self.expect(error)
            return False
        assert value == expected, f"{self.kind} came to {value!r} instead of {expected!r}"
        return True

    def expect(self, error: Exception) -> None:
        """Complain unless it may end like that, itself or because of what it waited for."""
        found = error.cause if isinstance(error, TaskError) else error
        assert isinstance(found, self.errors), f"{self.kind} ended with {error!r}"


# -- what runs in workers --------------------------------------------------------------------------


@core.remote(max_retries=-1)
def square(number: int) -> int:
    return number * number


@core.remote(max_retries=-1)
def sum_of_squares(count: int) -> int:
    return sum(core.get([square.remote(number) for number in range(count)]))


@core.remote(max_retries=-1)
def total(array: np.ndarray) -> float:
    return float(array.sum())


@core.remote(max_retries=-1)
def total_inside(container: list[Any]) -> float:
    return float(core.get(total.remote(container[0]))) + float(core.get(container[0])[0])


@core.remote(max_retries=-1)
def ones(size: int) -> np.ndarray:
    return np.ones(size)


@core.remote(max_retries=-1)
def linger() -> int:
    for _ in range(2_000_000):
        os.getpid()
    return 7


@core.remote(max_retries=-1, _generator_backpressure_num_objects=2)
def count_up(count: int) -> Iterator[np.ndarray]:
    for number in range(count):
        yield np.full(9_000, float(number))


@core.remote
class Counter:
    """Called in order: an ordinary actor."""

    def __init__(self) -> None:
        self.count = 0
        self.kept: Any = None

    def next(self) -> int:
        self.count += 1
        return self.count

    def keep(self, container: Any) -> int:
        self.kept = container
        return 1

    def pass_on(self, other: list[Any]) -> int:
        return core.get(other[0].keep.remote(self.kept))

    def make(self) -> list[Any]:
        return [core.put(np.ones(BIG)), core.put(5)]

    def stream(self, count: int) -> Iterator[int]:
        yield from range(count)


@core.remote(max_concurrency=4)
class Threaded:
    """Calls run in threads, and wait for others."""

    def nest(self, number: int) -> int:
        return core.get(square.remote(number))


@core.remote
class Asynchronous:
    """Calls run on an event loop."""

    async def nest(self, number: int) -> int:
        return await square.remote(number)

    async def stream(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number


# -- pieces ----------------------------------------------------------------------------------------


def retried_tasks() -> Piece:
    return Piece("retried task", [square.remote(n) for n in range(20)], [n * n for n in range(20)])


def mortal_tasks() -> Piece:
    task = square.options(max_retries=0)
    return Piece("task", [task.remote(n) for n in range(10)], [n * n for n in range(10)], CRASH)


def nested_tasks() -> Piece:
    refs = [sum_of_squares.remote(5) for _ in range(3)]
    return Piece("nested task", refs, [30] * 3)


def large_values() -> Piece:
    given = core.put(np.ones(BIG))
    refs = [total.remote(given), total.remote(np.ones(BIG)), total.remote(ones.remote(BIG))]
    return Piece("large value", refs, [BIG] * 3, held=[given])


def borrowed_values() -> Piece:
    given = core.put(np.ones(BIG))
    return Piece("borrowed value", [total_inside.remote([given])], [BIG + 1])


def ordered_calls() -> Piece:
    actor = Counter.remote()
    return Piece("call", [actor.next.remote() for _ in range(20)], list(range(1, 21)), ACTOR)


def named_calls() -> Piece:
    name = f"name-{random.getrandbits(64):x}"
    actor = Counter.options(name=name).remote()
    refs: list[Any] = []
    with contextlib.suppress(ValueError):  # it may be killed before it is looked for
        refs += [core.get_actor(name).next.remote()]
        refs += [core.get_actor(name).next.remote()]
    return Piece("named call", refs, [1, 2][: len(refs)], ACTOR, [actor])


def threaded_calls() -> Piece:
    actor = Threaded.remote()
    return Piece("threaded call", [actor.nest.remote(n) for n in (1, 2, 3)], [1, 4, 9], ACTOR)


def async_calls() -> Piece:
    actor = Asynchronous.remote()
    return Piece(
        "async call", [actor.nest.remote(n) for n in range(9)], [n * n for n in range(9)], ACTOR
    )


def passed_references() -> Piece:
    given, giver, taker = core.put(np.ones(BIG)), Counter.remote(), Counter.remote()
    refs = [giver.keep.remote([given]), giver.pass_on.remote([taker]), taker.next.remote()]
    return Piece("passed reference", refs, [1, 1, 1], LOST)


def values_of_actors() -> Piece:
    actor = Counter.remote()
    made = actor.make.remote()
    refs = [total_inside.remote(made)]
    return Piece("value of an actor", refs, [BIG + 1], LOST, [actor])


def cancelled_tasks() -> Piece:
    refs = [linger.remote() for _ in range(2)]
    core.cancel(refs[0])
    core.cancel(refs[1], force=True)
    return Piece("cancelled task", refs, [7, 7], (TaskCancelledError, WorkerCrashedError))


class Stream(Piece):
    """A generator, which is read when it is looked at."""

    def check(self) -> int:
        (generator,), received = self.refs, []
        try:
            received = [float(np.ravel(core.get(ref, timeout=patience(5)))[0]) for ref in generator]
        except Exception as error:
            self.expect(error)
            return 0
        assert received == self.expected, f"{self.kind} yielded {received}"
        return len(received)


def retried_stream() -> Piece:
    return Stream("retried stream", [count_up.remote(12)], [float(n) for n in range(12)])


def stream_of_an_actor() -> Piece:
    actor = Counter.remote()
    return Stream("stream", [actor.stream.remote(9)], list(range(9)), ACTOR, [actor])


def async_stream() -> Piece:
    actor = Asynchronous.remote()
    return Stream("async stream", [actor.stream.remote(9)], list(range(9)), ACTOR, [actor])


PIECES: list[Callable[[], Piece]] = [
    retried_tasks,
    mortal_tasks,
    nested_tasks,
    large_values,
    borrowed_values,
    ordered_calls,
    named_calls,
    threaded_calls,
    async_calls,
    passed_references,
    values_of_actors,
    cancelled_tasks,
    retried_stream,
    stream_of_an_actor,
    async_stream,
]


def begin(draw: random.Random) -> list[Piece]:
    """One piece of every kind, in a random order."""
    return [begin_one() for begin_one in draw.sample(PIECES, len(PIECES))]
