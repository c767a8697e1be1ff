"""`ActorGroup`: fan-out, books, deaths."""

import os
import signal
import threading
from typing import Any

import pytest
from engines import on
from patience import wait_until

from rllib import core
from rllib.core.exceptions import ActorDiedError, TaskError
from rllib.core.util.actor_group import ActorGroup

pytestmark = pytest.mark.usefixtures("engine")


@core.remote(num_cpus=0, max_concurrency=4)
class Runner:
    """Samples at once, or when its gate is opened."""

    def __init__(self, index: int = 0) -> None:
        self.index = index
        self.gate = threading.Event()

    def sample(self, size: int = 1) -> list[int]:
        return [self.index] * size

    def pair(self) -> tuple[int, int]:
        return self.index, -self.index

    def slow(self) -> int:
        self.gate.wait()
        return self.index

    def open(self) -> None:
        self.gate.set()

    def fail(self) -> None:
        if self.index == 1:
            raise LookupError("no env")

    def pid(self) -> int:
        return os.getpid()

    def nothing(self) -> None:
        pass

    def ask(self, other: Any) -> Any:
        return core.get(other.pid.remote())


def make_group(size: int = 3, max_in_flight: int = 2) -> ActorGroup:
    return ActorGroup([Runner.remote(index) for index in range(size)], max_in_flight)


@pytest.fixture
def parallel(engine: str) -> None:
    if engine == "inline":
        pytest.skip("a serial engine knows no slow members and no processes")


# -- synchronous -----------------------------------------------------------------------------------


def test_one_call_asks_all_members() -> None:
    answers = make_group().call("sample", size=2)
    assert answers.values() == [[0, 0], [1, 1], [2, 2]]
    assert [result.member for result in answers.results] == [0, 1, 2]
    assert (answers.deaths, answers.late) == ([], [])


def test_members_have_names_and_can_be_chosen() -> None:
    group = ActorGroup({"a": Runner.remote(1), "b": Runner.remote(2)})
    results = group.call("sample", members=["b"]).results
    assert [(result.member, result.get()) for result in results] == [("b", [2])]
    with pytest.raises(KeyError, match="'c' is no member"):
        group.call("sample", members=["c"])


def test_an_error_of_the_method_is_a_result_and_its_member_stays_healthy() -> None:
    group = make_group()
    answers = group.call("fail")
    assert [result.ok for result in answers.results] == [True, False, True]
    assert isinstance(answers.results[1].error, LookupError)
    with pytest.raises(LookupError, match="no env"):
        answers.values()
    assert group.healthy == [0, 1, 2]


def test_several_returns_are_one_result() -> None:
    group = ActorGroup([Runner.remote(3)])
    actor = group.members[0]
    assert group.call("pair").values() == [(3, -3)]
    first, second = actor.pair.options(num_returns=2).remote()
    assert core.get([first, second]) == [3, -3]


@pytest.mark.usefixtures("parallel")
def test_who_does_not_answer_in_time_is_named_and_holds_room_until_it_has() -> None:
    group = make_group(2, max_in_flight=1)
    core.get(group.members[0].open.remote())
    answers = group.call("slow", timeout=0.5)
    assert [result.member for result in answers.results] == [0]
    assert answers.late == [1]
    assert group.in_flight(1) == 1
    assert group.send("sample") == [0]
    core.get(group.members[1].open.remote())
    wait_until(lambda: group.send("sample") == [1])  # once the late one is over
    assert sorted(result.member for result in group.ready(5, num_returns=2)) == [0, 1]
    assert group.in_flight() == 0


# -- asynchronous ----------------------------------------------------------------------------------


def test_each_member_has_a_bounded_number_of_calls_under_way() -> None:
    group = make_group(2, max_in_flight=2)
    assert group.fill("sample") == 4
    assert group.send("sample") == []
    assert (group.in_flight(), group.in_flight(0), group.in_flight(1)) == (4, 2, 2)
    results = group.ready(num_returns=4)
    assert [result.get() for result in results] == [[0], [1], [0], [1]]
    assert group.in_flight() == 0
    assert group.ready() == []


def test_results_can_be_asked_for_by_tag() -> None:
    group = make_group(2, max_in_flight=3)
    group.send("sample", 1, tag="train")
    group.send("sample", 2, tag="evaluate")
    assert group.in_flight(tag="train") == 2
    assert group.in_flight(0, tag="train") == 1
    evaluated = group.ready(tags=["evaluate"], num_returns=2)
    assert [(r.member, r.tag, r.method, r.get()) for r in evaluated] == [
        (0, "evaluate", "sample", [0, 0]),
        (1, "evaluate", "sample", [1, 1]),
    ]
    assert group.ready(tags=["evaluate"]) == []
    assert [result.tag for result in group.ready(num_returns=2)] == ["train", "train"]


