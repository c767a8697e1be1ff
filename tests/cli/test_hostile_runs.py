"""A run's folder from somebody else: nothing outside it is touched, and memory is bounded."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rllib.checkpoints.folder import CheckpointFolder
from rllib.errors import RunError
from rllib.runs.folder import LOCK, hold
from rllib.runs.record import JsonLines, read_json_lines
from rllib.runs.starts import STARTS, read_starts
from rllib.runs.wandb_logger import ID, wandb_id

FILES = (LOCK, "config.yaml", "progress.jsonl", "starts.jsonl", "progress.csv", "mlflow.json")
FOLDERS = ("checkpoints", "tensorboard", "stalls", "profile", "wandb")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / LOCK).touch()
    return folder


def replaced(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink(missing_ok=True)
    make(path)


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("name", [*FILES, *FOLDERS])
def test_links_out_of_the_folder_are_refused(
    tmp_path: Path, run: Path, name: str, fresh: bool
) -> None:
    """Also what would come into being, as the target of a link that leads nowhere."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".profile").write_text("precious")
    for target in (home / ".profile", home, tmp_path / "nowhere"):
        replaced(run / name, lambda path, target=target: path.symlink_to(target))
        with pytest.raises(RunError, match=rf"{name}.*links"), hold(run, keep=1, fresh=fresh):
            pass
    assert (home / ".profile").read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_what_is_no_file_is_not_waited_for(
    run: Path, name: str, make: Callable[[Path], object]
) -> None:
    replaced(run / name, make)
    with pytest.raises(RunError, match=f"{name}: is no plain file"), hold(run, keep=1, fresh=False):
        pass


def test_only_what_writers_of_checkpoints_leave_is_cleaned_away(tmp_path: Path) -> None:
    ours = (
        ".iteration_000000004.77.tmp",
        ".iteration_000000004.77.old",
        ".iteration_000000004.tmp",
        ".iteration_000000004.old",
        ".latest.77.tmp",
        ".best.77.tmp",
    )
    others = (".profile", ".ssh", ".nfs0001", ".iteration_7.77.old.bak")
    for name in (*ours, *others):
        (tmp_path / name).mkdir()
    CheckpointFolder(tmp_path, keep=1).clean()
    assert {path.name for path in tmp_path.iterdir()} == {*others}


@pytest.mark.parametrize("pointer", ["latest", "best"])
def test_of_a_pointer_only_a_name_is_read(tmp_path: Path, pointer: str) -> None:
    folder = CheckpointFolder(tmp_path, keep=1)
    with (tmp_path / pointer).open("wb") as file:
        file.truncate(2**40)  # bytes, of which the disk has none
    assert folder.latest() is None
    assert folder.best() is None
    assert all(len(each) < 1000 for each in folder.contents().pointers.values())


@pytest.mark.parametrize(
    "line",
    [
        '{"training_iteration": "2"}',
        '{"training_iteration": null, "x": 1}',
        '{"training_iteration": 2, "num_env_steps_sampled_lifetime": "many"}',
        '{"training_iteration": 2, "env_runners/episode_return_mean": [1]}',
        '{"training_iteration": 2, "x": NaN}',
        '{"training_iteration": 2, "x": 1e999}',
        '{"training_iteration": 2, "x": true}',
        '{"training_iteration": 2, "x": 1' + 400 * "0" + "}",
        '{"training_iteration": 2, "x": 1' + 5000 * "0" + "}",
        "[2]",
        100_000 * "[",
        "\x00\xff",
    ],
)
def test_a_line_that_is_no_result_is_none(tmp_path: Path, line: str) -> None:
    path = tmp_path / "progress.jsonl"
    good = [{"training_iteration": 1, "x": 0.5}, {"training_iteration": 3, "x": 7}]
    path.write_text(f"{json.dumps(good[0])}\n{line}\n{json.dumps(good[1])}\n", "latin-1")
    assert list(read_json_lines(path)) == good
    JsonLines(path, 3).close()
    assert path.read_text() == "".join(f"{json.dumps(row)}\n" for row in good)


@pytest.mark.parametrize("line", [b"[]", b"7", b"\xff\xfe", 100_000 * b"[", b'{"iteration": 1}'])
def test_a_line_that_is_no_start_is_none(tmp_path: Path, line: bytes) -> None:
    (tmp_path / STARTS).write_bytes(line + b"\n")
    assert read_starts(tmp_path) == []


@pytest.mark.parametrize("text", ["x/../../../victim", "*", "", "0123456789abc", "0123456789AB"])
def test_an_id_that_is_none_is_drawn_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / ID).write_text(text)
    drawn = wandb_id(tmp_path)
    assert drawn.isalnum()
    assert len(drawn) == 12
    assert wandb_id(tmp_path) == drawn
