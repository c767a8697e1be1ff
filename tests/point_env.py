"""A point on a line that is to be pushed to the middle: continuous, and its state can be had."""

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

POINT = "tests/Point-v0"
OBS = gym.spaces.Box(-2, 2, (1,), np.float32)
ACTIONS = gym.spaces.Box(-0.5, 0.5, (1,), np.float32)
LENGTH = 10


class Point(gym.Env):
    """One of them; only its spaces are asked for."""

    observation_space, action_space = OBS, ACTIONS


class Points(VectorEnv):
    """N of them, in the rows of an array."""

    metadata = {"autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012

    def __init__(self, num_envs=1, **kwargs):
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = OBS, ACTIONS
        self.observation_space = gym.vector.utils.batch_space(OBS, num_envs)
        self.action_space = gym.vector.utils.batch_space(ACTIONS, num_envs)
        self.places = np.zeros((num_envs, 1), np.float32)
        self.ages = np.zeros(num_envs, np.int64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, np.bool_))
        fresh = self.np_random.uniform(-1, 1, (int(mask.sum()), 1))
        self.places[mask], self.ages[mask] = fresh, 0
        return self.places.copy(), {}

    def step(self, actions):
        self.places = np.clip(self.places + actions, -2, 2).astype(np.float32)
        self.ages += 1
        truncated = self.ages >= LENGTH
        rewards = -np.abs(self.places[:, 0])
        return self.places.copy(), rewards, np.zeros(self.num_envs, np.bool_), truncated, {}

    def get_state(self):
        rng = self.np_random.bit_generator.state
        return {
            "places": self.places.copy(),
            "ages": self.ages.copy(),
            "rng": {key: hex(value) for key, value in rng["state"].items()},
            "cache": [int(rng["has_uint32"]), int(rng["uinteger"])],
        }

    def set_state(self, state):
        self.places, self.ages = np.array(state["places"]), np.array(state["ages"])
        has_uint32, uinteger = state["cache"]
        self.np_random.bit_generator.state = {
            "bit_generator": "PCG64",
            "state": {key: int(value, 16) for key, value in state["rng"].items()},
            "has_uint32": has_uint32,
            "uinteger": uinteger,
        }


gym.register(POINT, entry_point=Point, vector_entry_point=Points)
