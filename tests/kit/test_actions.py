"""Sampling against its own probabilities, and actions as environments want them."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from rllib.actions import (
    BernoulliHead,
    CategoricalHead,
    CompositeHead,
    DeterministicHead,
    EpsilonGreedyHead,
    GaussianHead,
    MultiCategoricalHead,
    SquashedGaussianHead,
    action_head,
    input_limits,
)
from rllib.errors import ConfigError

COUNT = 200_000
TOLERANCE = 0.0056
"""Five standard errors of a frequency are at most 5 * 0.5 / sqrt(COUNT)."""
ALMOST_ONE = np.nextafter(np.float32(1), np.float32(0))

DISCRETE = gym.spaces.Discrete(5)
BOX = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)


def many(head, row, seed=1):
    """COUNT actions from one row of inputs."""
    inputs = np.broadcast_to(np.float32(row), (COUNT, len(row)))
    return head.sample(inputs, head.draw_noise(np.random.default_rng(seed), (COUNT,)))


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum()


# Frequencies.


def test_choices_follow_the_probabilities():
    logits = np.float32([0.0, 1.0, -1.0, 2.0, -np.inf])
    frequencies = np.bincount(many(action_head(DISCRETE), logits), minlength=5) / COUNT
    np.testing.assert_allclose(frequencies, softmax(logits), atol=TOLERANCE)
    assert frequencies[4] == 0.0


@pytest.mark.parametrize("sizes", [[2, 4, 3], [3, 3]])
def test_every_dimension_is_a_choice_of_its_own(sizes):
    logits = [np.random.default_rng(n).normal(size=size) for n, size in enumerate(sizes)]
    actions = many(action_head(gym.spaces.MultiDiscrete(sizes)), np.concatenate(logits))
    for column, row in zip(actions.T, logits, strict=True):
        frequencies = np.bincount(column, minlength=len(row)) / COUNT
        np.testing.assert_allclose(frequencies, softmax(row), atol=TOLERANCE)
    assert abs(np.corrcoef(actions[:, 0], actions[:, 1])[0, 1]) < 0.012


def test_switches_follow_the_probabilities():
    logits = np.array([-200.0, -1.0, 0.0, 2.0, 200.0])
    actions = many(action_head(gym.spaces.MultiBinary(5)), logits)
    np.testing.assert_allclose(actions.mean(0), 1 / (1 + np.exp(-logits)), atol=TOLERANCE)
    assert set(actions[:, 0]) == {0}
    assert set(actions[:, 4]) == {1}


def test_gaussian_samples_have_the_mean_and_deviation_of_the_inputs():
    samples = many(action_head(BOX), [1, -2, 3, 0.0, -1.0, 0.5])
    np.testing.assert_allclose(samples.mean(0), [1, -2, 3], atol=0.03)
    np.testing.assert_allclose(samples.std(0), np.exp([0.0, -1.0, 0.5]), rtol=0.02)
    assert samples.dtype == np.float32


def test_squashed_samples_are_the_tanh_of_normals():
    samples = many(action_head(gym.spaces.Box(-1, 1, (1,)), "squashed"), [0.5, -0.5])
    # Quantiles go through tanh as they are; 5 standard errors of the outer ones are below 0.01.
    for z, quantile in ((-1.0, 0.158655), (0.0, 0.5), (1.0, 0.841345)):
        expected = np.tanh(0.5 + np.exp(-0.5) * z)
        assert np.quantile(samples, quantile) == pytest.approx(expected, abs=0.01)


def test_epsilon_greedy_is_mostly_the_best_and_sometimes_any():
    head = action_head(gym.spaces.Discrete(4), "epsilon_greedy", epsilon=0.4)
    frequencies = np.bincount(many(head, [0.0, 3.0, 1.0, 2.0]), minlength=4) / COUNT
    np.testing.assert_allclose(frequencies, [0.1, 0.7, 0.1, 0.1], atol=TOLERANCE)


def test_parts_are_drawn_independently_each_in_its_own_way():
    space = gym.spaces.Tuple([gym.spaces.Discrete(2), gym.spaces.Box(-1, 1, (1,)), DISCRETE])
    rows = many(action_head(space), [0.0, 1.0, 0.5, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert rows[:, 0].mean() == pytest.approx(1 / (1 + np.exp(-1)), abs=TOLERANCE)
    assert rows[:, 1].mean() == pytest.approx(0.5, abs=0.01)
    assert rows[:, 1].std() == pytest.approx(np.exp(-1), abs=0.01)
    assert rows[:, 2].mean() == pytest.approx(2.0, abs=0.02)
    correlations = np.corrcoef(rows.T)[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 0.012


# Edges of the noise.


@pytest.mark.parametrize("noise", [0.0, ALMOST_ONE])
@pytest.mark.parametrize("space", [DISCRETE, gym.spaces.MultiDiscrete([2, 5, 3])])
def test_choices_stay_in_range_at_the_edges_of_the_noise(space, noise):
    head = action_head(space)
    inputs = np.random.default_rng(2).normal(scale=20, size=(1000, head.num_inputs))
    noise = np.full((1000, *head.noise_shape), noise, np.float32)
    actions = head.sample(inputs.astype(np.float32), noise)
    sizes = [5] if space is DISCRETE else [2, 5, 3]
    assert actions.min() >= 0
    assert (actions.reshape(1000, -1) < sizes).all()


@pytest.mark.parametrize("noise", [0.0, ALMOST_ONE])
def test_exploration_stays_in_range_at_the_edges_of_the_noise(noise):
    head = action_head(gym.spaces.Discrete(3), "epsilon_greedy", epsilon=1.0)
    actions = head.sample(np.zeros((1, 3), np.float32), np.full((1, 2), noise, np.float32))
    assert actions.tolist() == [0 if noise == 0.0 else 2]


# Schedules.


def test_heads_follow_their_schedules():
    points = [(0, 1.0), (100, 0.0)]
    head = action_head(gym.spaces.Discrete(2), "epsilon_greedy", epsilon=points)
    values, noise = np.float32([[0, 1]]), np.float32([[0.4, 0.0]])
    assert head.sample(values, noise).tolist() == [0]
    assert head.at(50).sample(values, noise).tolist() == [0]
    assert head.at(61).sample(values, noise).tolist() == [1]
    assert head.at(1000).epsilon == 0.0
    box = gym.spaces.Box(-1, 1, (1,))
    noisy = action_head(gym.spaces.Tuple([box]), "deterministic", noise_std=points)
    one = np.ones((1, 1), np.float32)
    assert noisy.at(50).sample(0 * one, one).tolist() == [[0.5]]
    assert noisy.at(100).sample(0 * one, one).tolist() == [[0.0]]
    assert action_head(BOX).at(5) == action_head(BOX)


# Log standard deviations.


def test_only_log_standard_deviations_have_limits():
    one = gym.spaces.Box(-1, 1, (1,))
    head = action_head(gym.spaces.Tuple([gym.spaces.Discrete(2), one, one]))
    inf = np.inf
    assert input_limits(head, 2.0).tolist() == [inf, inf, inf, 2.0, inf, 2.0]
    assert input_limits(action_head(DISCRETE), 2.0) is None


# As the environment wants them.


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


def test_a_space_wider_than_its_type_can_say():
    largest = float(np.finfo(np.float32).max)
    to_env = action_head(gym.spaces.Box(-largest, largest, (1,))).to_env
    assert to_env(np.float32([[-1], [0], [1]])).ravel().tolist() == [-largest, 0, largest]


def test_actions_have_the_shape_and_start_of_the_space():
    box = gym.spaces.Box(-1, 1, (2, 2), np.float64)
    assert action_head(box).to_env(np.zeros((3, 4), np.float32)).shape == (3, 2, 2)
    assert action_head(gym.spaces.Discrete(3, start=5)).to_env(np.array([0, 2])).tolist() == [5, 7]
    many_sided = gym.spaces.MultiDiscrete([[2, 3]], start=[[7, -1]])
    assert action_head(many_sided).to_env(np.array([[1, 2]])).tolist() == [[[8, 1]]]
    integers = gym.spaces.Box(np.uint8([3, 250]), np.uint8([4, 255]), dtype=np.uint8)
    actions = action_head(integers).to_env(np.array([[1, 5]]))
    assert actions.tolist() == [[4, 255]]
    assert actions.dtype == np.uint8


NESTED = gym.spaces.Dict(
    {
        "arm": gym.spaces.Tuple([gym.spaces.Box(-2, 2, (2, 1)), gym.spaces.Discrete(3, start=1)]),
        "grip": gym.spaces.MultiBinary(2),
        "mode": gym.spaces.MultiDiscrete([2, 3]),
        "speed": gym.spaces.Box(-1, 1, (2,), np.int16),
    }
)


def test_parts_come_in_the_structure_of_the_space():
    head = action_head(NESTED)
    assert head.num_inputs == 4 + 3 + 2 + 5 + 6
    row = np.float32([0.5, -1, 2, 1, 0, 1, 2, 0, 2])
    actions = head.to_env(np.stack([row, row]))
    assert actions["arm"][0].tolist() == [[[1], [-2]]] * 2
    assert actions["arm"][1].tolist() == [3, 3]
    assert actions["grip"].tolist() == [[1, 0]] * 2
    assert actions["mode"].tolist() == [[1, 2]] * 2
    assert actions["speed"].tolist() == [[-1, 1]] * 2


class Particular(gym.Env):
    """Takes what is in its action space and nothing else."""

    observation_space = gym.spaces.Box(-1, 1, (1,))

    def __init__(self, space):
        self.action_space = space

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        return np.zeros(1, np.float32), 0.0, False, False, {}


@pytest.mark.parametrize(
    "space",
    [
        NESTED,
        gym.spaces.Tuple([DISCRETE, gym.spaces.Dict(b=gym.spaces.MultiBinary(3), a=DISCRETE)]),
        gym.spaces.MultiDiscrete([[2, 3], [4, 1]], start=[[1, 2], [3, 4]]),
        gym.spaces.MultiBinary((2, 2)),
        gym.spaces.Box(-3, 5, (2, 2), np.int64),
        gym.spaces.Box(-3, 5, (2, 2), np.float64),
        gym.spaces.Discrete(3, start=-1),
    ],
)
def test_vector_environments_take_them(space):
    head, rng = action_head(space), np.random.default_rng(0)
    env = SyncVectorEnv([lambda: Particular(space)] * 3)
    env.reset()
    for _ in range(20):
        inputs = rng.normal(size=(3, head.num_inputs)).astype(np.float32)
        env.step(head.to_env(head.sample(inputs, head.draw_noise(rng, (3,)))))
        env.step(head.to_env(head.mode(inputs)))
    env.close()


# Which head goes with which space.

UNIT = gym.spaces.Box(-1, 1, (2,))


@pytest.mark.parametrize(
    ("space", "kind", "head"),
    [
        (DISCRETE, "stochastic", CategoricalHead),
        (DISCRETE, "squashed", CategoricalHead),
        (DISCRETE, "epsilon_greedy", EpsilonGreedyHead),
        (gym.spaces.MultiDiscrete([2, 3]), "stochastic", MultiCategoricalHead),
        (gym.spaces.MultiBinary(2), "stochastic", BernoulliHead),
        (gym.spaces.Box(0, 255, (2,), np.uint8), "stochastic", MultiCategoricalHead),
        (BOX, "stochastic", GaussianHead),
        (UNIT, "squashed", SquashedGaussianHead),
        (UNIT, "deterministic", DeterministicHead),
        (gym.spaces.Dict(a=UNIT, b=DISCRETE), "stochastic", CompositeHead),
    ],
)
def test_heads_by_space_and_kind(space, kind, head):
    assert type(action_head(space, kind)) is head


@pytest.mark.parametrize(
    ("space", "kind", "message"),
    [
        (gym.spaces.Text(3), "stochastic", "Text.*not supported.*Wrap the environment"),
        (gym.spaces.Tuple([]), "stochastic", "is empty"),
        (gym.spaces.Dict(a=gym.spaces.Text(3)), "stochastic", "Text.*not supported"),
        (gym.spaces.Box(0, 256, (1,), np.int64), "stochastic", "257 integers.*float32"),
        (
            gym.spaces.Box(np.iinfo(np.int64).min, np.iinfo(np.int64).max, (1,), np.int64),
            "stochastic",
            "18446744073709551616 integers",
        ),
        (gym.spaces.MultiDiscrete([2, 2]), "epsilon_greedy", "need Discrete"),
        (gym.spaces.Tuple([DISCRETE]), "epsilon_greedy", "need Discrete"),
        (DISCRETE, "deterministic", "need a Box of floats"),
        (gym.spaces.Box(0, 3, (1,), np.int64), "deterministic", "need a Box of floats"),
        (BOX, "deterministic", "no bounds.*finite"),
        (gym.spaces.Box(-1, 1, (0,)), "stochastic", r"no numbers in it.*Discrete\(1\)"),
        (BOX, "squashed", "no bounds.*squashed"),
    ],
)
def test_spaces_without_distribution_are_refused_with_the_way_out(space, kind, message):
    with pytest.raises(ConfigError, match=message):
        action_head(space, kind)
