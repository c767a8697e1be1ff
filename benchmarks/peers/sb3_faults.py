"""Stable-Baselines3 among faults, in its own environment: ``sb3_faults.py FAULT SEED SECONDS``."""

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
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv

GOAL = 475.0
EVERY_S = 5.0
SAVED_EVERY, KILLED_AT = 5, 12
"""Rollouts from one checkpoint to the next, and the one in which the driver is killed."""


class Shaky(gym.Wrapper):
    """CartPole that raises in one step out of many."""

    def __init__(self, one_in: int) -> None:
        super().__init__(gym.make("CartPole-v1"))
        self.one_in, self.chance = one_in, random.Random(os.urandom(8))

    def step(self, action: Any) -> Any:
        if self.one_in and self.chance.random() < 1 / self.one_in:
            raise OSError("the simulator is gone")
        return super().step(action)


def model(fault: str, seed: int) -> PPO:
    """The zoo's settings, with each environment in a process of its own."""
    one_in = 1000 if fault == "environments raise" else 0
    envs = make_vec_env(
        Shaky, 8, seed=seed, env_kwargs={"one_in": one_in}, vec_env_cls=SubprocVecEnv
    )
    return PPO(
        "MlpPolicy",
        envs,
        n_steps=32,
        batch_size=256,
        gae_lambda=0.8,
        gamma=0.98,
        n_epochs=20,
        ent_coef=0.0,
        learning_rate=1e-3,
        clip_range=0.2,
        seed=seed,
        device="cpu",
    )


class Until(BaseCallback):
    """Ends training at the goal, or after some seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.ends, self.reached = time.monotonic() + seconds, False

    def _on_step(self) -> bool:
        returns = [episode["r"] for episode in self.model.ep_info_buffer]
        self.reached = len(returns) >= 100 and float(np.mean(returns)) >= GOAL
        return not self.reached and time.monotonic() < self.ends


class Saved(BaseCallback):
    """Writes a checkpoint now and then, and kills this process at some rollout."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder, self.rollouts = folder, 0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        Path(self.folder, "last.json").write_text(json.dumps(state_of(self.model)))
        if self.rollouts and self.rollouts % SAVED_EVERY == 0:
            self.model.save(Path(self.folder, "checkpoint"))
        if self.rollouts == KILLED_AT:
            pids = [process.pid for process in self.model.get_env().processes]
            Path(self.folder, "family.json").write_text(json.dumps(pids))
            os.kill(os.getpid(), signal.SIGKILL)
        self.rollouts += 1


def state_of(it: PPO) -> dict[str, Any]:
    """What it knows of the run so far."""
    returns = [episode["r"] for episode in it.ep_info_buffer or ()]
    return {
        "env_steps": it.num_timesteps,
        "return": float(np.mean(returns)) if returns else None,
        "return_is_of": len(returns),
    }


def train(fault: str, seed: int, seconds: float) -> dict[str, Any]:
    """Train to the goal, or for so long; what came of it."""
    began, it, until, kills = time.monotonic(), model(fault, seed), Until(seconds), []
    over = threading.Event()
    if fault == "runners killed":
        pids = [process.pid for process in it.get_env().processes]
        threading.Thread(target=_kill, args=(pids, over, kills), daemon=True).start()
    found: dict[str, Any] = {}
    try:
        it.learn(1_000_000, callback=until)
        it.get_env().close()
    except (EOFError, OSError) as error:
        found["ended_with"] = f"{type(error).__name__}: {error}"
    over.set()
    took = {"seconds": round(time.monotonic() - began, 1), "kills": len(kills)}
    return {"reached": until.reached, "env_steps": it.num_timesteps} | took | found


def _kill(pids: list[int], over: threading.Event, kills: list[int]) -> None:
    while not over.wait(EVERY_S):
        kills.append(pids.pop())
        os.kill(kills[-1], signal.SIGKILL)


def resume(folder: str) -> dict[str, Any]:
    """Go on from the newest checkpoint; what is known then."""
    it = PPO.load(Path(folder, "checkpoint"), env=model("clean", 1).get_env())
    found = state_of(it)
    it.get_env().close()
    return found


def main(fault: str, seed: int, seconds: float) -> None:
    """Train among faults and print what came of it."""
    if fault == "driver killed, first":
        model("clean", seed).learn(1_000_000, callback=Saved(sys.argv[4]))
    elif fault == "driver killed, then":
        print(json.dumps(resume(sys.argv[4])), flush=True)
    else:
        print(json.dumps(train(fault, seed, seconds)), flush=True)
        os._exit(0)  # processes of environments that failed are waited for otherwise


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
