"""Spaces in the settings: they may say more than the environment does, but not contradict it."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete

from rllib import core
from rllib.algorithms.dqn import DQN, DQNConfig
from rllib.algorithms.ppo import PPO, PPOConfig
from rllib.envs.make import Spaces
from rllib.errors import CheckpointError, ConfigError, EnvError
from rllib.given_spaces import agreed_spaces


@pytest.fixture(scope="module", autouse=True)
def inline():
    with core.init(address="inline"):
        yield


NUMBERS = Box(-1, 1, (2,), np.float32)
OWN = Spaces(Dict(n=Discrete(3), x=NUMBERS), Discrete(4))


def agreed(**spaces):
    return agreed_spaces(PPOConfig().environment("CartPole-v1", **spaces), OWN)


def test_without_any_they_are_the_environments():
    assert agreed() == OWN


def test_they_may_widen_observations_and_narrow_actions():
    wider = Dict(n=Discrete(5), x=Box(-np.inf, np.inf, (2,), np.float32))
    assert agreed(observation_space=wider, action_space=Discrete(2)) == (wider, Discrete(2))


@pytest.mark.parametrize(
    ("key", "space", "part"),
    [
        ("observation_space", NUMBERS, r"its parts are \[\"space\['n'\]\", \"space\['x'\]\"\]"),
        ("observation_space", Dict(n=Discrete(2), x=NUMBERS), r"see space\['n'\]"),
        ("observation_space", Dict(n=Discrete(3), x=Box(-1, 1, (3,))), r"see space\['x'\]"),
        ("observation_space", Dict(n=Discrete(3), x=Box(0, 9, (2,), int)), r"see space\['x'\]"),
        ("action_space", Discrete(5), "see space"),
        ("action_space", Discrete(4, start=1), "see space"),
        ("action_space", NUMBERS, "see space"),
    ],
)
def test_they_must_not_contradict_the_environment(key, space, part):
    with pytest.raises(ConfigError, match=rf"{key}: .* does not go with .* \({part}\)"):
        agreed(**{key: space})


class Overflows(gym.Env):
    """Its observations are outside of its bounds from the beginning."""

    observation_space, action_space = NUMBERS, Discrete(2)

    def __init__(self, config):
        pass

    def reset(self, *, seed=None, options=None):
        return np.float32([5, 5]), {}

    def step(self, action):
        return np.float32([5, 5]), 0.0, False, False, {}


def small(config_class=PPOConfig, env=Overflows):
    settings = config_class().environment(env).env_runners(num_env_runners=0)
    settings.rl_module(model_config={"fcnet_hiddens": (4,)})
    if config_class is PPOConfig:
        settings.training(train_batch_size_per_learner=8, minibatch_size=8, num_epochs=1)
    return settings


def test_a_wider_space_is_what_observations_are_compared_with():
    with pytest.raises(EnvError, match=r"obs\[0\] = 5.0"):
        small().build_algo()
    wider = small().environment(observation_space=Box(-9, 9, (2,), np.float32))
    with wider.build_algo() as algo:
        algo.train()


def test_settings_of_another_algorithm_open_no_checkpoint(tmp_path):
    with small(env="CartPole-v1").build_algo() as algo:
        path = algo.save_to_path(tmp_path / "here")
    with pytest.raises(ConfigError, match=r"config: is a DQNConfig; .* needs a PPOConfig"):
        PPO.from_checkpoint(path, config=small(DQNConfig, "CartPole-v1"))
    with pytest.raises(CheckpointError, match="was written by PPO, not DQN"):
        DQN.from_checkpoint(path)


def test_a_replay_buffer_holds_a_fragment_at_least():
    settings = small(DQNConfig, "CartPole-v1").training(replay_buffer_config={"capacity": 15})
    settings.env_runners(num_envs_per_env_runner=2, rollout_fragment_length=8)
    with pytest.raises(
        ConfigError, match=r"capacity: 15 env steps are fewer than the 16 of a frag"
    ):
        settings.build_algo()
