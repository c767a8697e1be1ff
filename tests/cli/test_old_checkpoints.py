"""Checkpoints of every format version that there ever was are read, and runs go on from them.

``python tests/cli/test_old_checkpoints.py`` writes that of a new version, once, when it comes.
"""

from pathlib import Path

import numpy as np
import pytest

from rllib.algorithms.ppo import PPO, PPOConfig
from rllib.checkpoints.checkpoint import VERSION, load

OLD = Path(__file__).with_name("old_checkpoints")


def config() -> PPOConfig:
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2)
        .env_runners(observation_filter="MeanStdFilter")
        .training(train_batch_size_per_learner=32, minibatch_size=16, num_epochs=1, lr=1e-2)
        .rl_module(model_config={"fcnet_hiddens": [4]})
        .debugging(seed=1)
    )


def of_version(version: int) -> Path:
    return OLD / f"version_{version}"


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_a_run_goes_on_from_it(version: int) -> None:
    _, metadata = load(of_version(version))
    with PPO.from_checkpoint(of_version(version)) as algo:
        assert algo.params_hash() == metadata["params_hash"]
        assert algo.iteration == metadata["training_iteration"] == 2
        result = algo.train()
        assert result["training_iteration"] == 3
        assert result["num_env_steps_sampled_lifetime"] > 64
        assert all(
            np.isfinite(each).all() for each in algo.get_weights()["default_policy"].values()
        )


def test_nothing_is_there_that_nobody_reads() -> None:
    assert {path.name for path in OLD.iterdir()} == {f"version_{v}" for v in range(1, VERSION + 1)}


if __name__ == "__main__":
    with config().build_algo() as made:
        made.train()
        made.train()
        made.save_to_path(of_version(VERSION))
