"""Every kind of action space trains, from the environment's first step to the gradient."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import flatten

from rllib import core
from rllib.algorithms.ppo import PPOConfig

SPACES = {
    "discrete": gym.spaces.Discrete(3, start=-1),
    "multi_discrete": gym.spaces.MultiDiscrete([[2, 3], [3, 2]], start=[[0, 1], [2, 3]]),
    "multi_binary": gym.spaces.MultiBinary((2, 2)),
    "box": gym.spaces.Box(-2, 5, (2, 1), np.float64),
    "integer_box": gym.spaces.Box(-1, 2, (3,), np.int16),
    "nested": gym.spaces.Dict(
        {
            "arm": gym.spaces.Tuple([gym.spaces.Box(0, 1, (2,)), gym.spaces.Discrete(2)]),
            "grip": gym.spaces.MultiBinary(2),
        }
    ),
}


class Target(gym.Env):
    """Rewards actions, as flat numbers, for being large."""

    observation_space = gym.spaces.Box(-1, 1, (2,))

    def __init__(self, env_config):
        self.action_space = SPACES[env_config["kind"]]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.num_steps = 0
        return np.ones(2, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.num_steps += 1
        weights = np.linspace(0, 1, gym.spaces.flatdim(self.action_space))
        reward = float(weights @ flatten(self.action_space, action))
        return np.ones(2, np.float32), reward, False, self.num_steps == 8, {}


@pytest.fixture(autouse=True)
def inline():
    with core.init(address="inline"):
        yield


@pytest.mark.parametrize(
    ("kind", "free_log_std"),
    [*((kind, True) for kind in SPACES), ("box", False), ("nested", False)],
)
def test_returns_rise(kind, free_log_std):
    settings = (
        PPOConfig()
        .environment(Target, env_config={"kind": kind})
        .env_runners(num_envs_per_env_runner=8)
        .training(train_batch_size_per_learner=512, minibatch_size=128, num_epochs=4, lr=3e-3)
        .rl_module(model_config={"fcnet_hiddens": (16,), "free_log_std": free_log_std})
        .debugging(seed=1)
    )
    with settings.build_algo() as algorithm:
        returns = [algorithm.train()["env_runners"]["episode_return_mean"] for _ in range(5)]
    assert returns[-1] > returns[0] + 0.3
