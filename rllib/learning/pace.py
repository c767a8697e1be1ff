"""What happens once in so many steps, a number that may change on the way; or so often in one."""

from fractions import Fraction as Ratio
from math import ceil

FINEST = 10**9
"""Largest denominator of a progress: exact for any period that stays, and bounded for others."""


class Pace:
    """Counts steps towards the next time.

    While the period stays, this is counting; fractions are added where it changes or time has come.
    """

    def __init__(self) -> None:
        self._begin(Ratio(0), Ratio(1))

    def _begin(self, progress: Ratio, period: Ratio | int) -> None:
        self._base, self._period, self._count = progress, period, 0
        self._last = ceil((1 - progress) * period)

    @property
    def progress(self) -> Ratio:
        """How much of the way to the next time lies behind, from 0 up to 1."""
        return (self._base + Ratio(self._count) / self._period).limit_denominator(FINEST)

    def is_due(self, period: Ratio | int) -> bool:
        """Whether it will be time after one more step; up to 1, it is after each."""
        if period == self._period and period > 1:
            return self._count + 1 >= self._last
        return period <= 1 or self.progress + 1 / Ratio(period) >= 1

    def step(self, period: Ratio | int) -> bool:
        """Make a step, of which ``period`` lead from one time to the next; whether it is time."""
        if period <= 1:
            self._begin(Ratio(0), Ratio(1))
            return True
        if period != self._period:
            self._begin(self.progress, period)
        self._count += 1
        if self._count < self._last:
            return False
        self._begin(self.progress - 1, period)
        return True

    def get_state(self) -> list[int]:
        """Plain data."""
        return list(self.progress.as_integer_ratio())

    def set_state(self, state: list[int]) -> None:
        """Go on from ``get_state``."""
        self._begin(Ratio(*map(int, state)), Ratio(1))


class Owed:
    """Updates that are due for env steps; the part of one that is left is owed later, exactly.

    While the period stays, this is counting in whole numbers.
    """

    def __init__(self, total: Ratio | int = 0) -> None:
        self._period = Ratio(1)
        self._parts: Ratio | int = Ratio(total)
        """Of an update that is as many parts as the period's numerator."""

    @property
    def total(self) -> Ratio:
        """What is due, in updates."""
        return Ratio(self._parts) / self._period.numerator

    def add(self, num_env_steps: int, period: Ratio) -> None:
        """There are so many more, of which ``period`` make an update due."""
        if period is not self._period and period != self._period:
            parts = self.total * period.numerator
            self._parts = int(parts) if parts.denominator == 1 else parts
            self._period = period
        self._parts += num_env_steps * period.denominator

    def take(self) -> int:
        """How many whole updates are due; the rest is still owed."""
        whole, self._parts = divmod(self._parts, self._period.numerator)
        return int(whole)
