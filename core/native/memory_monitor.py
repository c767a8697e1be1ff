"""Ends a worker before the machine's memory is used up and the system ends something at random.

A thread of the driver looks at the memory in use; above a threshold one worker is ended, and the
next one only when the memory of that one is free and was not enough. Who depends on the ended one
gets `OutOfMemoryError`, or another run. After Ray's memory monitor and its policy "group by owner"
(docs.ray.io, "Out-Of-Memory Prevention").
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from rllib.core.native.control_groups import MEMBERSHIPS, ROOT, Usage, usages
from rllib.core.native.platform import usable_cores
from rllib.core.native.victims import Occupant
from rllib.core.system_config import SystemConfig

PATIENCE_S = 1.0
"""How long a process may take to give its memory back, before another one is ended as well."""

_NAMED = 5
_GIB = 1 << 30
_FILL_RATE = 2 * _GIB
"""Bytes per second that a core can fill: what the kernel clears for it page by page."""

_LONGEST_S = 1.0
_SHORTEST_S = 0.02
"""Between one look and the next."""
_NEARLY_FULL = 0.75


def memory_usage(root: Path = ROOT, memberships: Path = MEMBERSHIPS) -> Usage:
    """Of the machine, or of the control group that leaves less."""
    system = psutil.virtual_memory()
    machine = Usage(system.total - system.available, system.total)
    groups = [each for each in usages(root, memberships) if each.total < machine.total]
    return min((machine, *groups), key=lambda each: each.left)


def filling_s(usage: Usage, threshold: float) -> float:
    """How long it takes at least to reach the threshold, in seconds; at most `_LONGEST_S`."""
    headroom = threshold * usage.total - usage.used
    return min(_LONGEST_S, headroom / (_FILL_RATE * usable_cores()))


def next_look_s(usage: Usage, threshold: float, refresh_s: float) -> float:
    """Seconds until one has to look again: not before the threshold can be reached, unless that is
    sooner than ``refresh_s``; but where memory is nearly full, well before it can be full."""
    pause_s = max(refresh_s, filling_s(usage, threshold))
    if usage.share < _NEARLY_FULL:
        return pause_s
    return min(pause_s, max(_SHORTEST_S, filling_s(usage, 1.0) / 2))


def size_of(pid: int) -> int:
    """Memory in bytes that a process has for itself; 0 for one that is gone."""
    try:
        memory = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return max(0, memory.rss - getattr(memory, "shared", 0))


def is_there(pid: int) -> bool:
    """Whether a process may still have memory. Its size is 0 long before its pages are free."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


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
    """The thread that looks. ``relieve`` is called with a reading above the threshold, and returns
    the pid of the worker that it has ended, 0 for none."""

    def __init__(self, config: SystemConfig, relieve: Callable[[Usage], int]) -> None:
        self._threshold = config.memory_usage_threshold
        self._refresh_s = config.memory_monitor_refresh_ms / 1000
        self._relieve = relieve
        self._ended, self._patient_until = 0, 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="rllib-memory", daemon=True)
        if self._refresh_s:
            self._thread.start()

    def _watch(self) -> None:
        pause_s = 0.0
        while not self._stopped.wait(pause_s):
            try:
                pause_s = self._look()
            except (OSError, ValueError, psutil.Error):  # out of descriptors, or out of memory
                pause_s = self._refresh_s

    def _look(self) -> float:
        """Seconds until the next one. Raises `OSError` where nothing can be read now."""
        usage = memory_usage()
        if usage.share > self._threshold and not self._is_being_freed():
            self._ended = self._relieve(usage)
            self._patient_until = time.monotonic() + PATIENCE_S
        return next_look_s(usage, self._threshold, self._refresh_s)

    def _is_being_freed(self) -> bool:
        """Whether who was ended last is still there, and may be for a while."""
        return time.monotonic() < self._patient_until and is_there(self._ended)

    def stop(self) -> None:
        """End the thread. The caller does not hold what ``relieve`` waits for."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
