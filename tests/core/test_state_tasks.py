"""What lists and summaries say of tasks and objects: the processes that know of them are asked."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from patience import freeze, wait_until

from rllib import core
from rllib.core.util import state

NOBODY = "ff" * 24


@pytest.fixture
def native() -> Iterator[None]:
    with core.init(num_cpus=2):
        yield


def remote_gate() -> Any:
    @core.remote
    class Gate:
        """Methods that last until `open` is called."""

        def __init__(self) -> None:
            import asyncio

            self._opened = asyncio.Event()

        async def through(self, *_args: Any) -> int:
            await self._opened.wait()
            return os.getpid()

        async def open(self) -> None:
            self._opened.set()

    return Gate


def remote_pass() -> Any:
    @core.remote
    def passes(gate: Any, *_args: Any) -> int:
        return int(core.get(gate.through.remote()))

    return passes


def states_by_name() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in state.list_tasks():
        found.setdefault(row.name, []).append(row.state)
    return {name: sorted(states) for name, states in found.items()}


@pytest.mark.usefixtures("native")
def test_every_stage_of_a_task() -> None:
    gate, passes = remote_gate().remote(), remote_pass()
    running = passes.options(name="first", num_cpus=2).remote(gate)
    wait_until(lambda: states_by_name().get("Gate.through") == ["RUNNING"])
    waits = passes.options(name="too large", num_cpus=99).remote(gate)
    needs = passes.options(name="needs").remote(gate, running)
    assert states_by_name() == {
        "first": ["RUNNING"],
        "too large": ["PENDING_NODE_ASSIGNMENT"],
        "needs": ["PENDING_ARGS_AVAIL"],
        "Gate.through": ["RUNNING"],
    }
    row, inner = state.get_task(running), state.list_tasks(filters=[("type", "=", "ACTOR_TASK")])[0]
    assert row is not None
    assert (row.task_id, row.parent_task_id) == (running.task_id().hex(), NOBODY)
    assert (row.func_or_class_name, row.type) == ("passes", "NORMAL_TASK")
    assert row.required_resources == {"CPU": 2.0}
    assert (inner.parent_task_id, inner.actor_id) == (row.task_id, gate._actor_id.hex())
    assert inner.worker_pid != row.worker_pid
    assert row.worker_id in [each.worker_id for each in state.list_workers()]
    summary = state.summarize_tasks()["cluster"]
    assert (summary["total_tasks"], summary["total_actor_tasks"]) == (3, 1)
    assert summary["summary"]["first"]["state_counts"] == {"RUNNING": 1}
    core.cancel(waits)
    gate.open.remote()
    assert core.get(running) == core.get(needs) == inner.worker_pid
    wait_until(lambda: not state.list_tasks())


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("kind", ["threads", "loop"])
def test_what_has_arrived_and_has_not_begun(kind: str) -> None:
    @core.remote
    class Threads:
        def through(self, gate: Any) -> None:
            core.get(gate.through.remote())

    gate = remote_gate().remote()
    make = Threads if kind == "threads" else remote_gate()
    actor = make.options(max_concurrency=2).remote()
    refs = [actor.through.options(name="mine").remote(gate) for _ in range(3)]
    wants = ["PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY", "RUNNING", "RUNNING"]
    wait_until(lambda: states_by_name().get("mine") == wants)
    assert len(refs) == 3


@pytest.mark.usefixtures("native")
def test_objects_are_listed_where_they_are() -> None:
    @core.remote
    class Holder:
        def hold(self, refs: list[Any]) -> int:
            self.refs = refs
            return os.getpid()

    gate, holder = remote_gate().remote(), Holder.remote()
    small, large = core.put(b"x" * 100), core.put(b"y" * 100_000)
    late = gate.through.remote()
    waits = gate.through.remote(late)
    pid = core.get(holder.hold.remote([large]))
    rows = {row.object_id: row for row in state.list_objects(filters=[("pid", "=", os.getpid())])}
    assert 100 < rows[small.hex()].object_size < 200
    assert 100_000 < rows[large.hex()].object_size < 101_000
    assert rows[late.hex()].object_size == -1
    assert rows[small.hex()].task_status == "FINISHED"
    assert rows[late.hex()].task_status == "SUBMITTED_TO_WORKER"
    kinds = [rows[ref.hex()].reference_type for ref in (small, large, late, waits)]
    assert kinds == ["LOCAL_REFERENCE", "PINNED_IN_MEMORY", "USED_BY_PENDING_TASK", kinds[3]]
    assert "ACTOR_HANDLE" in [row.reference_type for row in rows.values()]
    owner, borrower = sorted(state.get_objects(large.hex()), key=lambda row: row.type)
    assert (owner.pid, owner.type, borrower.pid, borrower.type) == (
        os.getpid(),
        "DRIVER",
        pid,
        "WORKER",
    )
    assert borrower.task_status == "NIL"
    summary = state.summarize_objects()["cluster"]
    assert summary["total_objects"] == len(state.list_objects())
    assert 0.09 < summary["total_size_mb"] < 0.3
    number = small.hex()
    del small, rows
    assert state.get_objects(number) == []


@pytest.mark.usefixtures("native")
def test_who_is_silent_is_named_and_the_dead_are_not_waited_for() -> None:
    pid = core.get(core.remote(os.getpid).remote())
    freeze(pid)
    with pytest.raises(state.StateApiException, match=f"process {pid} did not answer"):
        state.list_tasks(timeout=0.1)
    assert state.list_tasks(timeout=0.1, raise_on_missing_output=False) == []
    os.kill(pid, signal.SIGKILL)
    assert pid not in [row.pid for row in state.list_objects()]


@pytest.mark.usefixtures("native")
def test_too_many_rows_are_not_passed_over_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rllib.core.native.accounts.MAX_ROWS", 2)
    refs = [core.put(number) for number in range(3)]
    with pytest.raises(state.StateApiException, match="told only of 2 of its 3 rows"):
        state.list_objects()
    assert len(state.list_objects(raise_on_missing_output=False)) == 2
    assert len(refs) == 3


@pytest.mark.parametrize("address", ["inline", "local"])
def test_tasks_that_have_ended_are_listed_where_they_are_recorded(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLLIB_PROFILING", "1")

    @core.remote
    def fails() -> None:
        raise ValueError

    with core.init(address=address, num_cpus=1):
        ref = fails.remote()
        with pytest.raises(ValueError):
            core.get(ref)
        (row,) = state.list_tasks()
        assert row == state.get_task(ref)
        assert (row.name, row.state, row.type) == ("fails", "FAILED", "NORMAL_TASK")
        assert row.start_time_ms is not None
        assert row.end_time_ms is not None
        assert 0 <= row.end_time_ms - row.start_time_ms < 10_000


@pytest.mark.parametrize("address", ["inline", "local"])
def test_a_task_finds_itself(address: str) -> None:
    @core.remote
    def me_and_others() -> tuple[str | None, list[state.TaskState]]:
        return core.get_runtime_context().get_task_id(), state.list_tasks()

    with core.init(address=address, num_cpus=1):
        ref = me_and_others.options(num_cpus=1).remote()
        mine, (row,) = core.get(ref)
        assert row.task_id == mine == ref.task_id().hex()
        assert (row.state, row.name, row.parent_task_id) == ("RUNNING", "me_and_others", NOBODY)
        assert ref.hex() in [each.object_id for each in state.list_objects()]
        (job,) = state.list_jobs()
        assert job == state.get_job(row.job_id)
        assert (job.status, job.job_id) == ("RUNNING", core.get_runtime_context().get_job_id())
