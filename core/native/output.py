"""What workers print, on its way to the driver's terminal.

A terminal or pipe may block for as long as its reader likes. So printing has a thread of its own,
and whoever holds the runtime's lock only queues.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading

_PATIENCE_S = 1.0


class Printer:
    """Prints lines to this process's ``sys.stderr``, in order."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._print, name="rllib-output", daemon=True)
        self._thread.start()

    def show(self, line: str) -> None:
        """Queue a line."""
        self._lines.put(line)

    def _print(self) -> None:
        while (line := self._lines.get()) is not None:
            # A closed or broken stderr leaves nowhere to complain to.
            with contextlib.suppress(OSError, ValueError):
                print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Print what is queued, unless the terminal blocks."""
        self._lines.put(None)
        self._thread.join(_PATIENCE_S)
