"""A fixed piece of work: how fast this machine is right now, for what training consists of."""

from time import perf_counter

import numpy as np
from numpy.typing import NDArray


def calibrate() -> float:
    """Seconds for the work."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((32, 64), np.float32)
    weights = rng.standard_normal((64, 64), np.float32) / np.float32(8)
    started = perf_counter()
    _arithmetic(inputs, weights)
    _interpretation()
    return perf_counter() - started


def _arithmetic(inputs: NDArray[np.float32], weights: NDArray[np.float32]) -> None:
    """Matrix products, so small that no library shares them out among threads."""
    out = np.empty_like(inputs)
    for _ in range(2000):
        np.matmul(inputs, weights, out=out)
        np.tanh(out, out=out)


def _interpretation() -> None:
    """Python's own work: calls, attributes, small dicts."""
    counts: dict[int, int] = {}
    for number in range(60_000):
        counts[number & 255] = counts.get(number & 255, 0) + number
