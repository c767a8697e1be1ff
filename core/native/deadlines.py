"""How long there is until a deadline, by the monotonic clock."""

from __future__ import annotations

import time

LONGEST_S = 1e6
"""Polls take no more than two to the 31st milliseconds; who waits longer looks again by then."""


def left(deadline: float | None) -> float | None:
    """Seconds until then; ``None`` where there is no deadline."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def bounded(seconds: float | None) -> float | None:
    """As long, or as long as a system can be asked to wait at once."""
    return None if seconds is None else min(seconds, LONGEST_S)
