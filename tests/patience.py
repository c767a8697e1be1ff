"""Waiting for what other processes do, with a deadline and without blind sleeping."""

import threading
import time
from collections.abc import Callable
from typing import Any

import psutil

SOON_S = 10.0
"""What is bound to happen happens in milliseconds; the bound is for machines that are busy."""


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
