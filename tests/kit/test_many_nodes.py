"""Training on several nodes, one of which is killed."""

import warnings

import pytest

from rllib import IMPALAConfig, core
from rllib.algorithm import Algorithm
from rllib.core.testing import Cluster


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
