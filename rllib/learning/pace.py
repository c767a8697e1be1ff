"""What happens once in so many steps, a number that may change on the way."""

from fractions import Fraction as Ratio

FINEST = 10**9
"""Largest denominator of a progress: exact for any period that stays, and bounded for others."""


class Pace:
    """Counts steps towards the next time.

    Attributes:
        progress: how much of the way to it lies behind, from 0 up to 1.
    """

    def __init__(self) -> None:
        self.progress = Ratio(0)

    def is_due(self, period: Ratio | int) -> bool:
        """Whether it will be time after one more step; up to 1, it is after each."""
        return period <= 1 or self.progress + 1 / Ratio(period) >= 1

    def step(self, period: Ratio | int) -> bool:
        """Make a step, of which ``period`` lead from one time to the next; whether it is time."""
        if period <= 1:
            self.progress = Ratio(0)
            return True
        progress = (self.progress + 1 / Ratio(period)).limit_denominator(FINEST)
        self.progress = progress % 1
        return progress >= 1

    def get_state(self) -> list[int]:
        """Plain data."""
        return list(self.progress.as_integer_ratio())

    def set_state(self, state: list[int]) -> None:
        """Go on from ``get_state``."""
        self.progress = Ratio(*map(int, state))
