"""Priorities, weights and what becomes of them, against the paper's formulas written out."""

import numpy as np
import pytest
from replay_streams import Source, new_numbers

from rllib.errors import CheckpointError, ConfigError
from rllib.replay import PrioritizedReplay, UniformReplay, sequence_errors
from rllib.replay.prioritized import EPSILON

ALPHA = 0.5


def filled(capacity=20, num_steps=10, **settings):
    replay = PrioritizedReplay(capacity, np.random.default_rng(0), alpha=ALPHA, **settings)
    replay.add(fragment(num_steps))
    return replay


def fragment(num_steps, key=0):
    batch, _ = Source("scalar", 1, new_numbers(), seed=key, ends=0.0).fragment(num_steps)
    return batch


def frequencies(replay, num=20_000):
    """How often each position was drawn, of the first ten and all else."""
    indices = np.concatenate([replay.sample(num // 10).indices for _ in range(10)])
    return np.bincount(indices, minlength=10) / num


def test_steps_are_drawn_in_proportion_to_their_priorities():
    replay = filled()
    errors = np.array([0.1, -4.0, 1.0, 9.0, 0.0, -1.0, 2.0, 3.0, 0.5, 16.0])
    replay.update_priorities(np.arange(10), errors)
    expected = [(abs(error) + EPSILON) ** ALPHA for error in errors]
    expected = np.array(expected) / sum(expected)
    assert np.abs(frequencies(replay) - expected).max() < 2e-3  # stratified: far less than 1/sqrt


def test_weights_are_those_of_the_paper_over_their_maximum():
    replay = filled(beta=0.4)
    errors = np.linspace(0.5, 5.0, 10)
    replay.update_priorities(np.arange(10), errors)
    priorities = [(error + EPSILON) ** ALPHA for error in errors]
    for beta in (None, 0.0, 1.0):
        drawn = replay.sample(32, beta=beta)
        exponent = 0.4 if beta is None else beta
        probability = [priorities[i] / sum(priorities) for i in drawn.indices]
        weights = [(1.0 / (len(replay) * p)) ** exponent for p in probability]
        expected = [weight / max(weights) for weight in weights]
        assert drawn.weights == pytest.approx(np.float32(expected), rel=1e-5)
        assert drawn.weights.dtype == np.float32


def test_new_steps_get_the_greatest_error_ever_seen():
    replay = filled()
    replay.update_priorities(np.arange(10), np.full(10, 0.01))
    replay.update_priorities(np.array([3]), np.array([-8.0]))
    replay.update_priorities(np.array([3]), np.array([0.01]))
    replay.add(fragment(5, key=1))
    drawn = replay.sample(4000)
    assert (drawn.indices >= 10).mean() == pytest.approx(
        5 * 8.0**ALPHA / (5 * 8.0**ALPHA + 10 * 0.01**ALPHA), abs=0.01
    )


def test_before_the_first_update_all_are_as_likely():
    assert frequencies(filled()) == pytest.approx(np.full(10, 0.1), abs=1e-3)


def test_steps_that_were_overwritten_since_are_left_out():
    replay = filled(capacity=10)
    stale = replay.sample(8).indices
    replay.add(fragment(10, key=1))
    replay.update_priorities(stale, np.full(8, 100.0))
    replay.update_priorities(np.array([9, 10]), np.array([1000.0, 0.0]))
    assert replay._max_error == 1.0
    counts = np.bincount(replay.sample(1000).indices, minlength=20)
    assert counts[:10].sum() == 0
    assert counts[10] <= 2
    assert (counts[11:] > 100).all()


def test_of_a_step_drawn_twice_the_last_error_counts():
    replay = filled()
    replay.update_priorities(np.arange(10), np.zeros(10))
    replay.update_priorities(np.array([4, 4]), np.array([0.0, 3.0]))
    assert (replay.sample(100).indices == 4).mean() > 0.9


def test_alpha_0_draws_uniformly():
    replay = PrioritizedReplay(10, np.random.default_rng(0), alpha=0.0)
    replay.add(fragment(10))
    replay.update_priorities(np.arange(10), np.arange(10.0))
    assert frequencies(replay) == pytest.approx(np.full(10, 0.1), abs=1e-3)
    assert replay.sample(5, beta=1.0).weights.tolist() == [1.0] * 5


def test_beginnings_of_sequences_are_drawn_by_priority():
    replay = PrioritizedReplay(50, np.random.default_rng(0), alpha=1.0)
    batch, _ = Source("vector", 1, new_numbers(), ends=0.0, max_seq_len=5).fragment(20)
    replay.add(batch)
    assert sorted(set(replay.sample_sequences(100, 5).indices.tolist())) == [0, 5, 10, 15]
    errors = sequence_errors(np.ones((4, 5)) * [[1], [2], [3], [4]], np.ones((4, 5), bool))
    assert errors.tolist() == pytest.approx([1, 2, 3, 4])
    replay.update_priorities(np.array([0, 5, 10, 15]), errors)
    drawn = replay.sample_sequences(10_000, 5, beta=1.0)
    counts = np.bincount(drawn.indices)[::5]
    assert counts / 10_000 == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=1e-3)
    expected = 1.0 / (1.0 + drawn.indices / 5)
    assert drawn.weights == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("burn_in_len", "grown"), [(0, {12}), (2, {8}), (6, {4})])
def test_new_steps_of_a_sequence_make_it_as_likely_as_a_new_one(burn_in_len, grown):
    """It may have been drawn when it had a step or two, of which its priority tells no more."""
    source = Source("scalar", 1, new_numbers(), ends=0.0, max_seq_len=4)
    replay = PrioritizedReplay(40, np.random.default_rng(0), max_seq_len=4, burn_in_len=burn_in_len)
    for _ in range(13):
        replay.add(source.fragment(1)[0])
    replay.update_priorities(np.array([0, 4, 8, 12]), np.full(4, 1e-6))
    replay.add(source.fragment(1)[0])
    drawn = replay.sample_sequences(100, 4, burn_in_len).indices
    assert set(drawn.tolist()) == grown


def test_streams_that_begin_anew_leave_their_sequences_as_they_are():
    source = Source("scalar", 1, new_numbers(), ends=0.0, max_seq_len=4)
    replay = PrioritizedReplay(40, np.random.default_rng(0), max_seq_len=4)
    replay.add(source.fragment(2)[0])
    replay.update_priorities(np.array([0]), np.array([1e-6]))
    replay.end_streams(0)
    replay.add(source.fragment(1)[0])
    assert set(replay.sample_sequences(100, 4).indices.tolist()) == {2}


def test_errors_of_sequences_by_hand():
    errors = np.array([[1.0, -3.0, 8.0], [2.0, 0.0, 0.0], [5.0, 5.0, 5.0]])
    mask = np.array([[True, True, False], [True, True, True], [False, False, False]])
    mixed = sequence_errors(errors, mask, eta=0.9)
    assert mixed == pytest.approx([0.9 * 3 + 0.1 * 2, 0.9 * 2 + 0.1 * 2 / 3, 0.0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": -0.1}, "alpha is 0 or more, not -0.1"),
        ({"beta": -1.0}, "beta is 0 or more, not -1.0"),
        ({"alpha": float("nan")}, "alpha is 0 or more, not nan"),
        ({"capacity": 0}, "1 env step or more, not 0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        PrioritizedReplay(**({"capacity": 10, "rng": np.random.default_rng(0)} | settings))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_errors_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="td_errors must be finite"):
        filled().update_priorities(np.array([0, 1]), np.array([0.0, bad]))


def test_a_state_without_priorities_is_refused():
    other = UniformReplay(20, np.random.default_rng(0))
    with pytest.raises(CheckpointError, match="no priorities"):
        filled().set_state(other.get_state())
