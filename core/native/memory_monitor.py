"""Ends a worker before the machine's memory is used up and the system ends something at random.

A thread of the driver looks at the memory in use; above a threshold one worker is ended, and the
next one only when there was time for the memory to be free again. Who depends on the ended one
gets `OutOfMemoryError`, or another run. After Ray's memory monitor and its policy "group by owner"
(docs.ray.io, "Out-Of-Memory Prevention").
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from rllib.core.native.victims import Occupant
from rllib.core.system_config import SystemConfig

PAUSE_S = 1.0
"""Between one end and the next: memory is not free at once."""

_NAMED = 5
_GIB = 1 << 30
_CGROUPS = Path("/sys/fs/cgroup")
_V2 = ("memory.max", "memory.current", "memory.stat", ("inactive_file", "active_file"))
_V1 = (
    "memory/memory.limit_in_bytes",
    "memory/memory.usage_in_bytes",
    "memory/memory.stat",
    ("total_inactive_file", "total_active_file"),
)


_FILL_RATE = 2 * _GIB
"""Bytes per second that a core can fill: what the kernel clears for it page by page."""

_LONGEST_S = 1.0


class Usage(NamedTuple):
    """Memory in bytes."""

    used: int
    total: int

    @property
    def share(self) -> float:
        """What is used of all there is; 0 to 1."""
        return self.used / self.total


def memory_usage(cgroups: Path = _CGROUPS) -> Usage:
    """Of the machine, or of the control group where that has less."""
    system = psutil.virtual_memory()
    machine = Usage(system.total - system.available, system.total)
    group = _of_group(cgroups, *_V2) or _of_group(cgroups, *_V1)
    return group if group and group.total < machine.total else machine


def _of_group(
    root: Path, limit: str, current: str, stat: str, cached: tuple[str, ...]
) -> Usage | None:
    """Files that were read count as used there, but are dropped when memory is wanted."""
    try:
        total = int((root / limit).read_text())  # "max" where there is no limit
        used = int((root / current).read_text())
        rows = dict(line.split() for line in (root / stat).read_text().splitlines())
        return Usage(used - sum(int(rows.get(name, 0)) for name in cached), total)
    except (OSError, ValueError):
        return None


def filling_s(usage: Usage, threshold: float) -> float:
    """How long it takes at least to reach the threshold, in seconds; at most `_LONGEST_S`."""
    headroom = threshold * usage.total - usage.used
    return min(_LONGEST_S, headroom / (_FILL_RATE * (os.cpu_count() or 1)))


def size_of(pid: int) -> int:
    """Memory in bytes that a process has for itself; 0 for one that is gone."""
    try:
        memory = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return max(0, memory.rss - getattr(memory, "shared", 0))


def explain(usage: Usage, threshold: float, occupants: Sequence[Occupant]) -> str:
    """Why one had to end, and what to do."""
    largest = sorted(occupants, key=lambda each: each.size, reverse=True)[:_NAMED]
    named = ", ".join(
        f"{each.name} (pid {each.pid}) {each.size / _GIB:.2f} GiB" for each in largest
    )
    return (
        f"the machine ran out of memory: {usage.used / _GIB:.2f} of {usage.total / _GIB:.2f} GiB "
        f"were in use, which is {usage.share:.0%} and more than {threshold:.0%}. The largest "
        f"workers were {named}. Run fewer at once (num_cpus=, memory=), have each use less, or "
        "change the limit with RLLIB_MEMORY_USAGE_THRESHOLD"
    )


class MemoryMonitor:
    """The thread that looks. ``relieve`` is called with a reading above the threshold, and says
    whether it has ended somebody."""

    def __init__(self, config: SystemConfig, relieve: Callable[[Usage], bool]) -> None:
        self._threshold = config.memory_usage_threshold
        self._refresh_s = config.memory_monitor_refresh_ms / 1000
        self._relieve = relieve
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="rllib-memory", daemon=True)
        if self._refresh_s:
            self._thread.start()

    def _watch(self) -> None:
        quiet_until = pause_s = 0.0
        while not self._stopped.wait(pause_s):
            usage = memory_usage()
            pause_s = max(self._refresh_s, filling_s(usage, self._threshold))
            if usage.share <= self._threshold or time.monotonic() < quiet_until:
                continue
            if self._relieve(usage):
                quiet_until = time.monotonic() + PAUSE_S

    def stop(self) -> None:
        """End the thread. The caller does not hold what ``relieve`` waits for."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
