"""Conveniences, on both engines."""

import time
from typing import Any

import pytest

from rllib import core
from rllib.core.util import ActorPool, as_completed, map_unordered

pytestmark = pytest.mark.usefixtures("engine")


@core.remote(num_cpus=0)
class Doubler:
    def double(self, value: int) -> int:
        return 2 * value

    def late(self, value: int) -> int:
        time.sleep(0.3)
        return value

    def fail(self, value: int) -> int:
        raise LookupError(f"no {value}")


@core.remote
def square(value: int) -> int:
    return value * value


def double(actor: Any, value: int) -> Any:
    return actor.double.remote(value)


def pool(size: int = 2) -> ActorPool:
    return ActorPool([Doubler.remote() for _ in range(size)])


def test_map_keeps_the_order_of_the_values() -> None:
    assert list(pool().map(double, range(7))) == [0, 2, 4, 6, 8, 10, 12]


def test_map_unordered_gives_every_result_once() -> None:
    assert sorted(pool().map_unordered(double, range(7))) == [0, 2, 4, 6, 8, 10, 12]


def test_a_new_map_drops_results_nobody_fetched() -> None:
    actors = pool()
    actors.submit(double, 100)
    assert list(actors.map(double, [1])) == [2]


def test_submissions_wait_for_a_free_actor() -> None:
    actors = pool(1)
    assert actors.has_free()
    for value in (1, 2):
        actors.submit(double, value)
    assert not actors.has_free()
    assert [actors.get_next(), actors.get_next()] == [2, 4]
    assert not actors.has_next()
    with pytest.raises(StopIteration):
        actors.get_next()


def test_results_may_be_fetched_in_both_ways() -> None:
    actors = pool(3)
    for value in (1, 2, 3):
        actors.submit(double, value)
    first = actors.get_next_unordered()
    assert sorted([first, actors.get_next(), actors.get_next()]) == [2, 4, 6]


def test_an_error_of_the_call_is_raised_and_the_actor_goes_on() -> None:
    actors = pool(1)
    actors.submit(lambda actor, value: actor.fail.remote(value), 3)
    with pytest.raises(LookupError, match="no 3"):
        actors.get_next()
    actors.submit(double, 4)
    assert actors.get_next() == 8


def test_actors_can_be_added_and_taken() -> None:
    actors = pool(1)
    taken = actors.pop_idle()
    assert taken is not None
    assert actors.pop_idle() is None
    actors.push(taken)
    actors.submit(double, 5)
    assert actors.get_next() == 10


def test_a_late_result_can_time_out(engine: str) -> None:
    if engine == "inline":
        return  # its calls are over before anybody can wait for them
    actors = pool(1)
    actors.submit(lambda actor, value: actor.late.remote(value), 1)
    with pytest.raises(TimeoutError, match=r"0\.01 s"):
        actors.get_next(timeout=0.01)
    with pytest.raises(TimeoutError):
        actors.get_next_unordered(timeout=0.01)
    assert actors.get_next_unordered(timeout=0.01, ignore_if_timedout=True) is None
    assert actors.get_next() == 1


def test_as_completed_gives_all_values_or_references() -> None:
    refs = [square.remote(value) for value in range(25)]
    assert sorted(as_completed(refs)) == sorted(value * value for value in range(25))
    assert set(as_completed(refs, chunk_size=4, yield_obj_refs=True)) == set(refs)
    assert list(as_completed([])) == []


@pytest.mark.parametrize("limit", [1, 3, 100, None])
def test_map_unordered_of_a_function(limit: int | None) -> None:
    results = map_unordered(square, iter(range(30)), backpressure_size=limit)
    assert sorted(results) == sorted(value * value for value in range(30))


def test_map_unordered_starts_no_more_than_allowed() -> None:
    taken = []

    def items() -> Any:
        for value in range(10):
            taken.append(value)
            yield value

    results = map_unordered(square, items(), backpressure_size=3)
    next(results)
    assert len(taken) <= 3 + 3
