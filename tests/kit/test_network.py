"""What training and calls make of a network between machines that fails for a while."""

import contextlib
import os
import time
from types import SimpleNamespace
from typing import Any

from cluster_actors import actor_on
from networks import Network, network
from patience import patience

from rllib import IMPALAConfig, core

CUT_S = 15.0
SIZE = 2 * 2**20


def two_machines(net: Network, stack: contextlib.ExitStack, **amounts: float) -> Any:
    """A head here, to which this process is a driver, and the other one, which is returned."""
    head = net.node(1, CPU=1.0, **amounts)
    stack.callback(head.stop)
    other = net.node(2, head.running.address, CPU=1.0, **amounts)
    stack.callback(other.stop)
    core.init(address=head.running.address)
    stack.callback(core.shutdown)
    return SimpleNamespace(id=other.running.node)


def config() -> IMPALAConfig:
    return (
        IMPALAConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=2, num_envs_per_env_runner=4, rollout_fragment_length=16)
        .training(train_batch_size_per_learner=128)
        .learners(num_learners=0)
        .rl_module(model_config={"fcnet_hiddens": [16]})
    )


def test_a_network_that_is_cut_for_15_seconds_costs_nothing_but_the_time(capfd: Any) -> None:
    with network(2) as net, contextlib.ExitStack() as stack:
        elsewhere = two_machines(net, stack)
        actor, owner = actor_on(elsewhere), actor_on(elsewhere)
        value = os.urandom(SIZE)
        core.get([actor.add.remote(), owner.node.remote()])
        (made_there,) = core.get(owner.put.remote(value))
        algo = stack.enter_context(config().build_algo())
        algo.train()
        net.cut(2)
        sums, began = [], time.monotonic()
        echo = actor.echo.remote(core.put(value))
        while time.monotonic() - began < CUT_S:
            sums.append(actor.add.remote())
            core.wait([made_there, echo], timeout=0.05)
        net.mend(2)
        assert core.get(sums, timeout=patience(60)) == [*range(2, len(sums) + 2)]
        assert core.get([echo, made_there], timeout=patience(60)) == [value, value]
        results = [algo.train() for _ in range(20)]
        told = capfd.readouterr().err
        assert "has not been heard of" in told
        assert "is gone" not in told
        assert results[-1]["fault_tolerance"]["num_remote_worker_restarts"] == 0


def test_machines_at_addresses_of_their_own_share_the_gradients_of_two_learners() -> None:
    """Nothing but the nodes' addresses leads from one learner to the other."""
    with network(2) as net, contextlib.ExitStack() as stack:
        two_machines(net, stack, board=1.0)
        settings = config().learners(num_learners=2, custom_resources_per_learner={"board": 1})
        with settings.build_algo() as algo:
            for _ in range(3):
                result = algo.train()
            weights = core.get(
                [worker.call("get_module_state") for worker in algo.learner_group.workers]
            )
    assert result["learners"]["default_policy"]["num_gradient_updates_lifetime"] >= 3
    for name, array in weights[0].items():
        assert (array == weights[1][name]).all()
