"""GAE against values derived by hand and against a scalar reference in double precision."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib.estimators import explained_variance, gae, mean_and_std, next_values


def f32(*rows):
    return np.array(rows, np.float32)


def column(*values):
    """One environment: [T, 1]."""
    return np.array(values, np.float32)[:, None]


def flags(*values):
    return np.array(values, bool)[:, None]


def test_an_episode_that_goes_on_is_bootstrapped_from_the_next_observation():
    # gamma 0.5, lambda 0.5: delta = (1 + .5*3 - 2, 1 + .5*4 - 3) = (0.5, 0); A = (0.5 + .25*0, 0).
    values = column(2, 3)
    none = flags(0, 0)
    following = next_values(values, np.float32([4]), np.float32([]), np.array([], int), none)
    advantages, targets = gae(column(1, 1), values, following, none, none, gamma=0.5, lambda_=0.5)
    assert following.ravel().tolist() == [3, 4]
    assert advantages.ravel().tolist() == [0.5, 0.0]
    assert targets.ravel().tolist() == [2.5, 3.0]


def test_termination_is_worth_nothing_beyond_and_truncation_its_final_observation():
    # Two environments that end in their first row: the left terminates, the right is cut at V = 8.
    values = f32([2, 2], [3, 3])
    terminateds = np.array([[True, False], [False, False]])
    dones = np.array([[True, True], [False, False]])
    none = np.zeros((2, 2), bool)
    following = next_values(values, np.float32([4, 4]), np.float32([8]), np.array([1]), terminateds)
    advantages, _ = gae(
        np.ones((2, 2), np.float32), values, following, dones, none, gamma=0.5, lambda_=0.5
    )
    assert following.tolist() == [[0, 8], [4, 4]]
    # Left: 1 + 0 - 2 = -1; right: 1 + .5*8 - 2 = 3; the second row's 0 does not flow back.
    assert advantages.tolist() == [[-1, 3], [0, 0]]


def test_terminated_wins_where_both_are_set():
    values, both = column(2), flags(1)
    following = next_values(values, np.float32([4]), np.float32([8]), np.array([0]), both)
    assert following.tolist() == [[0.0]]


def test_a_reset_row_is_zero_and_passes_nothing_on():
    # Row 0 ends an episode, row 1 is its reset row, row 2 begins the next: 1 + .5*4 - 3 = 0.
    values = column(2, 100, 3)
    following = next_values(values, np.float32([4]), np.float32([6]), np.array([0]), flags(0, 0, 0))
    advantages, targets = gae(
        column(1, 0, 1), values, following, flags(1, 0, 0), flags(0, 1, 0), gamma=0.5, lambda_=0.5
    )
    assert advantages.ravel().tolist() == [2.0, 0.0, 0.0]  # 1 + .5*6 - 2
    assert targets.ravel().tolist() == [4.0, 0.0, 3.0]


def test_lambda_one_is_the_discounted_return():
    rewards, values, none = column(1, 2, 3), column(0, 0, 0), flags(0, 0, 0)
    dones = flags(0, 0, 1)
    following = next_values(values, np.float32([9]), np.float32([]), np.array([], int), dones)
    advantages, _ = gae(rewards, values, following, dones, none, gamma=0.5, lambda_=1.0)
    assert advantages.ravel().tolist() == [1 + 1 + 0.75, 2 + 1.5, 3]


def scalar_gae(rewards, values, following, dones, reset_rows, gamma, lambda_):
    """One environment, in Python floats, forwards from the definition."""
    advantages = []
    for start in range(len(rewards)):
        total, weight = 0.0, 1.0
        for t in range(start, len(rewards)):
            if reset_rows[t]:
                break
            total += weight * (rewards[t] + gamma * following[t] - values[t])
            weight *= gamma * lambda_
            if dones[t]:
                break
        advantages.append(total)
    return advantages


@st.composite
def fragments(draw):
    """Fragments in which reset rows follow ends, as NEXT_STEP makes them."""
    num_rows, num_envs = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rewards, values, final = rng.normal(size=(3, num_rows, num_envs)).astype(np.float32)
    ends = rng.integers(0, 4, (num_rows, num_envs))  # 0 terminated, 1 truncated, else goes on
    reset_rows = np.zeros_like(ends, bool)
    if draw(st.booleans()):
        for t in range(1, num_rows):
            reset_rows[t] = (ends[t - 1] <= 1) & ~reset_rows[t - 1]
            ends[t][reset_rows[t]] = 2
            rewards[t][reset_rows[t]] = 0
    last = rng.normal(size=num_envs).astype(np.float32)
    return rewards, values, final, last, ends == 0, ends == 1, reset_rows


@settings(max_examples=150, deadline=None)
@given(fragments(), st.floats(0, 1), st.floats(0, 1))
def test_gae_equals_the_scalar_reference(fragment, gamma, lambda_):
    rewards, values, final, last, terminateds, truncateds, reset_rows = fragment
    index = np.flatnonzero(truncateds)
    following = next_values(values, last, final.ravel()[index], index, terminateds)
    dones = terminateds | truncateds
    advantages, targets = gae(
        rewards, values, following, dones, reset_rows, gamma=gamma, lambda_=lambda_
    )
    for n in range(rewards.shape[1]):
        expected_next = [
            0.0
            if terminateds[t, n]
            else float(final[t, n])
            if truncateds[t, n]
            else float(values[t + 1, n])
            if t + 1 < len(values)
            else float(last[n])
            for t in range(len(values))
        ]
        columns = (x[:, n].astype(float).tolist() for x in (rewards, values))
        expected = scalar_gae(
            *columns, expected_next, dones[:, n], reset_rows[:, n], gamma, lambda_
        )
        np.testing.assert_allclose(advantages[:, n], expected, atol=2e-5)
        live = ~reset_rows[:, n]
        np.testing.assert_allclose(targets[:, n], (expected + values[:, n]) * live, atol=2e-5)
    assert advantages.dtype == targets.dtype == np.float32


def test_explained_variance():
    targets = np.float32([1, 2, 3, 4])
    assert explained_variance(targets, targets) == 1.0
    assert explained_variance(targets, np.full(4, 7, np.float32)) == 0.0
    assert explained_variance(targets, -targets) == pytest.approx(-3.0)
    assert explained_variance(np.ones(4, np.float32), targets) == 0.0


def test_mean_and_std():
    assert mean_and_std(np.float32([1, 2, 3, 6])) == (3.0, pytest.approx(np.sqrt(3.5)))
    mean, std = mean_and_std(np.full(3, 5, np.float32))
    assert (5.0 - mean) / std == 0.0
