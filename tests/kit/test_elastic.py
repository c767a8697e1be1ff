"""A checkpoint goes on with other numbers of env runners, environments and learners."""

import numpy as np
import pytest

from rllib import APPOConfig, DQNConfig, IMPALAConfig, SACConfig, core
from rllib.algorithm import Algorithm
from rllib.algorithms.ppo import PPO, PPOConfig
from rllib.preload import PRELOAD
from rllib.replay.replay import Replay

OBSERVATIONS = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)


def config(num_env_runners, num_envs, num_learners):
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(
            num_env_runners=num_env_runners,
            num_envs_per_env_runner=num_envs,
            observation_filter="MeanStdFilter",
        )
        .learners(num_learners=num_learners)
        .training(train_batch_size_per_learner=96, minibatch_size=48, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": [8]})
        .debugging(seed=2)
    )


def greedy(algo):
    return [int(algo.compute_single_action(obs)) for obs in OBSERVATIONS]


@pytest.fixture(scope="module")
def processes():
    with core.init(num_cpus=6, preload=PRELOAD):
        yield


@pytest.mark.parametrize("numbers", [(0, 1, 0), (0, 5, 0), (1, 2, 0), (3, 1, 2)])
def test_greedy_actions_are_the_same_with_other_numbers(processes, tmp_path, numbers):
    with config(2, 3, 1).build_algo() as algo:
        algo.train()
        algo.save_to_path(tmp_path / "saved")
        wanted = greedy(algo), algo.params_hash()
        num_steps = algo.num_env_steps_sampled_lifetime
    with PPO.from_checkpoint(tmp_path / "saved", config(*numbers)) as other:
        assert (greedy(other), other.params_hash()) == wanted
        result = other.train()
        assert result["training_iteration"] == 2
        assert result["num_env_steps_sampled_lifetime"] > num_steps
        assert np.isfinite(result["learners"]["default_policy"]["total_loss"])


def other_algorithm(name, num_envs):
    base = {"IMPALA": IMPALAConfig, "APPO": APPOConfig, "DQN": DQNConfig, "SAC": SACConfig}[name]()
    base.environment("CartPole-v1").env_runners(num_env_runners=0, num_envs_per_env_runner=num_envs)
    base.rl_module(model_config={"fcnet_hiddens": [8]}).learners(num_learners=0)
    if name in ("DQN", "SAC"):
        base.training(n_step=3, num_steps_sampled_before_learning_starts=30)
        return base.reporting(min_sample_timesteps_per_iteration=60)
    return base.env_runners(rollout_fragment_length=20).training(train_batch_size_per_learner=60)


@pytest.mark.parametrize("name", ["IMPALA", "APPO", "DQN", "SAC"])
def test_other_algorithms_go_on_with_other_numbers_too(name, tmp_path, monkeypatch):
    ended = []
    monkeypatch.setattr(Replay, "end_streams", lambda replay, source: ended.append(source))
    with other_algorithm(name, 2).build_algo() as algo:
        algo.train()
        algo.save_to_path(tmp_path / "saved")
        wanted = greedy(algo), algo.params_hash()
    for num_envs in (2, 3):
        assert not ended
        changed = other_algorithm(name, num_envs)
        with Algorithm.from_checkpoint(tmp_path / "saved", changed) as other:
            assert (greedy(other), other.params_hash()) == wanted
            # What was kept of two environments is not gone on with by what three begin.
            assert ended == ([0] if num_envs == 3 and name in ("DQN", "SAC") else [])
            other.train()
