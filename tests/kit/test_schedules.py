"""Piecewise linear schedules, by hand."""

import pytest

from rllib.schedules import value_at

POINTS = ((0, 1.0), (10, 3.0), (20, 2.0))


@pytest.mark.parametrize(
    ("timestep", "value"),
    [(-5, 1.0), (0, 1.0), (5, 2.0), (10, 3.0), (15, 2.5), (20, 2.0), (10**9, 2.0)],
)
def test_values_lie_on_the_lines_between_the_points(timestep: int, value: float) -> None:
    assert value_at(POINTS, timestep) == value


def test_a_number_and_a_single_point_stay_as_they_are() -> None:
    assert value_at(0.5, 7) == value_at(((0, 0.5),), 7) == 0.5
