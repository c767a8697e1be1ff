"""Environments that break after a while, registered by importing this module."""

import threading
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv


class BreaksAfter(CartPoleEnv):
    """CartPole whose step 700, counted over all episodes, is the last one."""

    steps = 0

    def step(self, action: Any) -> Any:
        self.steps += 1
        if self.steps == 700:
            return self.fall_over(action)
        return super().step(action)

    def fall_over(self, action: Any) -> Any:
        raise ValueError("the robot fell over")


class TurnsNaN(BreaksAfter):
    def fall_over(self, action: Any) -> Any:
        obs, *rest = super(BreaksAfter, self).step(action)
        return np.full_like(obs, np.nan), *rest


class Hangs(BreaksAfter):
    def fall_over(self, action: Any) -> Any:
        threading.Event().wait()


gymnasium.register("Raises-v0", f"{__name__}:BreaksAfter", max_episode_steps=500)
gymnasium.register("NaN-v0", f"{__name__}:TurnsNaN", max_episode_steps=500)
gymnasium.register("Hangs-v0", f"{__name__}:Hangs", max_episode_steps=500)
