"""Several nodes, of which some end."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from cluster_actors import Counter, actor_on, sleep_for_ever, where
from patience import SOON_S, freeze, wait_until

from rllib import core
from rllib.core import api
from rllib.core.cluster.credentials import ClusterError
from rllib.core.exceptions import ActorDiedError, NodeDiedError, ObjectLostError
from rllib.core.native.engine import NativeRuntime
from rllib.core.native.session import base_directory
from rllib.core.native.values import SHARED_BYTES
from rllib.core.testing import Cluster
from rllib.core.util.scheduling_strategies import NodeAffinitySchedulingStrategy


def test_a_killed_node_is_noticed_and_actors_restart_elsewhere() -> None:
    with Cluster(head={"num_cpus": 2}) as cluster:
        node = cluster.add_node(num_cpus=2)
        core.init(address=cluster.address)
        soft = NodeAffinitySchedulingStrategy(node.id, soft=True)
        again = Counter.options(max_restarts=1, max_task_retries=1, scheduling_strategy=soft)
        again, once = again.remote(), actor_on(node)
        assert core.get([again.node.remote(), once.node.remote()]) == [node.id] * 2
        (ref,) = core.get(once.put.remote(bytes(SHARED_BYTES)))
        workers = psutil.Process(node.pid).children(recursive=True)
        cluster.kill_node(node)
        with pytest.raises(ActorDiedError, match="is gone"):
            core.get(once.add.remote(), timeout=5)
        assert core.get(again.node.remote(), timeout=20) == cluster.head.id
        with pytest.raises(ObjectLostError):
            core.get(ref, timeout=5)
        wait_until(lambda: [row["Alive"] for row in core.nodes()] == [True, False])
        assert "is gone" in core.nodes()[1]["DeathReasonMessage"]
        assert not psutil.wait_procs(workers, timeout=10)[1]


def test_who_kills_an_actor_hears_no_more_of_it_even_before_the_node_acts() -> None:
    with Cluster(head={"num_cpus": 2}) as cluster:
        core.init(address=cluster.address)
        killed, other = Counter.remote(), Counter.remote()
        core.get([killed.add.remote(), other.add.remote()])
        freeze(cluster.head.pid)
        core.kill(killed)
        late = killed.add.remote()
        assert core.get(other.add.remote(), timeout=SOON_S) == 2  # the way of calls is open
        assert core.wait([late], timeout=0.2) == ([], [late])
        psutil.Process(cluster.head.pid).resume()
        with pytest.raises(ActorDiedError, match=r"killed by kill\(\)"):
            core.get(late, timeout=SOON_S)


def test_tasks_of_a_killed_node_run_again() -> None:
    with Cluster(head={"num_cpus": 0}) as cluster:
        first = cluster.add_node(num_cpus=1)
        core.init(address=cluster.address)
        ref = where.options(max_retries=1).remote()
        assert core.get(ref) == first.id
        waiting = sleep_for_ever.options(max_retries=0).remote()
        again = where.remote()
        core.wait([waiting], timeout=0.3)
        second = cluster.add_node(num_cpus=1)
        cluster.kill_node(first)
        with pytest.raises(core.exceptions.WorkerCrashedError, match="is gone"):
            core.get(waiting, timeout=5)
        assert core.get(again, timeout=20) == second.id


def test_the_environment_of_a_driver_outlives_it_with_its_detached_actors(tmp_path: Path) -> None:
    @core.remote(name="reader", lifetime="detached", max_restarts=-1, max_task_retries=-1)
    class Reader:
        def read(self) -> tuple[str, str]:
            return Path("data.txt").read_text(), core.get_runtime_context().get_node_id()

    (tmp_path / "data.txt").write_text("of the job")
    with Cluster(head={"num_cpus": 0}) as cluster:
        first = cluster.add_node()
        environment = {"working_dir": str(tmp_path)}
        core.init(address=cluster.address, namespace="n", runtime_env=environment)
        shutil.rmtree(tmp_path)
        reader = Reader.remote()
        assert core.get(reader.read.remote(), timeout=SOON_S) == ("of the job", first.id)
        del reader
        core.shutdown()
        second = cluster.add_node()
        cluster.kill_node(first)
        core.init(address=cluster.address, namespace="n")
        again = core.get_actor("reader").read.remote()
        assert core.get(again, timeout=2 * SOON_S) == ("of the job", second.id)


def test_without_a_head_drivers_hear_of_it_and_nodes_end() -> None:
    with Cluster(head={"num_cpus": 1}) as cluster:
        node = cluster.add_node(num_cpus=1)
        core.init(address=cluster.address)
        actor = actor_on(node)
        assert core.get(actor.add.remote()) == 1
        service = psutil.Process(node.pid)
        left = [service, *service.children(recursive=True)]
        waiting = actor.echo.remote(sleep_for_ever.remote())
        cluster.kill_node(cluster.head)
        with pytest.raises((NodeDiedError, ActorDiedError)):
            core.get(waiting, timeout=10)
        with pytest.raises(NodeDiedError, match="init"):
            core.get(actor.add.remote(), timeout=10)
        assert not psutil.wait_procs(left, timeout=30)[1]


def test_a_call_whose_process_ended_before_the_node_could_say_so_is_answered() -> None:
    with Cluster(head={"num_cpus": 1}) as cluster, ThreadPoolExecutor(1) as pool:
        core.init(address=cluster.address)
        actor = actor_on(cluster.head)
        worker = psutil.Process(core.get(actor.pid.remote()))
        waiting = pool.submit(core.get, actor.sleep.remote(), timeout=60)
        runtime = api.runtime()
        assert isinstance(runtime, NativeRuntime)
        freeze(cluster.head.pid)  # so that it says nothing more
        worker.kill()
        wait_until(lambda: not runtime.peers.living())
        cluster.kill_node(cluster.head)
        with pytest.raises(NodeDiedError):
            waiting.result(timeout=30)


def test_a_driver_that_leaves_takes_what_is_its_own_and_leaves_the_rest() -> None:
    with Cluster(head={"num_cpus": 2}) as cluster:
        core.init(address=cluster.address, namespace="shared")
        own = Counter.options(name="own").remote()
        stays = Counter.options(name="stays", lifetime="detached").remote(10)
        assert core.get([own.add.remote(), stays.add.remote()]) == [1, 11]
        core.shutdown()
        core.init(address=cluster.address, namespace="shared")
        assert core.get(core.get_actor("stays").add.remote()) == 12
        with pytest.raises(ValueError, match="own"):
            core.get_actor("own")


def test_who_cannot_be_a_driver_hears_why(home: Path) -> None:
    with pytest.raises(ClusterError, match="HOST:PORT"):
        core.init(address="nowhere:at:all")
    with Cluster(head={"num_cpus": 1}) as cluster:
        with pytest.raises(ValueError, match="labels"):
            core.init(address=cluster.address, labels={"a": "b"})
        with pytest.raises(ClusterError, match="already"):
            core.init(address=cluster.address, num_cpus=3)
    token = home / "token"
    kept = token.read_text()
    token.write_text("another-token-of-some-length")
    with Cluster(head={"num_cpus": 1}) as cluster:
        token.write_text(kept)
        with pytest.raises(ClusterError, match="token"):
            cluster.add_node()


def test_nothing_stays_in_the_folder_of_sessions() -> None:
    with Cluster() as cluster:
        cluster.kill_node(cluster.add_node())
    wait_until(lambda: not list(base_directory().iterdir()))
