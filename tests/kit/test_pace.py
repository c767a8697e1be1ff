"""What happens once in so many steps, against counting, and while the number changes."""

from fractions import Fraction

import pytest

from rllib.learning.pace import Owed, Pace


@pytest.mark.parametrize("period", [0, 1, 2, 7, 16, Fraction(5, 2), Fraction(49, 16)])
def test_of_a_period_that_stays_it_is_time_at_every_multiple(period: int | Fraction) -> None:
    pace, found = Pace(), []
    for n in range(1, 200):
        is_due = pace.is_due(period)
        found.append(pace.step(period))
        assert is_due == found[-1]
        assert found[-1] == (period <= 1 or n // Fraction(period) > (n - 1) // Fraction(period))


def test_a_period_that_grows_as_fast_as_the_steps_misses_no_time() -> None:
    pace = Pace()
    times = sum(pace.step(16 + n) for n in range(1000))
    expected = sum(1 / (16 + n) for n in range(1000))
    assert times == int(expected)
    assert pace.progress.denominator <= 10**9


def test_a_restored_pace_goes_on() -> None:
    pace, heir = Pace(), Pace()
    for _ in range(5):
        pace.step(7)
    heir.set_state(pace.get_state())
    assert [heir.step(3) for _ in range(9)] == [pace.step(3) for _ in range(9)]


def test_whole_updates_are_taken_and_the_rest_is_kept_exactly() -> None:
    owed = Owed()
    taken = []
    for _ in range(30):
        owed.add(1, Fraction(10, 3))
        taken.append(owed.take())
    assert sum(taken) == 9
    assert set(taken) == {0, 1}
    assert owed.total == 0


def test_another_period_counts_for_what_comes_after_it() -> None:
    owed = Owed(Fraction(1, 3))
    owed.add(1, Fraction(2))
    assert owed.total == Fraction(5, 6)
    owed.add(5, Fraction(1, 4))
    assert owed.take() == 20
    assert owed.total == Fraction(5, 6)
    owed.add(1, Fraction(6))
    assert owed.take() == 1
    assert owed.total == 0
    assert Owed(owed.total).take() == 0
