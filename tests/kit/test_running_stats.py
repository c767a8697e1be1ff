"""Moments of parts make those of the whole, in whatever order processes give them away."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib.connectors.running_stats import Moments, SharedMoments

SEEDS = st.integers(0, 2**32 - 1)


def assert_moments_of(moments, values):
    assert moments.num == len(values)
    if len(values):
        np.testing.assert_allclose(moments.mean, values.mean(0), rtol=1e-12, atol=1e-12)
        squares = ((values - values.mean(0)) ** 2).sum(0)
        np.testing.assert_allclose(moments.squares, squares, rtol=1e-9, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=8), st.floats(-1e6, 1e6), SEEDS)
def test_parts_of_any_sizes_make_the_whole(sizes, offset, seed):
    values = np.random.default_rng(seed).normal(size=(sum(sizes), 3)) + offset
    whole = Moments.empty((3,))
    for part in np.split(values, np.cumsum(sizes)[:-1]) if sizes else []:
        whole = whole.merged(Moments.of(part))
    assert whole.num == len(values)
    if len(values):
        np.testing.assert_allclose(whole.mean, values.mean(0), rtol=1e-12)
        expected = values.std(0) if len(values) > 1 else 1.0
        np.testing.assert_allclose(whole.std, expected, rtol=1e-6, atol=1e-6)


def test_a_small_spread_far_from_zero_is_not_lost():
    # Sums of squares of such float32 values would cancel to nothing, or below it.
    values = (1e4 + np.arange(6) % 2 * 1e-2).astype(np.float32)[:, None]
    moments = Moments.of(values[:3]).merged(Moments.of(values[3:]))
    np.testing.assert_allclose(moments.std, values.astype(float).std(0), rtol=1e-9)


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["see", "give", "share", "restart"]), st.integers(0, 2)), max_size=40
)


@settings(max_examples=150, deadline=None)
@given(ACTIONS, SEEDS)
def test_nothing_is_counted_twice_or_lost_whatever_the_order(actions, seed):
    """Three processes see values, give news away, get the whole, and go on from their state."""
    rng = np.random.default_rng(seed)
    processes = [SharedMoments((2,)) for _ in range(3)]
    together, given_away = Moments.empty((2,)), np.empty((0, 2))
    unknown = [np.empty((0, 2)) for _ in range(3)]  # seen, and not given away yet
    for what, i in actions:
        if what == "see":
            values = rng.normal(size=(rng.integers(1, 5), 2))
            processes[i].update(values)
            unknown[i] = np.concatenate([unknown[i], values])
        elif what == "give":
            together = together.merged(processes[i].take_news())
            given_away = np.concatenate([given_away, unknown[i]])
            unknown[i] = np.empty((0, 2))
        elif what == "share":
            processes[i].set(together)
            assert_moments_of(processes[i].total, np.concatenate([given_away, unknown[i]]))
        else:
            state, processes[i] = processes[i].get_state(), SharedMoments((2,))
            processes[i].set_state(state)
        assert_moments_of(together, given_away)
    for process in processes:
        together = together.merged(process.take_news())
        assert process.take_news().num == 0
    assert_moments_of(together, np.concatenate([given_away, *unknown]))


def test_state_goes_around():
    moments = Moments.of(np.arange(6.0).reshape(3, 2))
    again = Moments.from_state(moments.get_state())
    assert again.num == 3
    assert again.mean.tolist() == [2.0, 3.0]
    assert again.std.tolist() == pytest.approx([np.sqrt(8 / 3)] * 2)
