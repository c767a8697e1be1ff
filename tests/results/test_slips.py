"""Files that cannot be written, and other slips on the command line: words, and no traceback."""

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rllib.cli import app
from rllib.results.saved import SavedRun


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("evaluate one --video film.xyz", "film.xyz: films are MP4 files; call it film.mp4"),
        ("evaluate one --video nowhere/a.mp4", "there is no folder nowhere"),
        ("compare one --html nowhere/a.html", "nowhere/a.html: No such file or directory"),
        ("compare one --html .", ".: Is a directory"),
        ("plot one --png nowhere/a.png", "nowhere/a.png: No such file or directory"),
        ("plot one --png picture", "picture: name the kind of picture, as in picture.png"),
        ("export one --folder a_file --episodes 1", "a_file: File exists"),
    ],
)
def test_files_that_cannot_be_written(
    line: str,
    words: str,
    one: SavedRun,
    runs_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a_file").touch()
    done = CliRunner().invoke(app, [*shlex.split(line), "--runs-dir", str(runs_dir)])
    assert done.exit_code == 2, done.output
    assert words in done.output
    assert "IQM" not in done.output or "compare" in line  # nothing was played in vain


def test_what_is_no_address() -> None:
    done = CliRunner().invoke(app, ["status", "--address", "nowhere"])
    assert done.exit_code == 2
    assert "address 'nowhere' is not supported" in done.output
