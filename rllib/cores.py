"""The cores that this process may use."""

import os


def usable_cores() -> int:
    """How many there are: fewer than the machine has where an affinity says so."""
    get = getattr(os, "sched_getaffinity", None)
    return len(get(0)) if get else os.cpu_count() or 1