@pytest.mark.usefixtures("parallel")
def test_a_slow_member_does_not_hold_up_the_others() -> None:
    group = make_group(2, max_in_flight=1)
    group.send("slow", members=[0])
    for _ in range(20):
        assert group.send("sample") == [1]
        assert [result.get() for result in group.ready(timeout=10)] == [[1]]
    assert group.ready(timeout=0) == []
    core.get(group.members[0].open.remote())
    assert [result.get() for result in group.ready(timeout=10)] == [0]


def test_what_nothing_tells_the_end_of_is_refused() -> None:
    @core.remote(num_cpus=0)
    class Mute:
        @core.method(num_returns=0)
        def step(self) -> None:
            pass

    with pytest.raises(ValueError, match="num_returns=0"):
        ActorGroup([Mute.remote()]).send("step")


def test_at_least_one_call_is_allowed() -> None:
    with pytest.raises(ValueError, match="max_in_flight"):
        ActorGroup([], max_in_flight=0)


# -- deaths ----------------------------------------------------------------------------------------


def test_a_dead_member_is_told_of_once_and_not_called_again() -> None:
    group = make_group()
    core.kill(group.members[1])
    answers = group.call("sample")
    assert [result.member for result in answers.results] == [0, 2]
    assert [death.member for death in answers.deaths] == [1]
    assert isinstance(answers.deaths[0].error, ActorDiedError)
    assert group.take_deaths() == answers.deaths
    assert group.take_deaths() == []
    assert (group.healthy, list(group.dead), list(group.members)) == ([0, 2], [1], [0, 1, 2])
    again = group.call("sample", members=[0, 1])
    assert ([result.member for result in again.results], again.deaths) == ([0], [])


def test_the_death_of_somebody_whom_a_member_asks_is_not_its_own() -> None:
    group = make_group(1)
    other = Runner.remote()
    core.kill(other)
    (result,), deaths, _ = group.call("ask", other)
    assert isinstance(result.error, ActorDiedError)
    assert isinstance(result.error, TaskError)
    assert (deaths, group.healthy) == ([], [0])


def test_another_actor_takes_the_place_of_a_dead_one() -> None:
    group = make_group(2)
    core.kill(group.members[0])
    group.call("nothing")
    group.add(0, Runner.remote(7))
    assert group.healthy == [0, 1]
    assert group.call("sample").values() == [[7], [1]]
    with pytest.raises(ValueError, match="healthy"):
        group.add(0, Runner.remote(8))


def test_a_dead_member_that_does_not_answer_stays_dead() -> None:
    group = make_group(2)
    core.kill(group.members[0])
    group.call("nothing")
    assert group.probe(timeout=10) == []
    assert list(group.dead) == [0]


def test_members_come_and_go() -> None:
    group = make_group(1)
    group.add("late", Runner.remote(5))
    group.fill("sample")
    actor = group.remove("late")
    assert group.in_flight("late") == 0
    assert [result.member for result in group.ready(num_returns=4)] == [0, 0]
    assert core.get(actor.sample.remote()) == [5]
    with pytest.raises(KeyError):
        group.remove("late")


def test_kill_ends_all_actors() -> None:
    group = make_group(2)
    actors = group.members.values()
    group.kill()
    assert group.members == {}
    for actor in actors:
        with pytest.raises(ActorDiedError):
            core.get(actor.sample.remote(), timeout=10)


@pytest.mark.usefixtures("parallel")
def test_a_member_killed_at_work_wakes_whoever_waits(engine: str) -> None:
    group = make_group(2, max_in_flight=2)
    pid = group.call("pid", members=[0]).values()[0]
    group.fill("slow")
    os.kill(pid, signal.SIGKILL)
    assert group.ready(timeout=10) == []
    (death,) = group.take_deaths()
    assert death.member == 0
    assert on(engine, "SIGKILL", ray="worker process has died") in str(death.error)
    assert (group.in_flight(0), group.in_flight(1)) == (0, 2)
    core.get(group.members[1].open.remote())
    assert [result.get() for result in group.ready(10, num_returns=2)] == [1, 1]


@pytest.mark.usefixtures("parallel")
def test_sampling_goes_on_while_members_die_and_are_replaced() -> None:
    group = make_group(3, max_in_flight=2)
    counts = dict.fromkeys(group.healthy, 0)

    def sample() -> list[Any]:
        group.fill("sample")
        for result in group.ready(timeout=10):
            counts[result.member] += len(result.get())
        return [death.member for death in group.take_deaths()]

    for victim in (2, 0, 1):
        core.kill(group.members[victim])
        wait_until(lambda: victim in sample())  # noqa: B023
        group.add(victim, Runner.remote(victim))
        before = counts[victim]
        wait_until(lambda: sample() or counts[victim] > before)  # noqa: B023
        assert sorted(group.healthy) == [0, 1, 2]
