"""Hyperparameters that change while training: piecewise linear in the env steps sampled so far."""

from collections.abc import Sequence
from itertools import pairwise

Points = Sequence[tuple[int, float]]
"""(timestep, value), the first at timestep 0, timesteps rising."""


def is_schedule(setting: object) -> bool:
    """Whether it is points, and no value or tuple of values."""
    is_sequence = isinstance(setting, tuple) and bool(setting)
    return is_sequence and all(isinstance(point, tuple) for point in setting)  # type: ignore[attr-defined]


def fixed(setting: float | Points) -> float:
    """A setting whose schedule, if it has one, is at its present value, or has not begun."""
    return value_at(setting, 0)


def value_at(schedule: float | Points, timestep: int) -> float:
    """The value at a timestep.

    Args:
        schedule: a number, which stays as it is, or points; after the last one its value stays.
        timestep: ``num_env_steps_sampled_lifetime``.
    """
    if isinstance(schedule, int | float):
        return float(schedule)
    for (start, first), (end, last) in pairwise(schedule):
        if timestep < end:
            done = max(0, timestep - start) / (end - start)
            return first + (last - first) * done
    return float(schedule[-1][1])
