"""Slower, faster, or not to be told apart."""

import numpy as np
import pytest

from rllib.benchmarking.compare import Verdict, compare

STEADY = [100.0, 101.0, 99.0, 100.5, 99.5]


def times(factor: float) -> list[float]:
    return [factor * speed for speed in STEADY]


def test_the_ratio_is_that_of_the_medians_and_lies_in_its_interval():
    found = compare(STEADY, times(1.3))
    assert found.ratio == pytest.approx(1.3)
    assert found.low <= 1.3 <= found.high


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(0.8, Verdict.SLOWER), (1.25, Verdict.FASTER), (1.0, Verdict.SAME), (0.97, Verdict.SAME)],
)
def test_steady_speeds_are_told_apart_beyond_the_tolerance(factor: float, verdict: Verdict):
    assert compare(STEADY, times(factor), tolerance=0.05).verdict is verdict


def test_what_scatters_as_much_as_it_differs_is_not_told_apart():
    noisy = [60.0, 140.0, 100.0, 75.0, 125.0]
    assert compare(noisy, [0.85 * speed for speed in noisy]).verdict is Verdict.SAME


def test_speeds_of_one_distribution_are_rarely_called_different():
    rng = np.random.default_rng(1)
    lots = np.exp(rng.normal(0.0, 0.1, (200, 2, 5)))
    wrong = sum(compare(*lot).verdict is not Verdict.SAME for lot in lots.tolist())
    assert wrong <= 20  # 95 % confidence, and a tolerance on top


@pytest.mark.parametrize("speeds", [[], [0.0, 1.0], [-1.0]])
def test_speeds_are_positive(speeds: list[float]):
    with pytest.raises(ValueError, match="positive"):
        compare(speeds, STEADY)
