"""What a run says to its user: a live view on a terminal, plain lines everywhere else."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console as RichConsole
from rich.live import Live
from rich.table import Table

from rllib.runs.progress import Progress, sparkline
from rllib.runs.record import Metrics
from rllib.runs.silence import write_nowhere

LINE_EVERY_S = 2.0
LABELS = len("episode length") + 2 + 2  # the widest label, and the padding of both columns


class Output(RichConsole):
    """Falls silent when its reader goes (``| head``), where rich would end the program."""

    def on_broken_pipe(self) -> None:
        """Write nowhere from now on."""
        self.quiet = True
        write_nowhere(self.file.fileno())


class Console:
    """Messages and progress on standard output; errors go to standard error.

    Use it as a context: on leaving, the live view ends and the last result stays on the screen.
    """

    def __init__(self, rich: RichConsole | None = None) -> None:
        self._rich = rich or Output(highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._progress: Progress | None = None
        self._printed_at = -LINE_EVERY_S
        self._unprinted = False
        self._note = ""

    def say(self, text: str) -> None:
        """Print a message at once, above the live view if there is one."""
        self._rich.print(text, markup=False)

    def note(self, text: str) -> None:
        """Say something from within a signal handler, where nothing may be printed through rich."""
        self._note = text
        if self._live is not None:
            return
        with contextlib.suppress(OSError):  # nobody reads any more; training must not fail of it
            os.write(sys.stderr.fileno(), f"{text}\n".encode())

    def begin(self, progress: Progress) -> None:
        """Show this progress from now on."""
        self._progress = progress
        if self._rich.is_terminal and not self._rich.is_dumb_terminal:
            self._live = Live(self, console=self._rich, refresh_per_second=4)
            self._live.start()

    def update(self, metrics: Metrics) -> None:
        """Show a new result; plain lines come every few seconds, the first one at once."""
        assert self._progress is not None, "begin() comes first"
        now = time.monotonic()
        self._progress.update(metrics, now)
        if self._live is None and now - self._printed_at >= LINE_EVERY_S:
            self._print_line(now)
        else:
            self._unprinted = True

    def _print_line(self, now: float) -> None:
        assert self._progress is not None
        self.say(self._progress.line(now))
        self._printed_at, self._unprinted = now, False

    def end(self) -> None:
        """End the live view, or print the last line if it was held back."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        elif self._progress is not None and self._unprinted:
            self._print_line(time.monotonic())
        self._progress, self._unprinted = None, False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def __rich__(self) -> Table:
        """The live view."""
        assert self._progress is not None
        table = Table.grid(padding=(0, 2))
        for label, text in self._progress.facts(time.monotonic()).items():
            table.add_row(f"[dim]{label}[/dim]", text)
        if self._rich.encoding.startswith("utf"):
            width = max(1, min(40, self._rich.width - LABELS))
            table.add_row("[dim]returns[/dim]", sparkline(self._progress.returns, width))
        if self._note:
            table.add_row("", self._note)
        return table


class JsonConsole(Console):
    """For programs: every message and every result is one line of JSON on standard output.

    ``{"event": "message", "text": ...}`` and ``{"event": "result", ...}`` with the metrics of
    ``progress.jsonl`` and, once it can be foretold, ``seconds_left``.
    """

    def say(self, text: str) -> None:
        """Print a message at once."""
        self._print("message", {"text": text})

    def begin(self, progress: Progress) -> None:
        """Print results from now on."""
        self._progress = progress

    def update(self, metrics: Metrics) -> None:
        """Print a new result, each of them."""
        assert self._progress is not None, "begin() comes first"
        now = time.monotonic()
        self._progress.update(metrics, now)
        left = self._progress.seconds_left(now)
        self._print("result", metrics | ({} if left is None else {"seconds_left": round(left, 1)}))

    def _print(self, event: str, fields: Mapping[str, Any]) -> None:
        self._rich.out(json.dumps({"event": event, **fields}), highlight=False)


def complain(text: str) -> None:
    """Print an error to standard error."""
    Output(file=sys.stderr, highlight=False, soft_wrap=True).print(text, markup=False)
