"""`ActorPool`."""

import time
from typing import Any

import pytest

from rllib import core
from rllib.core.util import ActorPool

pytestmark = pytest.mark.usefixtures("engine")


@core.remote(num_cpus=0)
class Doubler:
    def double(self, value: int) -> int:
        return 2 * value

    def late(self, value: int) -> int:
        time.sleep(0.3)
        return value

    def pair(self, value: int) -> tuple[int, int]:
        return value, -value

    def fail(self, value: int) -> int:
        raise LookupError(f"no {value}")


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
    assert actors.get_next() == 1
    for value in (2, 3):
        actors.submit(lambda actor, value: actor.late.remote(value), value)
    with pytest.raises(TimeoutError, match="given up"):
        actors.get_next_unordered(timeout=0.01, ignore_if_timedout=True)
    assert actors.get_next() == 3


def test_an_actor_cannot_be_added_twice() -> None:
    actor = Doubler.remote()
    actors = ActorPool([actor])
    with pytest.raises(ValueError, match="belongs to the pool"):
        actors.push(actor)
    actors.submit(double, 1)
    with pytest.raises(ValueError, match="belongs to the pool"):
        actors.push(actor)


def test_the_work_of_a_map_begins_before_its_results_are_asked_for() -> None:
    taken = []
    pool().map(lambda actor, value: taken.append(value) or double(actor, value), [1, 2])
    assert taken == [1, 2]


def test_an_error_nobody_fetched_does_not_disturb_the_next_map() -> None:
    actors = pool(1)
    actors.submit(lambda actor, value: actor.fail.remote(value), 1)
    actors.submit(double, 2)
    assert list(actors.map_unordered(double, [3])) == [6]


def test_calls_with_several_returns() -> None:
    def both(actor: Any, value: int) -> Any:
        return actor.pair.options(num_returns=2).remote(value)

    assert list(pool().map(both, [1, 2, 3])) == [[1, -1], [2, -2], [3, -3]]
    assert sorted(pool().map_unordered(both, [1, 2, 3])) == [[1, -1], [2, -2], [3, -3]]


def test_a_dead_actor_is_taken_out_and_the_others_go_on() -> None:
    doomed, other = Doubler.remote(), Doubler.remote()
    actors = ActorPool([doomed, other])
    core.kill(doomed)
    for value in range(4):
        actors.submit(double, value)
    with pytest.raises(core.exceptions.ActorDiedError):
        actors.get_next()
    assert [actors.get_next() for _ in range(3)] == [2, 4, 6]


def test_with_the_last_actor_dead_the_rest_fails_until_another_comes() -> None:
    doomed = Doubler.remote()
    actors = ActorPool([doomed])
    core.kill(doomed)
    for value in (1, 2):
        actors.submit(double, value)
    with pytest.raises(core.exceptions.ActorDiedError, match="killed"):
        actors.get_next()
    with pytest.raises(core.exceptions.ActorDiedError, match="1 submissions were not begun"):
        actors.get_next()
    actors.push(Doubler.remote())
    assert actors.get_next() == 4
