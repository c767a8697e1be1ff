"""Identifiers, and what the package says of names that it does not have."""

import pickle
import threading
from typing import Any

import pytest

from rllib import core


def test_ids_are_values() -> None:
    made = core.ActorID.from_random()
    assert core.ActorID.from_hex(made.hex()) == made
    assert pickle.loads(pickle.dumps(made)) == made
    assert len({made, core.ActorID(made.binary())}) == 1
    assert made != core.WorkerID(made.binary())
    assert made.size() == len(made.binary()) == 16
    assert core.TaskID.nil().is_nil()
    assert not made.is_nil()
    with pytest.raises(ValueError, match="JobID has 4 bytes, got 3"):
        core.JobID(b"abc")


def test_names_that_only_ray_has_say_so() -> None:
    with pytest.raises(AttributeError, match=r"core.Language is not supported: .*Python"):
        core.Language  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        core.nonsense  # noqa: B018


def test_an_actors_id_is_what_its_context_tells() -> None:
    @core.remote
    class Actor:
        def own_id(self) -> str | None:
            return core.get_runtime_context().get_actor_id()

    with core.init(address="inline"):
        actor = Actor.remote()
        assert core.get(actor.own_id.remote()) == actor._actor_id.hex()


@pytest.fixture(params=["inline", "local"])
def address(request: pytest.FixtureRequest) -> Any:
    with core.init(address=request.param, num_cpus=2):
        yield request.param


def my_task() -> str:
    found = core.get_runtime_context().get_task_id()
    assert found is not None
    return found


@core.remote
def told() -> str:
    return my_task()


@core.remote
def met(party: Any) -> str:
    """The id of a task that runs while another one does."""
    core.get(party.come.remote())
    return my_task()


@core.remote(max_concurrency=3)
class Party:
    def __init__(self) -> None:
        self.barrier = threading.Barrier(2)

    def come(self) -> None:
        self.barrier.wait(20)

    def told(self) -> str:
        return my_task()


@pytest.mark.usefixtures("address")
def test_a_reference_knows_the_call_that_made_it() -> None:
    actor = Party.remote()
    refs = [told.remote(), told.remote(), actor.told.remote()]
    assert [ref.task_id().hex() for ref in refs] == core.get(refs)
    assert len(set(core.get(refs))) == 3
    assert refs[0].job_id().hex() == core.get_runtime_context().get_job_id()
    assert not refs[0].is_nil()


@pytest.mark.usefixtures("address")
def test_all_results_of_a_call_have_its_id() -> None:
    @core.remote(num_returns=3)
    def three() -> list[str]:
        return [my_task()] * 3

    @core.remote
    def stream() -> Any:
        yield from [my_task()] * 3

    for refs in (three.remote(), list(stream.remote())):
        assert [ref.task_id().hex() for ref in refs] == core.get(refs)
        assert len(set(refs)) == 3


@pytest.mark.usefixtures("address")
def test_a_reference_keeps_its_call_on_the_way_to_others() -> None:
    @core.remote(num_returns=2)
    def two() -> tuple[str, str]:
        return my_task(), my_task()

    @core.remote
    def task_of(refs: list[Any]) -> str:
        return str(refs[0].task_id().hex())

    second = two.remote()[1]
    assert core.get([task_of.remote([second]), second])[0] == core.get(second)


def test_calls_of_one_process_that_two_workers_run_have_different_ids() -> None:
    with core.init(num_cpus=2):
        party = Party.remote()
        first, second = core.get([met.remote(party), met.remote(party)])
        assert first != second


def test_a_reference_that_outlives_its_runtime_belongs_to_no_job() -> None:
    with core.init(address="inline"):
        ref = core.put(1)
    assert ref.job_id().is_nil()
