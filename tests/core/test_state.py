"""What lists and summaries say of actors, processes, machines and placement groups."""

import os
from typing import Any

import pytest
from patience import wait_until

from rllib import core
from rllib.core.util import placement_group, remove_placement_group, state


@pytest.fixture(params=["inline", "local"])
def address(request: pytest.FixtureRequest) -> Any:
    with core.init(address=request.param, num_cpus=2, namespace="here"):
        yield request.param


def remote_actor() -> Any:
    @core.remote
    class Lamp:
        def pid(self) -> int:
            return os.getpid()

        def fails(self) -> None:
            os._exit(3)

    return Lamp


@pytest.mark.usefixtures("address")
def test_an_actor_is_listed_with_what_is_known_of_it() -> None:
    lamp = remote_actor().options(name="hall", num_cpus=1).remote()
    pid = core.get(lamp.pid.remote())
    (row,) = state.list_actors(filters=[("state", "=", "alive")])
    assert row == state.get_actor(lamp._actor_id.hex())
    assert (row.class_name, row.name, row.ray_namespace) == ("Lamp", "hall", "here")
    assert (row.pid, row["pid"], row.get("colour", "red")) == (pid, pid, "red")
    assert row.required_resources == {"CPU": 1.0}
    assert (row.death_cause, row.placement_group_id, row.is_detached) == (None, None, False)
    assert row.node_id == core.get_runtime_context().get_node_id()
    assert row.job_id == core.get_runtime_context().get_job_id()


@pytest.mark.usefixtures("address")
def test_the_dead_are_listed_with_their_cause() -> None:
    make = remote_actor()
    living, dead = make.remote(), make.remote()
    core.get([living.pid.remote(), dead.pid.remote()])
    core.kill(dead)
    (row,) = state.list_actors(filters=[("state", "!=", "ALIVE")])
    assert (row.actor_id, row.state, row.pid) == (dead._actor_id.hex(), "DEAD", 0)
    assert "kill" in str(row.death_cause)
    summary = state.summarize_actors()["cluster"]
    assert summary["summary"]["Lamp"]["state_counts"] == {"ALIVE": 1, "DEAD": 1}
    assert summary["total_actors"] == 2
    assert len(state.list_actors(limit=1)) == 1


def test_an_actor_waits_is_restarted_and_dies() -> None:
    with core.init(num_cpus=1):
        make = remote_actor()
        first = make.options(num_cpus=1, max_restarts=1).remote()
        core.get(first.pid.remote())
        second = make.options(num_cpus=1).remote()

        def row(actor: Any) -> state.ActorState:
            found = state.get_actor(actor._actor_id.hex())
            assert found is not None
            return found

        assert (row(second).state, row(second).pid) == ("PENDING_CREATION", 0)
        pid = row(first).pid
        first.fails.remote()
        wait_until(lambda: row(first).num_restarts == 1)
        assert row(first).state in ("RESTARTING", "PENDING_CREATION", "ALIVE")
        core.kill(second)
        wait_until(lambda: row(first).state == "ALIVE")
        assert row(first).pid not in (0, pid)
        first.fails.remote()
        wait_until(lambda: row(first).state == "DEAD")
        assert "code 3" in str(row(first).death_cause)


def test_processes_are_listed_first_the_driver(address: str) -> None:
    lamp = remote_actor().remote()
    pid = core.get(lamp.pid.remote())
    driver, *workers = state.list_workers()
    assert (driver.worker_type, driver.pid, driver.is_alive) == ("DRIVER", os.getpid(), True)
    assert driver == state.get_worker(core.get_runtime_context().get_worker_id())
    assert (pid in [worker.pid for worker in workers]) == (address == "local")
    assert {worker.worker_type for worker in workers} <= {"WORKER"}


@pytest.mark.usefixtures("address")
def test_machines_and_groups_are_listed() -> None:
    (node,) = state.list_nodes()
    assert node == state.get_node(node.node_id)
    assert (node.state, node.is_head_node) == ("ALIVE", True)
    assert node.resources_total["CPU"] == 2
    group = placement_group([{"CPU": 1}], name="pair")
    core.get(group.ready())
    (row,) = state.list_placement_groups(filters=[("name", "=", "pair")])
    assert row == state.get_placement_group(group.id.hex())
    assert (row.state, row.bundles, row.strategy) == ("CREATED", [{"CPU": 1.0}], "PACK")
    remove_placement_group(group)
    assert [each.state for each in state.list_placement_groups()] == ["REMOVED"]


@pytest.mark.usefixtures("address")
def test_what_cannot_be_asked_names_what_can() -> None:
    with pytest.raises(ValueError, match=r"no field 'colour'.*class_name"):
        state.list_actors(filters=[("colour", "=", "red")])
    with pytest.raises(ValueError, match="'=' or '!=', got '<'"):
        state.list_actors(filters=[("pid", "<", 3)])
    with pytest.raises(ValueError, match="limit must be at least 1"):
        state.list_actors(limit=0)
    assert state.get_actor("00") is None


def test_workers_can_ask_as_well() -> None:
    @core.remote
    def driver_pid() -> int:
        return state.list_workers()[0].pid

    with core.init(num_cpus=1):
        assert core.get(driver_pid.remote()) == os.getpid()
