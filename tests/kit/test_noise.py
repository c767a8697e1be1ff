"""Correlated exploration noise: its distribution stays, only neighbours resemble each other."""

import gymnasium as gym
import numpy as np
import pytest

from rllib.actions import action_head
from rllib.actions.noise import CorrelatedNoise
from rllib.algorithms.ppo import PPOConfig
from rllib.envs.make import probe_spaces
from rllib.errors import ConfigError
from rllib.sampling.env_runner import EnvRunner

HEAD = action_head(gym.spaces.Box(-1, 1, (3,), np.float32))


def test_the_distribution_stays_and_neighbours_correlate_as_asked():
    noise = CorrelatedNoise(0.8, HEAD)
    white = np.random.default_rng(0).standard_normal((4000, 8, 3), dtype=np.float32)
    parts = np.concatenate([noise.of(white[:1000]), noise.of(white[1000:])])
    assert abs(parts.mean()) < 0.02
    assert parts.std() == pytest.approx(1.0, abs=0.02)
    for lag, expected in [(1, 0.8), (3, 0.8**3)]:
        assert (parts[:-lag] * parts[lag:]).mean() == pytest.approx(expected, abs=0.03)


def test_it_goes_on_from_fragment_to_fragment_and_from_a_state():
    white = np.random.default_rng(0).standard_normal((6, 2, 3), dtype=np.float32)
    whole = CorrelatedNoise(0.5, HEAD).of(white)
    first = CorrelatedNoise(0.5, HEAD)
    first.of(white[:4])
    heir = CorrelatedNoise(0.5, HEAD)
    heir.set_state(first.get_state())
    np.testing.assert_allclose(heir.of(white[4:]), whole[4:])


def test_without_correlation_it_is_the_noise_that_was_drawn():
    white = np.ones((2, 1, 3), np.float32)
    assert CorrelatedNoise(0.0, HEAD).of(white) is white


def test_only_normal_noise_keeps_its_distribution():
    settings = PPOConfig().environment("CartPole-v1").env_runners(exploration_noise_correlation=0.5)
    with pytest.raises(ConfigError, match=r"exploration_noise_correlation: is for normal"):
        EnvRunner(settings, probe_spaces("CartPole-v1"), 0)
