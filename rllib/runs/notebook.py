"""What a run says in a notebook: a bar that fills in the output of the cell, and figures below it.

It is one output that is shown anew, by IPython alone: nothing has to be installed in the browser,
and the file of the notebook keeps how it looked last.
"""

import sys
import time
from html import escape
from typing import Any

from rllib.runs.console import Console, Output
from rllib.runs.progress import Progress, sparkline
from rllib.runs.record import Metrics

SHOW_EVERY_S = 0.25
BARS = 60
"""Characters that the course of returns may take."""


def console_here() -> Console:
    """For the cell of a notebook if this is one, else for terminals and files."""
    return NotebookConsole() if in_notebook() else Console()


def in_notebook() -> bool:
    """Whether a front end shows what this process displays: Jupyter, Colab, an editor.

    IPython in a terminal has no kernel; where nobody has imported IPython, none runs.
    """
    module: Any = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return getattr(shell, "kernel", None) is not None


class NotebookConsole(Console):
    """Messages as text, and progress as one output that changes."""

    def __init__(self) -> None:
        # Rich would make an output of each line; as text they are one.
        super().__init__(Output(highlight=False, soft_wrap=True, force_jupyter=False))
        self._output: Any = None  # IPython's handle of what is displayed
        self._shown_at = 0.0

    def note(self, text: str) -> None:
        """Say something from within a signal handler, or from another thread."""
        self._note = text
        if self._output is None:
            print(text, file=sys.stderr)

    def begin(self, progress: Progress) -> None:
        """Show this progress from now on."""
        from IPython import display

        self._progress = progress
        show: Any = display.display  # it has no annotations
        self._output = show(self, display_id=True)
        self._shown_at = time.monotonic()

    def update(self, metrics: Metrics) -> None:
        """Show a new result, unless another one was shown just now."""
        assert self._progress is not None, "begin() comes first"
        now = time.monotonic()
        self._progress.update(metrics, now)
        self._unprinted = True
        if now - self._shown_at >= SHOW_EVERY_S:
            self._show(now)

    def _show(self, now: float) -> None:
        self._shown_at, self._unprinted = now, False
        if self._output is not None:
            self._output.update(self)

    def end(self) -> None:
        """Leave the last result in the cell."""
        if self._progress is not None and self._unprinted:
            self._show(time.monotonic())
        self._progress = self._output = None

    def __repr__(self) -> str:
        """What front ends show that have no HTML, and readers of the notebook's file."""
        if self._progress is None:
            return super().__repr__()
        return self._progress.line(time.monotonic())

    def _repr_html_(self) -> str | None:
        if self._progress is None:
            return None
        return view(self._progress, time.monotonic(), self._note)


def view(progress: Progress, now: float, note: str = "") -> str:
    """The bar and the figures at a time (s), as HTML."""
    facts = progress.facts(now)
    share = progress.share
    amount = "" if share is None else f' value="{share:.4f}"'
    percent = "" if share is None else f"{share:.0%}"
    rows = [_row(label, text) for label, text in facts.items()]
    if progress.returns:
        rows.append(_row("returns", sparkline(progress.returns, BARS)))
    rows += [_row("", note)] if note else []
    bar = f'<progress max="1"{amount} style="width:24em"></progress> {percent}'
    return f"<div>{bar}<table>{''.join(rows)}</table></div>"


def _row(label: str, text: str) -> str:
    left = 'style="text-align:left"'
    return f"<tr><td {left}>{escape(label)}</td><td {left}>{escape(text)}</td></tr>"
