"""How sure a mean is, and which of two is better; pure functions of samples.

The measures are those of Agarwal et al. 2021, "Deep reinforcement learning at the edge of the
statistical precipice" (arXiv 2108.13264).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
RESAMPLES = 2000
LEVEL = 0.95


class Interval(NamedTuple):
    """An estimate, and the limits between which it lies with 95 % confidence."""

    estimate: float
    low: float
    high: float


def iqm(samples: ArrayLike) -> float:
    """Interquartile mean: of the middle half of the samples, quarters counted in parts.

    Args:
        samples: [N], N >= 1.
    """
    return float(iqm_of_rows(np.asarray(samples, np.float64)[None])[0])


def iqm_of_rows(rows: Floats) -> Floats:
    """[M] interquartile means of rows [M, N].

    Where N is no multiple of 4, the samples at the edges of the middle half count with the part of
    them that is within.
    """
    count = rows.shape[1]
    ranks = np.arange(count)
    inside = np.minimum(ranks + 1, 0.75 * count) - np.maximum(ranks, 0.25 * count)
    weights = np.clip(inside, 0.0, None)
    means: Floats = np.sort(rows, axis=1) @ (weights / weights.sum())
    return means


def means_of_rows(rows: Floats) -> Floats:
    """[M] means of rows [M, N]."""
    means: Floats = rows.mean(axis=1)
    return means


def bootstrap(
    samples: ArrayLike,
    statistic: Callable[[Floats], Floats] = means_of_rows,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """A statistic of the samples and its percentile bootstrap interval.

    Args:
        samples: [N], N >= 1; with a single one the interval has no width.
        statistic: of rows [M, N], to [M].
        seed: of the resampling.
        resamples: number of them.
    """
    values = np.asarray(samples, np.float64)
    drawn = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(statistic(values[drawn]), [tail, 1.0 - tail])
    return Interval(float(statistic(values[None])[0]), float(low), float(high))


def probability_of_improvement(better: ArrayLike, than: ArrayLike, seed: int = 0) -> Interval:
    """How probably a sample of one is above a sample of the other; ties count half.

    Args:
        better: [N] results of the one.
        than: [M] results of the other.
        seed: of the bootstrap, which draws from both.
    """
    ours, theirs = np.asarray(better, np.float64), np.asarray(than, np.float64)
    rng = np.random.default_rng(seed)
    drawn: list[Any] = [rng.integers(len(x), size=(RESAMPLES, len(x))) for x in (ours, theirs)]
    resampled = _above(ours[drawn[0]], theirs[drawn[1]])
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(resampled, [tail, 1.0 - tail])
    return Interval(float(_above(ours[None], theirs[None])[0]), float(low), float(high))


def _above(ours: Floats, theirs: Floats) -> Floats:
    """[R] shares of pairs in which ours [R, N] are above theirs [R, M]."""
    difference = ours[:, :, None] - theirs[:, None, :]
    share: Floats = (0.5 * (np.sign(difference) + 1.0)).mean(axis=(1, 2))
    return share
