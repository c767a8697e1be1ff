"""Training on several nodes: learners that are spread over them, and one that is killed."""

import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import pytest

from rllib import IMPALAConfig, PPOConfig, core
from rllib.algorithm import Algorithm
from rllib.algorithms.ppo import PPOLearner
from rllib.core.testing import Cluster
from rllib.core.util import collective
from rllib.envs.make import probe_spaces
from rllib.learning.learner_group import LearnerGroup
from rllib.sampling.env_runner import EnvRunner


def node_of(_runner: object) -> str:
    return core.get_runtime_context().get_node_id()


def places(algo: Algorithm) -> list[str]:
    return sorted(algo.env_runner_group.foreach_env_runner(node_of, local_env_runner=False))


def steps(result: dict[str, object]) -> int:
    done = result["num_env_steps_sampled_lifetime"]
    assert isinstance(done, int)
    return done


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_impala_goes_on_when_one_of_three_nodes_is_killed() -> None:
    config = (
        IMPALAConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=3, num_envs_per_env_runner=4, rollout_fragment_length=16)
        .training(train_batch_size_per_learner=128, lr=1e-3)
        .learners(num_learners=0)
        .rl_module(model_config={"fcnet_hiddens": [16]})
    )
    with Cluster(head={"num_cpus": 1}) as cluster:
        nodes = [cluster.head, cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)]
        core.init(address=cluster.address)
        with config.build_algo() as algo:
            before = steps(algo.train())
            assert places(algo) == sorted(node.id for node in nodes)
            spare = cluster.add_node(num_cpus=1)
            cluster.kill_node(nodes[1])
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                while algo.train()["fault_tolerance"]["num_remote_worker_restarts"] < 1:
                    pass
            assert "is gone" in "".join(str(each.message) for each in told)
            while nodes[1].id in (there := places(algo)) or len(there) < 3:
                algo.train()
            assert sorted(there) == sorted([nodes[0].id, nodes[2].id, spare.id])
            assert steps(algo.train()) > before


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Cluster]:
    """Each has room for one learner."""
    board = {"board": 1.0}
    with Cluster(head={"num_cpus": 1, "resources": board}) as cluster:
        cluster.add_node(num_cpus=1, resources=board)
        core.init(address=cluster.address)
        yield cluster


def state_of(learner: Any) -> tuple[str, Any, set[str]]:
    """Its node, its gradient, and the addresses at which its process listens."""
    gradient = learner.optimizers["default_optimizer"].gradient.numpy().copy()
    ends = psutil.Process(os.getpid()).net_connections("inet")
    listening = {str(end.laddr.ip) for end in ends if end.status == psutil.CONN_LISTEN}
    return node_of(learner), gradient, listening


def test_learners_on_two_nodes_average_to_the_gradient_of_one(two_nodes: Cluster) -> None:
    spaces = probe_spaces("CartPole-v1")
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=4)
        .learners(num_learners=2, custom_resources_per_learner={"board": 1})
        .training(train_batch_size_per_learner=64, minibatch_size=None, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": [16]})
        .debugging(seed=7)
    )
    alone = PPOLearner(config, spaces)
    runner = EnvRunner(config, spaces, 0)
    runner.set_weights(alone.get_weights(), 1)
    (fragment, *_) = runner.sample()
    alone.update(fragment)
    expected = alone.optimizers["default_optimizer"].gradient.numpy()
    group = LearnerGroup(PPOLearner, config, spaces)
    group.fetch_metrics(group.update([fragment]))
    learners = [worker.actor for worker in group.workers]  # type: ignore[attr-defined]
    states = core.get([learner.__ray_call__.remote(state_of) for learner in learners])
    assert {node for node, _, _ in states} == {row["NodeID"] for row in core.nodes()}
    for _, gradient, _ in states:
        np.testing.assert_allclose(gradient, expected, atol=1e-6, rtol=0)
    assert not any(listening for _, _, listening in states)
    group.stop()


class Member:
    def join(self, rank: int, name: str) -> int:
        collective.init_collective_group(2, rank, "gloo", name, timeout_s=60.0)
        ends = psutil.Process(os.getpid()).net_connections("inet")
        return sum(end.status == psutil.CONN_LISTEN for end in ends)


def joined(name: str, *environments: dict[str, str]) -> list[int]:
    kinds = [
        core.remote(resources={"board": 1}, runtime_env={"env_vars": each})(Member)
        for each in environments
    ]
    pair = [kind.remote() for kind in kinds]
    calls = [each.join.remote(rank, name) for rank, each in enumerate(pair)]
    found: list[int] = core.get(calls, timeout=120)
    return found


@pytest.mark.usefixtures("two_nodes")
def test_gloo_talks_over_an_interface_that_all_members_name() -> None:
    named = {"GLOO_SOCKET_IFNAME": "lo"}
    assert min(joined("open", named, named)) > 0
    with pytest.raises(ValueError, match="GLOO_SOCKET_IFNAME is in the environment of the ranks"):
        joined("torn", {}, named)
