"""RLlib on Ray among faults, in its own environment: ``ray_faults.py FAULT SEED SECONDS``."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import ray
from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

GOAL = 475.0
EVERY_S = {"runners killed": 5.0, "learner killed": 5.0}
RUNNER, LEARNER = "EnvRunner", "_WrappedExecutable"
"""In the titles of their processes."""
SAVED_EVERY, KILLED_AT = 5, 12
"""Iterations from one checkpoint to the next, and the one in which the driver is killed."""


class Shaky(gym.Wrapper):
    """CartPole that raises in one step out of many."""

    def __init__(self, config: Any) -> None:
        super().__init__(gym.make("CartPole-v1"))
        self.one_in = config.get("one_in", 0)
        self.chance = random.Random(os.urandom(8))

    def step(self, action: Any) -> Any:
        if self.one_in and self.chance.random() < 1 / self.one_in:
            raise OSError("the simulator is gone")
        return super().step(action)


class Clock(RLlibCallback):
    """How long it took until env runners that were killed had others in their place."""

    lost: list[float] = []  # noqa: RUF012 (of the one algorithm of this process)
    took: list[float] = []  # noqa: RUF012

    def on_env_runners_recreated(self, *, env_runner_indices: list[int], **kwargs: Any) -> None:
        for _ in env_runner_indices:
            if Clock.lost:
                Clock.took.append(round(time.monotonic() - Clock.lost.pop(0), 3))


def configured(fault: str, seed: int) -> Any:
    """As our preset ppo_cartpole, with four env runners."""
    config = PPOConfig().environment(
        Shaky, env_config={"one_in": 1000 if fault == "environments raise" else 0}
    )
    config.env_runners(num_env_runners=4, num_envs_per_env_runner=4)
    config.learners(num_learners=1 if fault == "learner killed" else 0)
    config.training(
        lr=2e-3,
        gamma=0.98,
        lambda_=0.95,
        train_batch_size_per_learner=2048,
        minibatch_size=256,
        num_epochs=6,
        grad_clip=0.5,
        clip_param=0.2,
        entropy_coeff=0.01,
        vf_clip_param=1e9,
        use_kl_loss=False,
    )
    config.rl_module(
        model_config=DefaultModelConfig(
            fcnet_hiddens=[64, 64], fcnet_activation="tanh", vf_share_layers=False
        )
    )
    config.fault_tolerance(
        restart_failed_env_runners=True,
        restart_failed_sub_environments=fault == "environments raise",
        max_num_env_runner_restarts=10_000,
    )
    return config.debugging(seed=seed).callbacks(Clock)


def train(fault: str, seed: int, seconds: float) -> dict[str, Any]:
    """Train to the goal, or for so long; what came of it."""
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, logging_level="error")
    began = time.monotonic()
    algo = configured(fault, seed).build_algo()
    over, kills = threading.Event(), []
    if fault in EVERY_S:
        name = RUNNER if fault == "runners killed" else LEARNER
        arguments = (name, EVERY_S[fault], seed, over, kills)
        threading.Thread(target=_kill, args=arguments, daemon=True).start()
    found: dict[str, Any] = {"reached": False, "env_steps": 0}
    try:
        while not found["reached"] and time.monotonic() - began < seconds:
            result = algo.train()
            found["env_steps"] = result.get("num_env_steps_sampled_lifetime", found["env_steps"])
            mean = result.get("env_runners", {}).get("episode_return_mean", 0.0)
            found["reached"] = bool(mean >= GOAL)
    except Exception as error:
        found["ended_with"] = f"{type(error).__name__}: {str(error).strip().splitlines()[-1][:200]}"
    over.set()
    took = {"seconds": round(time.monotonic() - began, 1), "kills": len(kills)}
    return found | took | {"recovery_s": Clock.took}


def _kill(name: str, every_s: float, seed: int, over: Any, kills: list[int]) -> None:
    chance = random.Random(seed)
    while not over.wait(every_s):
        pids = [each.pid for each in _family() if _is(each, name)]
        if pids:
            kills.append(chance.choice(sorted(pids)))
            Clock.lost.append(time.monotonic())
            os.kill(kills[-1], signal.SIGKILL)


def _family() -> list[Any]:
    """Processes of this very session, and nobody else's."""
    import psutil  # Ray has one of its own, which is found once Ray was imported

    return list(psutil.Process().children(recursive=True))


def _is(process: Any, name: str) -> bool:
    try:
        title = " ".join(process.cmdline())
    except Exception:  # it has ended
        return False
    return title.startswith("ray::") and name in title


def killed(folder: str, seed: int) -> None:
    """Train with a checkpoint now and then; this process is killed at some iteration."""
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, logging_level="error")
    algo = configured("clean", seed).build_algo()
    for number in range(1, KILLED_AT + 1):
        result = algo.train()
        if number % SAVED_EVERY == 0:
            algo.save_to_path(str(Path(folder, "checkpoint")))
        state = _state_of(algo, result)
        Path(folder, "last.json").write_text(json.dumps(state, default=float))
    Path(folder, "family.json").write_text(json.dumps([each.pid for each in _family()]))
    os.kill(os.getpid(), signal.SIGKILL)


def resume(folder: str) -> dict[str, Any]:
    """Go on from the newest checkpoint; what is known then."""
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, logging_level="error")
    algo = PPO.from_checkpoint(str(Path(folder, "checkpoint")))
    states = [_state_of(algo, algo.train()) for _ in range(3)]
    return states[0] | {"returns": [each["return"] for each in states]}


def _state_of(algo: Any, result: dict[str, Any]) -> dict[str, Any]:
    episodes = result["env_runners"]
    return {
        "iteration": algo.training_iteration,
        "env_steps": result.get("num_env_steps_sampled_lifetime", 0),
        "return": episodes.get("episode_return_mean"),
        "return_is_of": episodes.get("num_episodes"),
    }


def main(fault: str, seed: int, seconds: float) -> None:
    """Train among faults and print what came of it."""
    if fault == "driver killed, first":
        killed(sys.argv[4], seed)
    found = resume(sys.argv[4]) if fault == "driver killed, then" else train(fault, seed, seconds)
    print(json.dumps(found, default=float), flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
