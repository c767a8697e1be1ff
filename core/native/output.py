"""What workers print, on its way to the driver's terminal.

A terminal or pipe may block for as long as its reader likes. So printing has a thread of its own,
and whoever holds the runtime's lock only queues.

A line that many workers print at about the same time is shown once, and a little later how often
it has come since: see `Folder`.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from rllib.core import logs

MAX_LINE = 1 << 18
"""Bytes; what is longer is shown in parts."""
MAX_WAITING = 16 << 20
"""Bytes of output that wait to be told to another process; see `Valve`."""
_MAX_QUEUED = 128 << 20
"""Characters that wait for the terminal."""
_PATIENCE_S = 1.0
FOLD_S = 5.0
"""How long a line is remembered after it was shown."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of output, and which process of what kind has printed it."""

    text: str
    label: str = ""
    pid: int = 0
    bare: bool = False
    """Whether the text alone is shown."""
    left_out: int = 0
    """In place of so many lines, which came faster than they could be shown."""

    def __str__(self) -> str:
        named = self.label and not self.bare
        text = self.text
        if self.left_out:
            text = f"[{self.left_out:,} lines left out: they came faster than they could be shown]"
        return f"({self.label} pid={self.pid}) {text}" if named else text


Source = TypeVar("Source", bound=Hashable)
"""Whose output it is, and for whom."""


class Valve(Generic[Source]):
    """Lets output through until too much waits to be shown, then none of it until nothing waits.

    So what is left out is a piece, in whose place its length is told, and not every other line.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._left: dict[Source, int] = {}
        self.closed = False

    def lets_through(self, source: Source, waiting: int, left_out: int = 0) -> bool:
        """Whether a line goes through while so much waits, or what comes in place of ``left_out``
        lines. They are counted if not."""
        self.closed = self.closed or waiting > self._most
        if self.closed:
            self._left[source] = self._left.get(source, 0) + (left_out or 1)
        return not self.closed

    def open(self) -> list[tuple[Source, int]]:
        """Nothing waits: how many lines were left out of whose output."""
        self.closed = False
        left, self._left = self._left, {}
        return list(left.items())


@dataclass(slots=True)
class _Repeated:
    first_pid: int
    until: float
    last: Line
    count: int = 0


class Folder:
    """Folds identical lines of several processes.

    Times are seconds of any clock. What one process prints again and again is shown each time: it
    may be a progress that somebody watches.
    """

    def __init__(self, window_s: float = FOLD_S) -> None:
        self._window_s = window_s
        self._recent: dict[tuple[str, str], _Repeated] = {}

    def take(self, line: Line, now: float) -> list[str]:
        """What is to be printed now that ``line`` has come."""
        shown = self.due(now)
        key = line.label, line.text
        seen = self._recent.get(key)
        if not line.label or not line.text.strip():
            shown.append(str(line))
        elif seen is None:
            self._recent[key] = _Repeated(line.pid, now + self._window_s, line)
            shown.append(str(line))
        elif line.pid == seen.first_pid:
            shown.append(str(line))
        else:
            seen.last, seen.count = line, seen.count + 1
        return shown

    def due(self, now: float) -> list[str]:
        """Summaries of lines whose time is over."""
        over = [key for key, seen in self._recent.items() if seen.until <= now]
        return [text for key in over for text in self._summary(self._recent.pop(key))]

    def rest(self) -> list[str]:
        """All summaries, at the end."""
        return self.due(float("inf"))

    def next_due(self) -> float | None:
        """When something is to be said even if no line comes."""
        return min((seen.until for seen in self._recent.values() if seen.count), default=None)

    @staticmethod
    def _summary(seen: _Repeated) -> list[str]:
        if not seen.count:
            return []
        times = f" [repeated {seen.count}x across workers]" if seen.count > 1 else ""
        return [f"{seen.last}{times}"]


class Printer:
    """Prints lines to this process's ``sys.stderr``, in order; without a folder, each of them."""

    def __init__(self, folder: Folder | None = None) -> None:
        self._lines: queue.SimpleQueue[Line | str | None] = queue.SimpleQueue()
        self._folder = folder
        self._valve = Valve[Line](_MAX_QUEUED)
        self._queued = 0  # characters, counted by whoever shows lines
        self._printed = 0  # of these, counted by the thread
        self._thread = threading.Thread(target=self._work, name="rllib-output", daemon=True)
        self._thread.start()

    def show(self, line: Line) -> None:
        """Queue a line; where a terminal does not take what is queued, it is left out."""
        waiting = self._queued - self._printed
        if not waiting:
            self._tell_left_out()
        source = Line("", line.label, line.pid, line.bare)
        if self._valve.lets_through(source, waiting, line.left_out):
            self._put(line)

    def _put(self, line: Line) -> None:
        self._queued += len(line.text)
        self._lines.put(line)

    def _tell_left_out(self) -> None:
        for source, count in self._valve.open():
            self._put(replace(source, left_out=count))

    def warn(self, text: str) -> None:
        """Queue what the runtime itself has to say."""
        self._lines.put(text)

    def _work(self) -> None:
        folder = self._folder
        while True:
            try:
                line = self._lines.get(timeout=self._time_left())
            except queue.Empty:
                _print([] if folder is None else folder.due(time.monotonic()))
                continue
            if line is None:
                break
            if isinstance(line, str):
                with contextlib.suppress(OSError, ValueError):  # as in `_print`
                    logs.warn(line)
            else:
                _print([str(line)] if folder is None else folder.take(line, time.monotonic()))
                self._printed += len(line.text)
        _print([] if folder is None else folder.rest())

    def _time_left(self) -> float | None:
        due = None if self._folder is None else self._folder.next_due()
        return None if due is None else max(0.0, due - time.monotonic())

    def close(self) -> None:
        """Print what is queued, unless the terminal blocks."""
        self._tell_left_out()
        self._lines.put(None)
        self._thread.join(_PATIENCE_S)


def _print(lines: list[str]) -> None:
    for line in lines:
        # A closed or broken stderr leaves nowhere to complain to.
        with contextlib.suppress(OSError, ValueError):
            print(line, file=sys.stderr, flush=True)
