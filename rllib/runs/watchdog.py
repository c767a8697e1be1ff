"""Notices when a run makes no progress, writes down what everybody is doing, and acts."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from rllib import stacks

Action = Literal["report", "stop"]
STALLS = "stalls"


class Watchdog:
    """A thread that watches while the context lasts.

    Args:
        folder: of the run; stacks go to files below ``stalls`` in it.
        timeout_s: seconds without progress; ``None`` watches nothing.
        action: "report" tells of it, "stop" ends the run besides, as SIGTERM does.
        tell: says something to the user, from another thread.
        stop: ends the run.
    """

    def __init__(
        self,
        folder: Path,
        timeout_s: float | None,
        action: Action,
        tell: Callable[[str], None],
        stop: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGTERM),
    ) -> None:
        self.folder, self.timeout_s, self.action = folder, timeout_s, action
        self.tell, self.stop = tell, stop
        self._moved = threading.Condition()
        self._count, self._is_over = 0, False
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def progress(self) -> None:
        """Something was done."""
        with self._moved:
            self._count += 1
            self._moved.notify_all()

    def __enter__(self) -> Self:
        if self.timeout_s is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._moved:
            self._is_over = True
            self._moved.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        told = -1
        while (seen := self._await_stall()) is not None:
            if seen != told:
                told = seen  # of one stall there is one report
                self._report()

    def _await_stall(self) -> int | None:
        """How much had been done when nothing was for too long; ``None`` at the end."""
        with self._moved:
            while not self._is_over:
                seen = self._count
                self._moved.wait(self.timeout_s and min(self.timeout_s, threading.TIMEOUT_MAX))
                if seen == self._count and not self._is_over:
                    return seen
        return None

    def _report(self) -> None:
        folder = self.folder / STALLS
        text = f"no progress for {self.timeout_s:g} seconds (stall_timeout_s)"
        path = folder / f"{time.strftime('%Y-%m-%d_%H-%M-%S')}.txt"
        try:
            folder.mkdir(exist_ok=True)
            path.write_text(f"{text}\n\n{stacks.of_all()}")
        except OSError as error:
            self.tell(f"{text}; the stacks cannot be written: {error}")
        else:
            self.tell(f"{text}; what every process is doing is in {path}")
        if self.action == "stop":
            self.stop()
