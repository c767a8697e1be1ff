"""Estimators against values derived by hand and against scalar references in double precision."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib.estimators import (
    discounted_returns,
    explained_variance,
    gae,
    mean_and_std,
    moving_average,
    n_step,
    n_step_returns,
    next_values,
    td_lambda,
    vtrace,
)
from rllib.estimators.recurrence import accumulate


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
    """Fragments with reset rows after ends, as NEXT_STEP makes them, or with padding at the end, as
    agents have it that do not always act: nothing need have ended there."""
    num_rows, num_envs = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rewards, values, final = rng.normal(size=(3, num_rows, num_envs)).astype(np.float32)
    ends = rng.integers(0, 4, (num_rows, num_envs))  # 0 terminated, 1 truncated, else goes on
    reset_rows = np.zeros_like(ends, bool)
    if draw(st.booleans()):
        for t in range(1, num_rows):
            reset_rows[t] = (ends[t - 1] <= 1) & ~reset_rows[t - 1]
            ends[t][reset_rows[t]] = 2
    if draw(st.booleans()):
        lengths = rng.integers(0, num_rows + 1, num_envs)
        reset_rows |= np.arange(num_rows)[:, None] >= lengths
    ends[reset_rows], rewards[reset_rows] = 2, 0
    last = rng.normal(size=num_envs).astype(np.float32)
    return rewards, values, final, last, ends == 0, ends == 1, reset_rows


def fragment_of(drawn):
    """Everything an estimator reads, with ``following``."""
    rewards, values, final, last, terminateds, truncateds, reset_rows = drawn
    index = np.flatnonzero(truncateds)
    following = next_values(values, last, final.ravel()[index], index, terminateds)
    return rewards, values, following, terminateds | truncateds, reset_rows


def each_env(fragment):
    """The fragment's columns as Python numbers, one environment after the other."""
    for n in range(fragment[0].shape[1]):
        yield [column[:, n].tolist() for column in fragment]


def assert_equals_reference(found, fragment, reference, *more):
    """``reference`` gets the columns of one environment and returns what they should become."""
    for n, columns in enumerate(each_env(fragment)):
        expected = reference(*columns, *more)
        np.testing.assert_allclose(found[:, n], expected, rtol=1e-4, atol=1e-4)
    assert found.dtype == np.float32


@settings(max_examples=100, deadline=None)
@given(fragments())
def test_what_follows_is_the_next_row_the_last_or_the_final_observation(drawn):
    rewards, values, final, last, terminateds, truncateds, _ = drawn
    following = fragment_of(drawn)[2]
    for t, n in np.ndindex(rewards.shape):
        after = values[t + 1, n] if t + 1 < len(values) else last[n]
        ended = 0.0 if terminateds[t, n] else final[t, n]
        assert following[t, n] == (ended if terminateds[t, n] or truncateds[t, n] else after)


@settings(max_examples=150, deadline=None)
@given(fragments(), st.floats(0, 1), st.floats(0, 1))
def test_gae_equals_the_scalar_reference(drawn, gamma, lambda_):
    fragment = fragment_of(drawn)
    advantages, targets = gae(*fragment, gamma=gamma, lambda_=lambda_)
    assert_equals_reference(advantages, fragment, scalar_gae, gamma, lambda_)
    _, values, _, _, reset_rows = fragment
    np.testing.assert_allclose(targets, (advantages + values) * ~reset_rows, atol=1e-6)


# V-trace.


def test_vtrace_by_hand():
    # gamma 0.5. Ratios 2 and 0.5 become rho = c = 1 and 0.5; V(s_{t+1}) = 3 and 4.
    # delta = 1 (1 + 1.5 - 2) = 0.5 and 0.5 (3 + 2 - 3) = 1; v = 2 + 0.5 + 0.5*1*1 and 3 + 1.
    # Advantages: 1 (1 + 0.5*4 - 2) and 0.5 (3 + 2 - 3).
    none = flags(0, 0)
    rows = column(1, 3), column(2, 3), column(3, 4), none, none
    targets, advantages = vtrace(*rows, np.log(column(2, 0.5)), gamma=0.5)
    np.testing.assert_allclose(targets.ravel(), [3.0, 4.0], rtol=1e-6)
    np.testing.assert_allclose(advantages.ravel(), [1.0, 1.0], rtol=1e-6)
    # With limits of 3 the first ratio is 2: delta = 1 and 1; v = 2 + 1 + 0.5*2*1.
    targets, advantages = vtrace(
        *rows, np.log(column(2, 0.5)), gamma=0.5, clip_rho=3.0, clip_pg_rho=4.0, clip_c=3.0
    )
    np.testing.assert_allclose(targets.ravel(), [4.0, 4.0], rtol=1e-6)
    np.testing.assert_allclose(advantages.ravel(), [2.0, 1.0], rtol=1e-6)


