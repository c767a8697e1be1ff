"""Hyperparameters that change while training: piecewise linear in the env steps sampled so far."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

Points = Sequence[tuple[int, float]]
"""(timestep, value), the first at timestep 0, timesteps rising."""


def is_schedule(setting: object) -> bool:
    """Whether it is points, and no value or tuple of values."""
    if not (isinstance(setting, tuple) and setting):
        return False
    are_pairs = all(isinstance(point, tuple) and len(point) == 2 for point in setting)
    return are_pairs and setting[0][0] == 0


def point_values(setting: Any) -> tuple[Any, ...]:
    """Those that a setting has at the points of its schedule, or the one that it always has."""
    return tuple(value for _, value in setting) if is_schedule(setting) else (setting,)


def value_at(schedule: float | Points, timestep: int) -> float:
    """The value at a timestep; between whole numbers it is rounded to one.

    Args:
        schedule: a number, which stays as it is, or points; after the last one its value stays.
        timestep: ``num_env_steps_sampled_lifetime``.
    """
    if isinstance(schedule, int | float):
        return schedule
    value = _between(schedule, timestep)
    is_whole = all(isinstance(point, int) for _, point in schedule)
    return round(value) if is_whole else value


def _between(points: Points, timestep: int) -> float:
    for (start, first), (end, last) in pairwise(points):
        if timestep < end:
            done = max(0, timestep - start) / (end - start)
            return first + (last - first) * done
    return points[-1][1]
