"""What runs for a driver tells that driver's job, wherever it runs."""

import json
import subprocess
import sys

from cluster_actors import Counter, actor_on, on

from rllib import core
from rllib.core.testing import Cluster, Node

SECOND_DRIVER = """
import json, sys
from rllib import core

@core.remote
def job():
    return core.get_runtime_context().get_job_id()

core.init(address=sys.argv[1], namespace="jobs")
found = [core.get_runtime_context().get_job_id(), *core.get([job.remote() for _ in range(4)])]
print(json.dumps(found))
core.shutdown()
"""


def job() -> str:
    return core.get_runtime_context().get_job_id()


@core.remote
def jobs_below() -> list[str]:
    """Of this task, and of one that it calls."""
    return [job(), core.get(core.remote(job).remote())]


def jobs_on(node: Node) -> set[str]:
    """As a task, what it calls, an actor, and one that has restarted tell it."""
    at = on(node)
    actor = actor_on(node)
    restarted = actor_on(node, max_restarts=1, max_task_retries=-1)
    pid = core.get(restarted.pid.remote())
    core.kill(restarted, no_restart=False)
    assert core.get(restarted.pid.remote()) != pid
    actors = [each.__ray_call__.remote(lambda _: job()) for each in (actor, restarted)]
    return {*core.get(jobs_below.options(scheduling_strategy=at).remote()), *core.get(actors)}


def test_tasks_and_actors_of_a_driver_tell_its_job_also_detached_ones() -> None:
    with Cluster(head={"num_cpus": 2}) as cluster:
        other = cluster.add_node(num_cpus=2)
        core.init(address=cluster.address, namespace="jobs")
        for node in (cluster.head, other):
            assert jobs_on(node) == {job()}
        kept = Counter.options(name="kept", lifetime="detached", num_cpus=0).remote()
        assert core.get(kept.__ray_call__.remote(lambda _: job())) == job()
        second, *of_tasks = in_second_driver(cluster.address)
        assert set(of_tasks) == {second}, "a worker was left over from the driver before"
        assert second != job()
        first = job()
        core.shutdown()
        core.init(address=cluster.address, namespace="jobs")
        assert job() not in (first, second)
        found = core.get_actor("kept")
        assert core.get(found.__ray_call__.remote(lambda _: job())) == first


def in_second_driver(address: str) -> list[str]:
    """The job ids that it and its tasks tell."""
    done = subprocess.run(
        [sys.executable, "-c", SECOND_DRIVER, address], check=True, capture_output=True, text=True
    )
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_on_one_node_all_tell_the_drivers_job() -> None:
    with core.init(num_cpus=2):
        assert core.get(jobs_below.remote()) == [job()] * 2
