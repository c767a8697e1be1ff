"""A walk on which most actions are forbidden, and say so by a mask.

Importing this module registers ``MaskedWalk-v0``.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

NUM_PLACES = 10
NUM_ACTIONS = 8
STEP_COST = 0.01
OPTIMUM = 1.0 - STEP_COST * NUM_PLACES
"""Return of who goes straight on: one step per place, and 1 for the goal."""


class MaskedWalk(gym.Env[dict[str, Any], np.int64]):
    """Ten places in a row to the goal; in each, one action leads on, one back, six are forbidden.

    Observations are a Dict of ``action_mask`` and ``place``. A forbidden action ends the episode
    with a reward of -1, so a return above 0 tells that there was none. Which action leads on and
    which leads back differs from place to place.
    """

    def __init__(self, max_episode_steps: int = 100) -> None:
        self.observation_space = gym.spaces.Dict(
            {
                "action_mask": gym.spaces.MultiBinary(NUM_ACTIONS),
                "place": gym.spaces.Discrete(NUM_PLACES),
            }
        )
        self.action_space = gym.spaces.Discrete(NUM_ACTIONS)
        self.max_episode_steps = max_episode_steps

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin at the first place."""
        super().reset(seed=seed)
        self.place = self.num_steps = 0
        return self._obs(), {}

    def step(self, action: np.int64) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Walk."""
        self.num_steps += 1
        if not self._mask()[action]:
            return self._obs(), -1.0, True, False, {}
        self.place = max(0, self.place + (1 if action == self._onward else -1))
        arrived = self.place == NUM_PLACES
        reward = float(arrived) - STEP_COST
        self.place = min(self.place, NUM_PLACES - 1)
        return self._obs(), reward, arrived, self.num_steps >= self.max_episode_steps, {}

    @property
    def _onward(self) -> int:
        return (3 * self.place + 1) % NUM_ACTIONS

    def _mask(self) -> NDArray[np.int8]:
        mask = np.zeros(NUM_ACTIONS, np.int8)
        mask[[self._onward, (5 * self.place + 4) % NUM_ACTIONS]] = 1
        return mask

    def _obs(self) -> dict[str, Any]:
        return {"action_mask": self._mask(), "place": np.int64(self.place)}


gym.register("MaskedWalk-v0", entry_point="rllib.envs.masked_walk:MaskedWalk")
