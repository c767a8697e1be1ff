"""Torch and numpy twins against torch.distributions, and sampling against its own probabilities."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import distributions as reference

from rllib.actions import action_head
from rllib.distributions import distribution_for
from rllib.errors import ConfigError

DISCRETE = gym.spaces.Discrete(5)
BOX = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)


def build(space, inputs):
    if isinstance(space, gym.spaces.Discrete):
        return reference.Categorical(logits=inputs)
    mean, log_std = inputs.chunk(2, -1)
    return reference.Independent(reference.Normal(mean, log_std.exp()), 1)


@pytest.fixture(params=[DISCRETE, BOX], ids=["categorical", "gaussian"])
def case(request):
    """Space, head, inputs [7, num_inputs], other inputs, actions [7, ...]."""
    head = action_head(request.param)
    rng = np.random.default_rng(0)
    inputs, others = rng.normal(size=(2, 7, head.num_inputs)).astype(np.float32)
    actions = head.sample(inputs, head.draw_noise(rng, (7,)))
    return request.param, head, inputs, others, actions


def test_torch_and_numpy_agree_with_torch_distributions(case):
    space, head, inputs, others, actions = case
    ours, theirs = distribution_for(space), build(space, torch.from_numpy(inputs))
    x, y, a = map(torch.from_numpy, (inputs, others, actions))
    expected = theirs.log_prob(a)
    torch.testing.assert_close(ours.log_prob(x, a), expected)
    np.testing.assert_allclose(head.log_prob(inputs, actions), expected, atol=1e-5)
    torch.testing.assert_close(ours.entropy(x), theirs.entropy())
    torch.testing.assert_close(ours.kl(x, y), reference.kl_divergence(theirs, build(space, y)))
    torch.testing.assert_close(ours.kl(x, x), torch.zeros(7))


def test_the_mode_is_the_most_likely_action(case):
    space, head, inputs, _, _ = case
    mode = build(space, torch.from_numpy(inputs)).mode
    np.testing.assert_array_equal(head.mode(inputs), mode)


def test_categorical_samples_follow_the_probabilities():
    head = action_head(DISCRETE)
    logits = np.float32([0.0, 1.0, -1.0, 2.0, -np.inf])
    count = 200_000
    noise = head.draw_noise(np.random.default_rng(1), (count,))
    actions = head.sample(np.broadcast_to(logits, (count, 5)), noise)
    frequencies = np.bincount(actions, minlength=5) / count
    probabilities = np.exp(logits) / np.exp(logits).sum()
    # Five standard errors of a frequency are at most 5 * 0.5 / sqrt(count) = 0.0056.
    np.testing.assert_allclose(frequencies, probabilities, atol=0.0056)
    assert frequencies[4] == 0.0


@pytest.mark.parametrize("noise", [0.0, np.nextafter(np.float32(1), np.float32(0))])
def test_categorical_samples_stay_in_range_at_the_edges_of_the_noise(noise):
    head = action_head(DISCRETE)
    rng = np.random.default_rng(2)
    logits = rng.normal(scale=20, size=(1000, 5)).astype(np.float32)
    actions = head.sample(logits, np.full(1000, noise, np.float32))
    assert actions.min() >= 0
    assert actions.max() <= 4


def test_gaussian_samples_have_the_mean_and_deviation_of_the_inputs():
    head = action_head(BOX)
    count = 100_000
    inputs = np.broadcast_to(np.float32([1, -2, 3, 0.0, -1.0, 0.5]), (count, 6))
    samples = head.sample(inputs, head.draw_noise(np.random.default_rng(3), (count,)))
    np.testing.assert_allclose(samples.mean(0), [1, -2, 3], atol=0.03)
    np.testing.assert_allclose(samples.std(0), np.exp([0.0, -1.0, 0.5]), rtol=0.02)
    assert samples.dtype == np.float32


def test_bounded_actions_are_clipped_and_stretched():
    space = gym.spaces.Box(np.float32([0, -3]), np.float32([10, 1]))
    to_env = action_head(space).to_env
    raw = np.float32([[-1, -1], [1, 1], [0, 0], [-9, 9]])
    assert to_env(raw).tolist() == [[0, -3], [10, 1], [5, -1], [0, 1]]
    assert to_env(raw).dtype == space.dtype


def test_unbounded_actions_pass_through_and_half_bounded_ones_are_clipped():
    space = gym.spaces.Box(np.float32([-np.inf, 0]), np.float32([np.inf, np.inf]))
    raw = np.float32([[-50, -5], [70, 7]])
    assert action_head(space).to_env(raw).tolist() == [[-50, 0], [70, 7]]


def test_actions_have_the_shape_and_start_of_the_space():
    box = gym.spaces.Box(-1, 1, (2, 2), np.float64)
    assert action_head(box).to_env(np.zeros((3, 4), np.float32)).shape == (3, 2, 2)
    assert action_head(gym.spaces.Discrete(3, start=5)).to_env(np.array([0, 2])).tolist() == [5, 7]


def test_a_space_without_distribution_is_refused():
    with pytest.raises(ConfigError, match=r"Text.*not supported"):
        action_head(gym.spaces.Text(3))
    with pytest.raises(ConfigError, match="not supported"):
        distribution_for(gym.spaces.Text(3))
