"""The engine on Ray, from a driver that comes through Ray Client: what is its own, and training.

What the engines have in common is tried by the tests that take the engine "ray-client".
"""

import asyncio
import importlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import engines
import leaks
import numpy as np
import pytest
from patience import patience

from rllib import core
from rllib.core import exceptions

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.usefixtures("engine"),
    pytest.mark.parametrize("engine", [engines.CLIENT], indirect=True, scope="module"),
]


@pytest.fixture
def disconnected(engine: str) -> None:
    """For the last tests of this module: it takes seconds to connect once more."""
    core.shutdown()


def test_the_driver_is_on_no_node() -> None:
    context = core.get_runtime_context()
    (node,) = core.nodes()
    assert context.get_node_id() == node["NodeID"]
    there = core.get(core.remote(lambda: core.get_runtime_context().get_job_id()).remote())
    assert context.get_job_id() == there
    assert core.api.runtime().labels()["zone"] == "b"


def test_generators_are_refused_here_and_run_there() -> None:
    @core.remote
    def count(n: int) -> Iterator[int]:
        yield from range(n)

    @core.remote
    class Counter:
        def count(self, n: int) -> Iterator[int]:
            yield from range(n)

    @core.remote
    def total(n: int) -> int:
        return sum(core.get(list(count.remote(n))))

    for call in (count, Counter.remote().count):
        with pytest.raises(RuntimeError, match=r"count is a generator.*'ray:auto'"):
            call.remote(3)
    assert core.get(total.remote(4)) == 6


def test_async_actors_and_futures() -> None:
    @core.remote
    class Meeting:
        def __init__(self) -> None:
            self.event = asyncio.Event()

        async def wait(self) -> str:
            await self.event.wait()
            return "met"

        async def come(self) -> None:
            self.event.set()

    async def meet(meeting: Any) -> str:
        waiting = meeting.wait.remote()
        await meeting.come.remote()
        answer: str = await waiting
        return answer

    assert asyncio.run(meet(Meeting.remote())) == "met"


def test_calls_are_retried_for_errors_of_the_drivers_own() -> None:
    class Transient(Exception):
        pass

    @core.remote
    class Tries:
        def __init__(self) -> None:
            self.count = 0

        def next(self) -> int:
            self.count += 1
            return self.count

    @core.remote(max_retries=3, retry_exceptions=[Transient])
    def flaky(tries: Any) -> int:
        count = core.get(tries.next.remote())
        if count < 3:
            raise Transient
        return int(count)

    assert core.get(flaky.remote(Tries.remote()), timeout=60) == 3


def test_a_call_is_cancelled() -> None:
    blocker = core.remote(num_cpus=2)(lambda: __import__("time").sleep(600))
    running, queued = blocker.remote(), blocker.remote()
    core.cancel(queued)
    with pytest.raises(exceptions.TaskCancelledError):
        core.get(queued, timeout=30)
    core.cancel(running, force=True)
    with pytest.raises(exceptions.CoreError):
        core.get(running, timeout=30)


def test_placement_groups() -> None:
    @core.remote(num_cpus=1)
    class Placed:
        def group(self) -> str | None:
            return core.get_runtime_context().get_placement_group_id()

    group = core.util.placement_group([{"CPU": 1}, {"CPU": 1}], strategy="PACK")
    core.get(group.ready(), timeout=60)
    strategy = core.util.scheduling_strategies.PlacementGroupSchedulingStrategy(group, 1)
    placed = Placed.options(scheduling_strategy=strategy).remote()
    assert core.get(placed.group.remote(), timeout=60) == group.id.hex()
    core.util.remove_placement_group(group)
    with pytest.raises(exceptions.ActorDiedError):
        core.get(placed.group.remote(), timeout=60)


def test_detached_actors_outlive_the_driver(disconnected: None) -> None:
    @core.remote
    class Memory:
        def __init__(self) -> None:
            self.kept = [core.put(np.ones(100_000))]

        def look(self) -> list[Any]:
            return self.kept

    engines.start(engines.CLIENT, namespace="shared")
    core.get(Memory.options(name="memory", lifetime="detached").remote().look.remote())
    core.shutdown()
    engines.start(engines.CLIENT, namespace="shared")
    memory = core.get_actor("memory")
    (kept,) = core.get(memory.look.remote())
    assert core.get(kept).sum() == 100_000
    core.kill(memory)
    core.shutdown()


def test_what_cannot_be_asked_of_the_cluster_is_refused(disconnected: None) -> None:
    with pytest.raises(ValueError, match=r"num_cpus, labels.*`ray start`"):
        core.init(address=engines.address(engines.CLIENT), num_cpus=1, labels={"a": "b"})


def test_a_port_where_no_ray_client_server_is(
    disconnected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = importlib.import_module("ray.util.client.worker")
    for name in ("INITIAL_TIMEOUT_SEC", "MAX_TIMEOUT_SEC"):
        monkeypatch.setattr(worker, name, 0.1)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            leaks.ray_at_work(),  # it does not close what it could not use
            pytest.warns(UserWarning, match="timed out"),
            pytest.raises(ConnectionError, match=f"{port} does not answer.*RAY_AUTH_MODE"),
        ):
            core.init(address=f"ray://127.0.0.1:{port}")
    assert not importlib.import_module("ray").is_initialized()


def test_another_version_of_ray_is_refused_in_its_own_words(
    disconnected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = importlib.import_module("ray.util.client.worker").Worker
    old = {"num_clients": 1, "python_version": "3.9.1", "ray_version": "2.0.0", "ray_commit": "x"}
    monkeypatch.setattr(worker, "connection_info", lambda _self: old)
    with pytest.raises(RuntimeError, match=r"(?s)Version mismatch.*2\.0\.0"):
        core.init(address=engines.address(engines.CLIENT))
    assert not core.is_initialized()


def test_a_config_trains_with_one_changed_flag(disconnected: None, tmp_path: Path) -> None:
    """IMPALA: env runners and a learner that are actors, and weights that are objects."""
    small = ["num_env_runners=1", "num_learners=1", "--stop", "training_iteration=2"]
    for flag in (engines.address(engines.CLIENT), "native"):
        train = ["train", "--config", "impala_cartpole", "--address", flag, *small, "--name", "run"]
        done = subprocess.run(
            [sys.executable, "-m", "rllib", *train, "--fresh"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=patience(60),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        *_, last = (tmp_path / "runs" / "run" / "progress.jsonl").read_text().splitlines()
        assert json.loads(last)["training_iteration"] == 2
