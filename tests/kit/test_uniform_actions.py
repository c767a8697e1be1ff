"""Random actions: every one as likely as any other, in the form in which the policy's own are."""

import gymnasium as gym
import numpy as np
import pytest

from rllib.actions import FORBIDDEN, action_head, uniform_head
from rllib.errors import ConfigError

DISCRETE = gym.spaces.Discrete(3, start=5)
BOX = gym.spaces.Box(np.array([-3.0, 0.0], np.float32), np.array([1.0, 0.5], np.float32))
COUNT = 30_000


def drawn(head, inputs):
    """Actions of ``COUNT`` rows that all have the same inputs."""
    random = uniform_head(head)
    rows = np.tile(np.array(inputs, np.float32), (COUNT, 1))
    noise = random.draw_noise(np.random.default_rng(1), (COUNT,))
    return random, rows, random.sample(rows, noise)


@pytest.mark.parametrize("kind", ["stochastic", "epsilon_greedy"])
def test_choices_are_equally_likely_whatever_the_policy_says(kind):
    random, rows, actions = drawn(action_head(DISCRETE, kind), [9.0, -9.0, 0.0])
    assert actions.dtype == np.int64
    counts = np.bincount(actions, minlength=3)
    assert (abs(counts - COUNT / 3) < 5 * (COUNT * 2 / 9) ** 0.5).all()
    np.testing.assert_allclose(random.log_prob(rows, actions), -np.log(3), rtol=1e-6)
    assert set(random.to_env(actions)) == {5, 6, 7}


@pytest.mark.parametrize("kind", ["stochastic", "epsilon_greedy"])
def test_what_is_forbidden_is_never_drawn(kind):
    random, rows, actions = drawn(action_head(DISCRETE, kind), [9.0, FORBIDDEN, 0.0])
    counts = np.bincount(actions, minlength=3)
    assert counts[1] == 0
    assert abs(counts[0] - COUNT / 2) < 5 * (COUNT / 4) ** 0.5
    np.testing.assert_allclose(random.log_prob(rows, actions), -np.log(2), rtol=1e-6)


@pytest.mark.parametrize("kind", ["stochastic", "squashed", "deterministic"])
def test_real_numbers_cover_the_bounds_evenly(kind):
    head = action_head(BOX, kind)
    random, rows, actions = drawn(head, [7.0] * head.num_inputs)
    assert random.num_inputs == head.num_inputs
    assert random.noise_shape == actions.shape[1:] == head.action_shape
    for column in actions.T:
        counts, _ = np.histogram(column, bins=10, range=(-1, 1))
        assert counts.sum() == COUNT
        assert (abs(counts - COUNT / 10) < 5 * (COUNT * 0.09) ** 0.5).all()
    np.testing.assert_allclose(random.log_prob(rows, actions), np.log(0.25), rtol=1e-6)
    in_env = random.to_env(actions)
    np.testing.assert_allclose(in_env.min(0), BOX.low, atol=1e-3)
    np.testing.assert_allclose(in_env.max(0), BOX.high, atol=1e-3)
    np.testing.assert_allclose(random.to_env(random.mode(rows[:1])), [[-1.0, 0.25]])


def test_without_bounds_nothing_is_uniform():
    with pytest.raises(ConfigError, match="no bounds"):
        uniform_head(action_head(gym.spaces.Box(-np.inf, np.inf, (2,))))


def test_several_parts_are_refused_by_name():
    with pytest.raises(ConfigError, match="MultiCategoricalHead cannot be drawn uniformly"):
        uniform_head(action_head(gym.spaces.MultiDiscrete([2, 3])))
