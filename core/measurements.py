"""What processes measure, and how it adds up: records and arithmetic, no I/O.

A process reports what has been measured since its last report; whoever keeps the runtime's table
adds it up. So the table grows with the number of series, not with that of processes, and a counter
does not fall when a process ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Series(NamedTuple):
    """What is measured."""

    kind: str
    """``"counter"``, ``"gauge"`` or ``"histogram"``."""
    name: str
    description: str
    tags: tuple[tuple[str, str], ...]
    """Keys and values, in the order of the metric's ``tag_keys``."""
    boundaries: tuple[float, ...] = ()
    """Of a histogram: upper ends of its buckets, ascending; one more bucket has no end."""


class Measurement(NamedTuple):
    """A value of a series."""

    series: Series
    value: float
    """A counter's total, a gauge's last value, the sum of what a histogram has observed."""
    counts: tuple[int, ...] = ()
    """Of a histogram: the number of observations in each bucket."""


class Measurements:
    """One value a series: totals of counters and histograms, the latest of gauges."""

    def __init__(self) -> None:
        self._latest: dict[Series, Measurement] = {}

    def add(self, new: Measurement) -> None:
        """Add an increment, or take a gauge's new value."""
        old = self._latest.get(new.series)
        if old is not None and new.series.kind != "gauge":
            counts = tuple(map(sum, zip(old.counts, new.counts, strict=False)))
            new = Measurement(new.series, old.value + new.value, counts)
        self._latest[new.series] = new

    def update(self, measurements: Iterable[Measurement]) -> None:
        """Add all."""
        for measurement in measurements:
            self.add(measurement)

    def all(self) -> list[Measurement]:
        """Every series, in the order of appearance."""
        return list(self._latest.values())

    def take(self) -> list[Measurement]:
        """The same, and begin anew."""
        taken = self.all()
        self._latest.clear()
        return taken

    def __len__(self) -> int:
        return len(self._latest)