def scalar_vtrace(rewards, values, following, dones, reset_rows, log_rhos, gamma, lambda_, clips):
    """One environment, forwards from equation 1."""
    clip_rho, clip_pg_rho, clip_c = clips
    ratios = [math.exp(x) for x in log_rhos]
    errors = [r + gamma * f - v for r, v, f in zip(rewards, values, following, strict=True)]
    targets = []
    for start, value in enumerate(values):
        total, weight = value, 1.0
        for t in range(start, len(rewards)):
            if reset_rows[t]:
                break
            total += weight * min(clip_rho, ratios[t]) * errors[t]
            weight *= gamma * lambda_ * min(clip_c, ratios[t])
            if dones[t]:
                break
        targets.append(0.0 if reset_rows[start] else total)
    advantages = []
    for t, value in enumerate(values):
        stops = dones[t] or t + 1 == len(values) or reset_rows[t + 1]
        beyond = following[t] if stops else targets[t + 1]
        advantage = min(clip_pg_rho, ratios[t]) * (rewards[t] + gamma * beyond - value)
        advantages.append(0.0 if reset_rows[t] else advantage)
    return targets, advantages


@settings(max_examples=150, deadline=None)
@given(
    fragments(),
    st.floats(0, 1),
    st.floats(0, 1),
    st.tuples(*[st.floats(0.2, 3)] * 3),
    st.integers(0, 2**32 - 1),
)
def test_vtrace_equals_the_scalar_reference(drawn, gamma, lambda_, clips, seed):
    fragment = fragment_of(drawn)
    log_rhos = np.random.default_rng(seed).normal(size=fragment[0].shape).astype(np.float32)
    found = vtrace(
        *fragment,
        log_rhos,
        gamma=gamma,
        lambda_=lambda_,
        **dict(zip(("clip_rho", "clip_pg_rho", "clip_c"), clips, strict=True)),
    )
    for part, values in enumerate(found):

        def reference(*columns, part=part):
            return scalar_vtrace(*columns, gamma, lambda_, clips)[part]

        assert_equals_reference(values, (*fragment, log_rhos), reference)


@settings(max_examples=50, deadline=None)
@given(fragments(), st.floats(0, 1), st.floats(0, 1))
def test_vtrace_on_policy_is_gae(drawn, gamma, lambda_):
    fragment = fragment_of(drawn)
    none = np.zeros_like(fragment[0])
    targets, _ = vtrace(*fragment, none, gamma=gamma, lambda_=lambda_)
    expected = gae(*fragment, gamma=gamma, lambda_=lambda_).value_targets
    np.testing.assert_allclose(targets, expected, atol=1e-5)


def test_vtrace_of_policies_that_have_nothing_in_common():
    none = flags(0, 0)
    rows = column(1, 1), column(2, 2), column(2, 2), none, none
    targets, advantages = vtrace(*rows, column(500, -500), gamma=1.0)
    # The first ratio counts as 1, the second as 0: 2 + (1 + 2 - 2), and nothing to learn from it.
    assert targets.ravel().tolist() == [3.0, 2.0]
    assert advantages.ravel().tolist() == [1.0, 0.0]


# Returns.


