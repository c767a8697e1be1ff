"""Memory that runs out while training: who has to go, what is said, and that it goes on."""

import os

import pytest

from rllib import core
from rllib.algorithms.ppo import PPOConfig
from rllib.core.native import memory_monitor
from rllib.core.native.memory_monitor import Usage
from rllib.preload import PRELOAD

GIB = 2**30


def config():
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=2, num_envs_per_env_runner=2)
        .learners(num_learners=1)
        .training(train_batch_size_per_learner=96, minibatch_size=48, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": [8]})
    )


def train_until_restarted(algo):
    while not algo.train()["fault_tolerance"]["num_remote_worker_restarts"]:
        pass


def test_memory_that_runs_out_costs_the_newest_env_runner(monkeypatch):
    """The reading is high until one was ended."""
    readings = [Usage(1 * GIB, 10 * GIB)]
    monkeypatch.setattr(memory_monitor, "memory_usage", lambda: readings[0])
    real = memory_monitor.MemoryMonitor.__init__

    def once(self, settings, relieve):
        def relieve_once(usage):
            done = relieve(usage)
            if done:
                readings[0] = Usage(1 * GIB, 10 * GIB)
            return done

        real(self, settings, relieve_once)

    monkeypatch.setattr(memory_monitor.MemoryMonitor, "__init__", once)
    settings = {"memory_monitor_refresh_ms": 10}
    with (
        core.init(num_cpus=4, preload=PRELOAD, _system_config=settings),
        config().build_algo() as algo,
    ):
        algo.train()
        pids = algo.env_runner_group.foreach_env_runner(lambda runner: os.getpid())
        readings[0] = Usage(99 * GIB // 10, 10 * GIB)
        with pytest.warns(RuntimeWarning, match=r"9\.90 of 10\.00 GiB were in use") as told:
            train_until_restarted(algo)
        assert "EnvRunner" in str(told[0].message)
        now = algo.env_runner_group.foreach_env_runner(lambda runner: os.getpid())
        assert pids[0] in now
        assert pids[1] not in now
