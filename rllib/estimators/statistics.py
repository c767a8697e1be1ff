"""What is said of many numbers: where they lie, how far apart, and how well they were predicted."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Value = TypeVar("Value", float, NDArray[np.float64])


def mean_and_std(x: Floats) -> tuple[float, float]:
    """By which to shift and scale to mean 0 and standard deviation 1, or a constant to 0."""
    return float(x.mean(dtype=np.float64)), max(float(x.std(dtype=np.float64)), 1e-8)


def explained_variance(targets: Floats, predictions: Floats) -> float:
    """``1 - Var(targets - predictions) / Var(targets)``: 1 is perfect, 0 no better than the mean.

    Constant targets leave nothing to explain and give 0.
    """
    variance = float(np.var(targets, dtype=np.float64))
    if variance == 0.0:
        return 0.0
    return 1.0 - float(np.var(targets - predictions, dtype=np.float64)) / variance


def moving_average(average: Value | None, value: Value, coeff: float) -> Value:
    """Exponential moving average: ``(1 - coeff) * average + coeff * value``.

    Args:
        average: so far; ``None`` at first, when the average is the value.
        value: the newest.
        coeff: its weight, in (0, 1]; RLlib calls it ``ema_coeff``.
    """
    return value if average is None else average + coeff * (value - average)
