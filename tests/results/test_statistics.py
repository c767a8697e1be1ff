"""Means and intervals, against what can be worked out by hand."""

import numpy as np
import pytest

from rllib.results.statistics import bootstrap, iqm, iqm_of_rows, probability_of_improvement


@pytest.mark.parametrize(
    ("samples", "mean"),
    [
        ([7.0], 7.0),
        ([1.0, 3.0], 2.0),
        ([0.0, 1.0, 2.0, 100.0], 1.5),
        ([-99, 1, 2, 3, 4, 5, 6, 99], 3.5),
        # Of five, the middle one counts whole and its neighbours with three quarters.
        ([0.0, 10.0, 20.0, 40.0, 500.0], (0.75 * 10 + 20 + 0.75 * 40) / 2.5),
    ],
)
def test_the_interquartile_mean_is_that_of_the_middle_half(
    samples: list[float], mean: float
) -> None:
    assert iqm(samples) == pytest.approx(mean)
    assert iqm(samples[::-1]) == pytest.approx(mean)


def test_rows_are_independent() -> None:
    rows = np.array([[0.0, 1.0, 2.0, 3.0], [10.0, 10.0, 10.0, 50.0]])
    assert iqm_of_rows(rows) == pytest.approx([1.5, 10.0])


def test_the_interval_is_that_of_the_normal_distribution_for_many_samples() -> None:
    samples = np.random.default_rng(3).normal(5.0, 2.0, 400)
    found = bootstrap(samples)
    error = samples.std() / 20.0
    assert found.estimate == pytest.approx(samples.mean())
    assert found.low == pytest.approx(samples.mean() - 1.96 * error, abs=0.2 * error)
    assert found.high == pytest.approx(samples.mean() + 1.96 * error, abs=0.2 * error)


def test_equal_samples_leave_no_doubt_and_the_same_seed_the_same_interval() -> None:
    assert bootstrap([3.0] * 8, iqm_of_rows) == (3.0, 3.0, 3.0)
    assert bootstrap([1.0, 2.0, 9.0]) == bootstrap([1.0, 2.0, 9.0])


def test_probability_of_improvement_counts_pairs() -> None:
    assert probability_of_improvement([3, 4], [1, 2]) == (1.0, 1.0, 1.0)
    assert probability_of_improvement([1, 2], [1, 2]).estimate == 0.5
    # 2 > 1, 2 = 2, 5 > 1, 5 > 2.
    assert probability_of_improvement([2, 5], [1, 2]).estimate == pytest.approx(3.5 / 4)
    low, high = probability_of_improvement([2, 5], [1, 2])[1:]
    assert low < 3.5 / 4 <= high
