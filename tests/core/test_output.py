"""Identical lines of several workers are shown once; nothing else is held back."""

import io
import threading

import pytest

from rllib.core.native import output
from rllib.core.native.output import Folder, Line, Printer


def line(pid: int, text: str = "hello", label: str = "task") -> Line:
    return Line(text, label, pid)


def test_a_line_of_many_workers_is_shown_once_and_counted() -> None:
    folder = Folder(window_s=5.0)
    assert folder.take(line(1), 0.0) == ["(task pid=1) hello"]
    assert folder.next_due() is None
    assert folder.take(line(2), 1.0) == []
    assert folder.take(line(3), 2.0) == []
    assert folder.next_due() == 5.0
    assert folder.due(4.9) == []
    assert folder.due(5.0) == ["(task pid=3) hello [repeated 2x across workers]"]
    assert folder.take(line(2), 5.1) == ["(task pid=2) hello"]


def test_one_repetition_is_shown_as_it_is() -> None:
    folder = Folder(window_s=5.0)
    folder.take(line(1), 0.0)
    folder.take(line(2), 0.0)
    assert folder.rest() == ["(task pid=2) hello"]
    assert folder.rest() == []


@pytest.mark.parametrize(
    "other", [line(1), line(2, "hello 2"), line(2, label="Actor"), line(2, "")]
)
def test_what_one_process_repeats_and_what_differs_is_shown(other: Line) -> None:
    folder = Folder()
    folder.take(line(1), 0.0)
    assert folder.take(other, 0.1) == [str(other)]
    assert folder.take(Line("from the runtime"), 0.2) == ["from the runtime"]
    assert folder.take(Line("from the runtime"), 0.3) == ["from the runtime"]


def test_the_printer_says_at_the_end_what_it_has_held_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printer = Printer(Folder())
    for pid in (1, 2, 3):
        printer.show(line(pid))
    printer.close()
    shown = ["(task pid=1) hello", "(task pid=3) hello [repeated 2x across workers]"]
    assert capsys.readouterr().err.splitlines() == shown


def test_a_summary_comes_also_when_nothing_else_does(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer(Folder(window_s=0.01))
    printer.show(line(1))
    printer.show(line(2))
    printer.close()
    assert capsys.readouterr().err.splitlines() == ["(task pid=1) hello", "(task pid=2) hello"]


def test_without_a_folder_every_line_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer()
    for pid in (1, 2):
        printer.show(line(pid))
    printer.close()
    assert capsys.readouterr().err.splitlines() == ["(task pid=1) hello", "(task pid=2) hello"]


class Terminal(io.StringIO):
    """One that takes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = threading.Event()

    def write(self, text: str) -> int:
        self.reads.wait()
        return super().write(text)


def test_of_what_a_terminal_does_not_take_lines_are_left_out_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(output, "_MAX_QUEUED", 100)
    printer = Printer()
    for number in range(20):
        printer.show(line(1, f"line {number:2}".ljust(20)))
    terminal.reads.set()
    printer.close()
    *shown, notice = terminal.getvalue().splitlines()
    assert [each.split()[-1] for each in shown] == ["0", "1", "2", "3", "4", "5"]
    assert notice == "(task pid=1) [14 lines left out: they came faster than they could be shown]"
