"""Whether two lots of measurements differ: slower, faster, or not to be told apart.

Figures are logarithms of speeds that were divided by the machine's own (`calibration`), so that a
difference is a ratio. Its interval is by bootstrap over the repeats (Efron & Tibshirani 1993),
which asks for no distribution; a difference counts only if the interval is clear of a tolerance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000
CONFIDENCE = 0.95


class Verdict(StrEnum):
    """What is to be said of a ratio."""

    SLOWER = "slower"
    FASTER = "faster"
    SAME = "not distinguishable"


@dataclass(frozen=True)
class Comparison:
    """New speed over old speed, with its interval."""

    ratio: float
    low: float
    high: float
    tolerance: float

    @property
    def verdict(self) -> Verdict:
        """Slower or faster only by more than the tolerance, with all of the interval."""
        if self.high < 1.0 - self.tolerance:
            return Verdict.SLOWER
        if self.low > 1.0 + self.tolerance:
            return Verdict.FASTER
        return Verdict.SAME


def compare(old: Sequence[float], new: Sequence[float], tolerance: float = 0.05) -> Comparison:
    """Compare speeds, each positive; the ratio is that of the medians.

    Args:
        old: of the baseline, at least one.
        new: of now, at least one.
        tolerance: by how much a ratio may miss 1 without a word.

    Raises:
        ValueError: one is empty, or a speed is not positive.
    """
    before, after = _logs(old, "old"), _logs(new, "new")
    rng = np.random.default_rng(0)
    differences = _medians(after, rng) - _medians(before, rng)
    rest = 50 * (1.0 - CONFIDENCE)
    low, high = np.exp(np.percentile(differences, [rest, 100 - rest]))
    ratio = float(np.exp(np.median(after) - np.median(before)))
    return Comparison(ratio, float(low), float(high), tolerance)


def _logs(speeds: Sequence[float], name: str) -> NDArray[np.float64]:
    values = np.asarray(speeds, np.float64)
    if not values.size or (values <= 0).any():
        raise ValueError(f"the {name} speeds should be positive numbers, got {list(speeds)}")
    return np.log(values)


def _medians(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Of samples drawn from the values, as many as there are."""
    drawn = rng.choice(values, (RESAMPLES, values.size))
    medians: NDArray[np.float64] = np.median(drawn, axis=1)
    return medians
