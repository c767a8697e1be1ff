"""Fragments in parts are worth what they were as a whole."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from rllib.batch import SampleBatch
from rllib.learning.sequences import observed, sequences, successors
from rllib.learning.shares import Share, divide, take
from rllib.sampling.fragments import columns


@given(st.integers(1, 9), st.integers(1, 9))
def test_everything_is_given_away_once_and_equally(num_fragments, num_learners):
    pieces = divide(num_fragments, num_learners)
    given_away = {
        (index, part)
        for piece in pieces
        for index, share in piece.items()
        for part in range(share.start, share.stop)
    }
    assert len(given_away) == num_fragments * num_learners
    sizes = [sum(s.stop - s.start for s in piece.values()) for piece in pieces]
    assert sizes == [num_fragments] * num_learners


def test_whole_fragments_stay_whole():
    assert divide(4, 2) == [{i: Share(0, 2, 2) for i in (a, a + 1)} for a in (0, 2)]
    assert divide(3, 2)[0] == {0: Share(0, 2, 2), 1: Share(0, 1, 2)}
    assert divide(1, 3) == [{0: Share(part, part + 1, 3)} for part in range(3)]


def fragment(T=6, N=5):
    """Every observation has a number of its own; some episodes end, some sequences begin."""
    rng = np.random.default_rng(0)
    ends = rng.random((2, T, N)) < 0.2
    reset_rows = rng.random((T, N)) < 0.1
    truncateds = ends[1] & ~reset_rows
    final_index = np.flatnonzero(truncateds)
    first = np.zeros((T, N), bool)
    first[[0, 3]] = True
    state_rows = rng.permutation(np.flatnonzero(first))
    numbers = np.arange(T * N + N + len(final_index))
    return SampleBatch(
        obs=numbers[: T * N].reshape(T, N),
        actions=rng.integers(0, 3, (T, N)),
        rewards=rng.normal(size=(T, N)).astype(np.float32),
        terminateds=ends[0] & ~reset_rows,
        truncateds=truncateds,
        reset_rows=reset_rows,
        action_dist_inputs=rng.normal(size=(T, N, 2)).astype(np.float32),
        action_logp=rng.normal(size=(T, N)).astype(np.float32),
        last_obs=numbers[T * N : T * N + N],
        final_obs=numbers[T * N + N :],
        final_index=final_index,
        weights_seq_no=7,
        state_in={"h": state_rows[:, None].astype(np.float32)},
        state_rows=state_rows,
    )


@pytest.mark.parametrize("num_parts", [1, 2, 3, 5, 7])
def test_the_columns_of_a_fragment(num_parts):
    batch = fragment()
    parts = [take(batch, Share(part, part + 1, num_parts)) for part in range(num_parts)]
    for name in ("obs", "rewards", "truncateds", "action_dist_inputs"):
        joined = np.concatenate([getattr(part, name) for part in parts], axis=1)
        np.testing.assert_array_equal(joined, getattr(batch, name))
    assert sum(part.num_env_steps for part in parts) == batch.num_env_steps
    follows = [observed(part)[successors(part)] for part in parts]
    np.testing.assert_array_equal(
        np.concatenate(follows, axis=1), observed(batch)[successors(batch)]
    )


def runs(batch):
    """(observations, next one, state) of every sequence."""
    found = sequences(batch, 6)
    seen = observed(batch)
    states = found.state_in["h"][:, 0]
    rows = [seen[row[mask]].tolist() for row, mask in zip(found.rows, found.mask, strict=True)]
    return sorted(zip(rows, seen[found.successors].tolist(), states.tolist(), strict=True))


@pytest.mark.parametrize("num_parts", [2, 5, 7])
def test_sequences_keep_their_state(num_parts):
    batch = fragment()
    parts = [take(batch, Share(part, part + 1, num_parts)) for part in range(num_parts)]
    assert sorted(run for part in parts for run in runs(part)) == runs(batch)


def test_several_modules_and_whole_shares():
    batch = fragment()
    halves = take({"a": batch, "b": batch}, Share(0, 1, 2))
    assert [part.rewards.shape for part in halves.values()] == [(6, 2), (6, 2)]
    assert take("anything", Share(0, 2, 2)) == "anything"
    assert columns(batch, 0, 5).num_env_steps == batch.num_env_steps


def test_what_cannot_be_divided_is_refused():
    with pytest.raises(TypeError, match=r"a list cannot be divided .*; give.* multiple of 2"):
        take([], Share(0, 1, 2))
