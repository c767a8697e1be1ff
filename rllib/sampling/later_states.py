"""States that env runners tell when they come to it, while training goes on."""

import threading
import time
from typing import Any

from rllib import core
from rllib.workers import fetch

HURRIED_S = 1.5
"""Seconds that all of them have once there is no time."""
_LOOK_S = 0.05


def take_states(states: dict[str, Any], limit_s: float, hurry: threading.Event) -> None:
    """Put states in the place of their handles; of whoever does not tell in time there is nothing.

    Such an env runner begins new episodes after a restore, as one does in the place of another.

    Args:
        states: handles, by index of the env runner.
        limit_s: seconds to wait for all of them.
        hurry: once it is set, all have ``HURRIED_S`` more at most.
    """
    deadline = _Deadline(limit_s, hurry)
    for index, handle in states.items():
        states[index] = _told(handle, deadline)


class _Deadline:
    def __init__(self, seconds: float, hurry: threading.Event) -> None:
        self._until, self._hurry, self._is_hurried = time.monotonic() + seconds, hurry, False

    def is_over(self) -> bool:
        now = time.monotonic()
        if self._hurry.is_set() and not self._is_hurried:
            self._is_hurried, self._until = True, min(self._until, now + HURRIED_S)
        return now > self._until


def _told(handle: Any, deadline: _Deadline) -> Any:
    while True:
        try:
            return fetch(handle, _LOOK_S)
        except core.exceptions.GetTimeoutError:
            if deadline.is_over():
                return {}
        except Exception:  # it failed: training hears of that, and another one takes its place
            return {}