def test_returns_by_hand():
    # The episode ends in row 1, row 2 is a reset row, row 3 begins another one.
    rewards, dones, reset_rows = column(1, 2, 0, 8), flags(0, 1, 0, 0), flags(0, 0, 1, 0)
    following = column(6, 4, 100, 2)
    rows = rewards, dones, reset_rows
    returns = discounted_returns(*rows, gamma=0.5)
    assert returns.ravel().tolist() == [2, 2, 0, 8]
    sums, lengths = n_step(*rows, gamma=0.5, n=2)
    assert sums.ravel().tolist() == [2, 2, 0, 8]
    assert lengths.ravel().tolist() == [2, 1, 0, 1]
    # 1 + 0.5*2 + 0.25*4; 2 + 0.5*4; 8 + 0.5*2.
    rows = rewards, following, dones, reset_rows
    assert n_step_returns(*rows, gamma=0.5, n=2).ravel().tolist() == [3, 4, 0, 9]
    # 1 + 0.5 (0.5*6 + 0.5*4); the others bootstrap at once.
    assert td_lambda(*rows, gamma=0.5, lambda_=0.5).ravel().tolist() == [3.5, 4, 0, 9]


def scalar_returns(rewards, values, following, dones, reset_rows, gamma, n, bootstrap):
    """Sums of up to n rewards of one environment, forwards."""
    returns = []
    for start in range(len(rewards)):
        total, weight = 0.0, 1.0
        for t in range(start, min(start + n, len(rewards))):
            if reset_rows[t]:
                break
            total += weight * rewards[t]
            weight *= gamma
            last = t
            if dones[t]:
                break
        if bootstrap and not reset_rows[start]:
            total += weight * following[last]
        returns.append(total)
    return returns


@settings(max_examples=100, deadline=None)
@given(fragments(), st.floats(0, 1), st.integers(1, 15))
def test_sums_of_rewards_equal_the_scalar_reference(drawn, gamma, n):
    fragment = rewards, _, following, dones, reset_rows = fragment_of(drawn)
    found = n_step_returns(rewards, following, dones, reset_rows, gamma=gamma, n=n)
    assert_equals_reference(found, fragment, scalar_returns, gamma, n, True)
    sums, lengths = n_step(rewards, dones, reset_rows, gamma=gamma, n=n)
    assert_equals_reference(sums, fragment, scalar_returns, gamma, n, False)
    counted = n_step(np.ones_like(rewards), dones, reset_rows, gamma=1.0, n=n).rewards
    np.testing.assert_array_equal(lengths, counted)
    found = discounted_returns(rewards, dones, reset_rows, gamma=gamma)
    assert_equals_reference(found, fragment, scalar_returns, gamma, len(rewards), False)


@settings(max_examples=100, deadline=None)
@given(fragments(), st.floats(0, 1), st.floats(0, 1))
def test_lambda_returns_are_advantages_over_any_values(drawn, gamma, lambda_):
    fragment = rewards, _, following, dones, reset_rows = fragment_of(drawn)
    rows = rewards, following, dones, reset_rows
    found = td_lambda(*rows, gamma=gamma, lambda_=lambda_)
    # Within an episode V(s_{t+1}) is the next row's value: the sums telescope to GAE's.
    targets = gae(*fragment, gamma=gamma, lambda_=lambda_).value_targets
    np.testing.assert_allclose(found, targets, atol=2e-5)
    longest = n_step_returns(*rows, gamma=gamma, n=len(rewards))
    np.testing.assert_allclose(td_lambda(*rows, gamma=gamma, lambda_=1.0), longest, atol=2e-5)
    shortest = n_step_returns(*rows, gamma=gamma, n=1)
    np.testing.assert_allclose(td_lambda(*rows, gamma=gamma, lambda_=0.0), shortest, atol=2e-5)


@pytest.mark.parametrize("num_rows", [1, 2, 3, 127, 128, 129, 1000])
def test_long_sums_equal_the_loop(num_rows):
    rng = np.random.default_rng(num_rows)
    terms = rng.normal(size=(num_rows, 3)).astype(np.float32)
    decay = rng.uniform(0.9, 1.0, (num_rows, 3)).astype(np.float32)
    before = terms.copy(), decay.copy()
    carry, expected = np.zeros(3), []
    for term, factor in zip(terms[::-1].astype(float), decay[::-1].astype(float), strict=True):
        carry = term + factor * carry
        expected.append(carry)
    np.testing.assert_allclose(accumulate(terms, decay), expected[::-1], rtol=2e-5, atol=2e-5)
    np.testing.assert_array_equal((terms, decay), before)


# Statistics.


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


def test_moving_average():
    average = None
    for value in (4.0, 8.0, 0.0):
        average = moving_average(average, value, 0.25)
    assert average == ((4 * 0.75 + 8 * 0.25) * 0.75 + 0 * 0.25)
