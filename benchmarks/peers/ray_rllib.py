"""RLlib on Ray, in its own environment; see the package's text."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.rllib.algorithms.appo import APPOConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

SMALL = DefaultModelConfig(fcnet_hiddens=[64, 64], fcnet_activation="tanh", vf_share_layers=False)


def ppo_cartpole() -> Any:
    """As our row."""
    config = PPOConfig().environment("CartPole-v1")
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=16)
    config.training(lr=2.5e-4, train_batch_size_per_learner=2048, minibatch_size=512, num_epochs=4)
    return config.rl_module(model_config=SMALL)


def ppo_halfcheetah() -> Any:
    """As our row."""
    config = PPOConfig().environment("HalfCheetah-v5")
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=8)
    config.training(lr=3e-4, train_batch_size_per_learner=2048, minibatch_size=256, num_epochs=10)
    return config.rl_module(model_config=SMALL)


def appo_cartpole() -> Any:
    """As our row."""
    config = APPOConfig().environment("CartPole-v1")
    config.env_runners(num_env_runners=2, num_envs_per_env_runner=16)
    config.training(lr=2e-3, train_batch_size_per_learner=512)
    return config.rl_module(model_config=SMALL)


ROWS: dict[str, Callable[[], Any]] = {
    each.__name__: each for each in (ppo_cartpole, ppo_halfcheetah, appo_cartpole)
}


def main(row: str, seconds: float) -> None:
    """Train a row and print what came of it."""
    if row not in ROWS:
        raise SystemExit(f"there is no program of RLlib's for {row}")
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error")
    algo = ROWS[row]().build_algo()
    before = algo.train()["num_env_steps_sampled_lifetime"]
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        steps = algo.train()["num_env_steps_sampled_lifetime"]
    elapsed = time.perf_counter() - began
    print(json.dumps({"env_steps": steps - before, "seconds": elapsed}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
