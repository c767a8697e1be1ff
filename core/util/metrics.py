"""Counters, gauges and histograms, of all processes in one table.

::

    steps = Counter("env_steps", description="Steps taken", tag_keys=("env",))
    steps.inc(64, tags={"env": "CartPole-v1"})        # in any task, actor, or the driver
    ...
    for series, value, counts in collect(): ...       # in any of them
    print(prometheus_text())

A recording is an addition in the process's own memory. The process reports what has come together
to the runtime: at the first recording after a quiet second, and then every second until a second
is quiet again, from a thread that ends with it. So what `collect` finds is at most a second old,
and what a killed process loses is its last second. Processes that record the same series under the
same tags add up; of a gauge the last report counts, so tag it where several processes set it.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

from rllib.core import api
from rllib.core.exceptions import RuntimeClosedError
from rllib.core.measurements import Measurement, Measurements, Series
from rllib.core.util.prometheus import exposition

__all__ = [
    "Counter",
    "Gauge",
    "Histogram",
    "Measurement",
    "Series",
    "collect",
    "prometheus_text",
]

REPORT_INTERVAL_S = 1.0

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


class Metric:
    """Base of all metrics. ``tag_keys`` are the tags that every recording has to give, unless
    `set_default_tags` does.

    Picklable. Raises `ValueError` for a name that Prometheus does not allow.
    """

    _kind: str

    def __init__(
        self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None
    ) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"metric name {name!r} must consist of letters, digits, '_' and ':', and not "
                "begin with a digit"
            )
        self._name = name
        self._description = description
        self._tag_keys = _checked_keys(tag_keys or ())
        self._default_tags: dict[str, str] = {}

    def set_default_tags(self, default_tags: Mapping[str, str]) -> Self:
        """Tags of recordings that do not give them; returns the metric itself.

        Raises `ValueError` for unknown keys, `TypeError` for values that are no strings.
        """
        self._default_tags = self._checked_tags(default_tags)
        return self

    @property
    def info(self) -> dict[str, Any]:
        """Name, description, tag keys and default tags."""
        return {
            "name": self._name,
            "description": self._description,
            "tag_keys": self._tag_keys,
            "default_tags": dict(self._default_tags),
        }

    def _series(self, tags: Mapping[str, str] | None, boundaries: tuple[float, ...] = ()) -> Series:
        """The series of a recording. Raises `ValueError` for tags that are unknown or missing."""
        given = {**self._default_tags, **self._checked_tags(tags or {})}
        missing = [key for key in self._tag_keys if key not in given]
        if missing:
            raise ValueError(f"metric {self._name!r} needs values for tags {', '.join(missing)}")
        pairs = tuple((key, given[key]) for key in self._tag_keys)
        return Series(self._kind, self._name, self._description, pairs, boundaries)

    def _checked_tags(self, tags: Mapping[str, str]) -> dict[str, str]:
        for key, value in tags.items():
            if key not in self._tag_keys:
                known = ", ".join(self._tag_keys) or "none"
                raise ValueError(f"metric {self._name!r} has no tag {key!r}; its tags are {known}")
            if not isinstance(value, str):
                raise TypeError(f"tag {key!r} must be a str, got {value!r}")
        return dict(tags)


class Counter(Metric):
    """A total that only grows."""

    _kind = "counter"

    def inc(self, value: float = 1.0, tags: Mapping[str, str] | None = None) -> None:
        """Add ``value``. Raises `ValueError` unless it is positive."""
        _check_number(value)
        if value <= 0:
            raise ValueError(f"counter {self._name!r} can only grow, got an increment of {value}")
        _reporter.record(Measurement(self._series(tags), float(value)))


class Gauge(Metric):
    """A value that goes up and down; the last one counts."""

    _kind = "gauge"

    def set(self, value: float | None, tags: Mapping[str, str] | None = None) -> None:
        """Take ``value``; ``None`` changes nothing."""
        if value is None:
            return
        _check_number(value)
        _reporter.record(Measurement(self._series(tags), float(value)))


class Histogram(Metric):
    """How often values fell into which bucket, and their sum.

    ``boundaries`` are the upper ends of the buckets: positive and ascending.
    """

    _kind = "histogram"

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: Sequence[float] | None = None,
        tag_keys: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(name, description, tag_keys)
        ends = tuple(map(float, boundaries or ()))
        if not ends or ends[0] <= 0 or any(a >= b for a, b in pairwise(ends)):
            raise ValueError(
                f"histogram {name!r} needs boundaries that are positive and ascending, such as "
                f"[0.1, 1.0, 10.0]; got {boundaries}"
            )
        self.boundaries = ends

    @property
    def info(self) -> dict[str, Any]:
        """The same as of every metric, and the boundaries."""
        return {**super().info, "boundaries": list(self.boundaries)}

    def observe(self, value: float, tags: Mapping[str, str] | None = None) -> None:
        """Count ``value`` into its bucket: the first whose upper end is not below it."""
        _check_number(value)
        counts = [0] * (len(self.boundaries) + 1)
        counts[bisect.bisect_left(self.boundaries, value)] = 1
        series = self._series(tags, self.boundaries)
        _reporter.record(Measurement(series, float(value), tuple(counts)))


def _checked_keys(keys: tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(keys, tuple):
        raise TypeError(f"tag_keys must be a tuple of strings, got {type(keys).__name__}")
    for key in keys:
        if not isinstance(key, str):
            raise TypeError(f"tag_keys must be strings, got {key!r}")
    return keys


def _check_number(value: float) -> None:
    if not isinstance(value, (int, float)):
        raise TypeError(f"a metric takes a number, got {value!r}")


# -- from here to the runtime's table --------------------------------------------------------------


class _Reporter:
    """What this process has recorded and not yet reported; see the module's text."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._unreported = Measurements()
        self._following_up = False

    def record(self, measurement: Measurement) -> None:
        """Add it; report at once after a quiet second."""
        with self._lock:
            self._unreported.add(measurement)
            engine = api.current()
            if self._following_up or engine is None:
                return
            self.flush()
            if not engine.serial:
                self._following_up = True
                threading.Thread(target=self._follow_up, name="rllib-metrics", daemon=True).start()

    def _follow_up(self) -> None:
        while self._following_up:
            time.sleep(REPORT_INTERVAL_S)
            with self._lock:
                self._following_up = self.flush()

    def flush(self) -> bool:
        """Report what there is, if there is a runtime; whether there was anything."""
        with self._lock:
            engine = api.current()
            if engine is None or not self._unreported:
                return False
            with contextlib.suppress(RuntimeClosedError):  # it ends: nobody will ask any more
                engine.report(self._unreported.take())
            return True

    def unreported(self) -> list[Measurement]:
        """What a process without a runtime has recorded."""
        with self._lock:
            return self._unreported.all()


_reporter = _Reporter()


def _after_fork() -> None:
    """What the parent has recorded, the parent reports."""
    global _reporter
    _reporter = _Reporter()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# -- reading ---------------------------------------------------------------------------------------


def collect() -> list[Measurement]:
    """All series of all processes of the runtime, each process's up to its last report.

    This process's own are complete. Without a runtime they are all there is.
    """
    _reporter.flush()
    engine = api.current()
    return _reporter.unreported() if engine is None else engine.measurements()


def prometheus_text(measurements: Iterable[Measurement] | None = None) -> str:
    """The text format that Prometheus scrapes: of ``measurements``, or of what `collect` finds."""
    return exposition(collect() if measurements is None else measurements)
