"""Waiting for what other processes do, with a deadline and without blind sleeping."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from rllib.core.native import platform

SOON_S = 10.0
"""What is bound to happen happens in milliseconds; the bound is for machines that are busy."""


def patience(seconds: float) -> float:
    """So long on a machine with nothing else to do, and longer the more wants to run on it."""
    return seconds * (1 + os.getloadavg()[0] / platform.usable_cores())


def wait_until(happened: Callable[[], Any], seconds: float = SOON_S) -> None:
    """Return as soon as ``happened()``; an `AssertionError` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        threading.Event().wait(0.002)


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended but was not yet waited for does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def freeze(pid: int) -> None:
    """Have a process do nothing more until ``SIGCONT``. The signal alone returns at once, and the
    threads go on until each has heard of it, which takes time on a machine that is busy."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: _states_of_threads(pid) == {"T"})


def _states_of_threads(pid: int) -> set[str]:
    """Of those that have not ended in the meantime."""
    found = set()
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found.add(stat.read_text().rpartition(")")[2].split()[0])
    return found
