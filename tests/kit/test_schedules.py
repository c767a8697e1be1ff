"""Piecewise linear schedules, by hand."""

import pytest

from rllib.schedules import is_schedule, point_values, value_at

POINTS = ((0, 1.0), (10, 3.0), (20, 2.0))


@pytest.mark.parametrize(
    ("timestep", "value"),
    [(-5, 1.0), (0, 1.0), (5, 2.0), (10, 3.0), (15, 2.5), (20, 2.0), (10**9, 2.0)],
)
def test_values_lie_on_the_lines_between_the_points(timestep: int, value: float) -> None:
    assert value_at(POINTS, timestep) == value


def test_a_number_and_a_single_point_stay_as_they_are() -> None:
    assert value_at(0.5, 7) == value_at(((0, 0.5),), 7) == 0.5


@pytest.mark.parametrize(("timestep", "value"), [(0, 4), (1, 4), (2, 3), (5, 2), (9, 1), (50, 1)])
def test_between_whole_numbers_is_the_nearest_one(timestep: int, value: int) -> None:
    found = value_at(((0, 4), (9, 1)), timestep)
    assert (found, type(found)) == (value, int)


def test_tuples_of_other_things_are_no_schedules() -> None:
    assert is_schedule(POINTS)
    assert point_values(POINTS) == (1.0, 3.0, 2.0)
    for other in ((), (1, 3), ((16, 3), (32, 3)), ((0, 1, 2),), 0.5, None, [[0, 1.0]]):
        assert not is_schedule(other)
        assert point_values(other) == (other,)
