"""Stable-Baselines3, in its own environment; see the package's text."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.atari_wrappers import AtariWrapper
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecFrameStack

GOAL = 475.0


def ppo_cartpole() -> Any:
    """CleanRL's settings."""
    return PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", 16, seed=1),
        n_steps=128,
        batch_size=512,
        n_epochs=4,
        learning_rate=2.5e-4,
        ent_coef=0.01,
        seed=1,
        device="cpu",
    )


def time_to_475() -> Any:
    """The zoo's settings: https://github.com/DLR-RM/rl-baselines3-zoo, hyperparams/ppo.yml."""
    return PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", 8, seed=1),
        n_steps=32,
        batch_size=256,
        gae_lambda=0.8,
        gamma=0.98,
        n_epochs=20,
        ent_coef=0.0,
        learning_rate=lambda left: 1e-3 * left,
        clip_range=lambda left: 0.2 * left,
        seed=1,
        device="cpu",
    )


def ppo_halfcheetah() -> Any:
    """As our row."""
    return PPO(
        "MlpPolicy",
        make_vec_env("HalfCheetah-v5", 8, seed=1),
        n_steps=256,
        batch_size=256,
        n_epochs=10,
        seed=1,
        device="cpu",
    )


def sac_halfcheetah() -> Any:
    """Its defaults, which our row has, too."""
    env = make_vec_env("HalfCheetah-v5", 1, seed=1)
    return SAC("MlpPolicy", env, buffer_size=100_000, seed=1, device="cpu")


def dqn_cartpole() -> Any:
    """Its defaults, which our row has, too."""
    env = make_vec_env("CartPole-v1", 1, seed=1)
    return DQN("MlpPolicy", env, buffer_size=100_000, seed=1, device="cpu")


def dqn_cartpole_64() -> Any:
    """As our row: as many gradient steps for each env step, but 16 after 64."""
    env = make_vec_env("CartPole-v1", 1, seed=1)
    turns = {"train_freq": 64, "gradient_steps": 16}
    return DQN("MlpPolicy", env, buffer_size=100_000, seed=1, device="cpu", **turns)


def ppo_pong() -> Any:
    """As our row; the wrappers are the ones that everybody uses."""
    import ale_py
    import gymnasium

    gymnasium.register_envs(ale_py)
    env = make_vec_env(
        "ALE/Pong-v5", 8, seed=1, wrapper_class=AtariWrapper, env_kwargs={"frameskip": 1}
    )
    return PPO(
        "CnnPolicy",
        VecFrameStack(env, 4),
        n_steps=128,
        batch_size=256,
        n_epochs=4,
        learning_rate=2.5e-4,
        clip_range=0.1,
        ent_coef=0.01,
        seed=1,
        device="cpu",
    )


ROWS: dict[str, Callable[[], Any]] = {
    each.__name__: each
    for each in (
        ppo_cartpole,
        time_to_475,
        ppo_halfcheetah,
        sac_halfcheetah,
        dqn_cartpole,
        dqn_cartpole_64,
        ppo_pong,
    )
}


class _Until(BaseCallback):
    """Ends training after some seconds; counts from the first update on."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.began, self.steps_before = seconds, 0.0, 0

    def _on_step(self) -> bool:
        return not self.began or time.perf_counter() - self.began < self.seconds

    def _on_rollout_start(self) -> None:
        learnt = self.model._n_updates > 0
        if learnt and not self.began:
            self.began, self.steps_before = time.perf_counter(), self.model.num_timesteps


class _Solved(BaseCallback):
    """Ends training at the goal."""

    def _on_step(self) -> bool:
        returns = [episode["r"] for episode in self.model.ep_info_buffer]
        return len(returns) < 100 or float(np.mean(returns)) < GOAL


def main(row: str, seconds: float) -> None:
    """Train a row and print what came of it."""
    model = ROWS[row]()
    if row == "time_to_475":
        began = time.perf_counter()
        model.learn(1_000_000, callback=_Solved())
        print(json.dumps({"training_seconds": time.perf_counter() - began}))
        return
    until = _Until(seconds)
    model.learn(10**9, callback=until)
    elapsed = time.perf_counter() - until.began
    print(json.dumps({"env_steps": model.num_timesteps - until.steps_before, "seconds": elapsed}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
