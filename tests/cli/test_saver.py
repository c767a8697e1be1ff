"""Checkpoints that are written while training goes on, shared in parts, and copied elsewhere."""

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import counting_algo
import fsspec
import numpy as np
import pytest

import rllib.checkpoints.checkpoint as checkpoint_module
import rllib.runs.copies
import rllib.runs.saver
from rllib.checkpoints.checkpoint import MANIFEST, load, save, saved_rows
from rllib.checkpoints.folder import CheckpointFolder, Contents
from rllib.checkpoints.remote import Remote, RemoteError
from rllib.checkpoints.rows import FILE, Piece, Rows, SavedRows, Seal, Segment, unchanged
from rllib.errors import CheckpointError
from rllib.runs.copies import Copies
from rllib.runs.folder import RunFolder
from rllib.runs.loggers import Loggers
from rllib.runs.saver import Saver


@pytest.fixture
def loggers(tmp_path: Path) -> Any:
    made = Loggers(tmp_path, after_iteration=0)
    yield made
    made.close()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def saver(tmp_path: Path, loggers: Loggers, told: list[str]) -> Saver:
    algo: Any = counting_algo.Counting(counting_algo.CountingConfig())
    algo.train()
    checkpoints = CheckpointFolder(tmp_path / "checkpoints", keep=2)
    copies = Copies(checkpoints, None, told.append)
    return Saver(algo, checkpoints, loggers, copies, told.append)


def written(saver: Saver) -> None:
    """Wait until what is being written is written."""
    assert saver._writing is not None
    saver._writing.exception(timeout=60)


def test_training_goes_on_while_a_checkpoint_is_written(
    saver: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, may_end = threading.Event(), threading.Event()
    write = checkpoint_module._write_tensors

    def slowly(path: Path, tensors: Any) -> None:
        writing.set()
        assert may_end.wait(60)
        write(path, tensors)

    monkeypatch.setattr(checkpoint_module, "_write_tensors", slowly)
    saver.begin(None)
    assert writing.wait(60)
    saver._algo.train()  # what is written is a copy of before
    assert not saver.settle()
    assert saver._checkpoints.latest() is None
    may_end.set()
    written(saver)
    assert saver.settle()
    latest = saver._checkpoints.latest()
    assert latest == saver._checkpoints.path_for(1)
    assert load(latest)[0]["iteration"] == 1
    saver.finish(None)
    assert saver._checkpoints.latest() == saver._checkpoints.path_for(2)


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_refuses_is_told_of_once_and_the_last_good_one_stays(
    saver: Saver, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    saver.finish(None)
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_module, "sync_file", full)
        for _ in range(2):
            saver._algo.train()
            saver.begin(None)
            written(saver)
            assert saver.settle()
        assert len(told) == 1
        assert "a checkpoint is left out: " in told[0]
        assert "No space left on device" in told[0]
        assert saver._checkpoints.latest() == saver._checkpoints.path_for(1)
        with pytest.raises(CheckpointError, match="No space left"):
            saver.finish(None)
    saver.finish(None)
    assert saver._checkpoints.latest() == saver._checkpoints.path_for(3)


def test_a_state_that_cannot_be_saved_ends_training(
    saver: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saver._algo, "iteration", object())
    monkeypatch.setattr(saver._checkpoints.__class__, "path_for", lambda self, _: self.path / "x")
    saver.begin(None)
    written(saver)
    with pytest.raises(CheckpointError, match="a object cannot be saved"):
        saver.settle()


def test_the_last_checkpoint_waits_for_the_one_that_is_being_written(saver: Saver) -> None:
    saver.begin(None)
    saver._algo.train()
    saver.finish(None)
    found = saver._checkpoints.all()
    assert found == [saver._checkpoints.path_for(n) for n in (1, 2)]


# Rows that never change.


def segments(*stops: int) -> tuple[Segment, ...]:
    firsts = (0, *stops)
    pieces = [Piece("", first, stop, {}) for first, stop in zip(firsts, stops, strict=False)]
    return tuple(Segment(piece, Seal(0, ""), Path()) for piece in pieces)


@pytest.mark.parametrize(
    ("stops", "oldest", "stop", "most", "kept"),
    [
        ((), 0, 10, 100, ()),
        ((100,), 0, 110, 1000, (100,)),  # the new ones are fewer
        ((100,), 0, 200, 1000, ()),  # as many: one file
        ((100,), 0, 200, 150, (100,)),  # ... which would be too large
        ((200, 250), 0, 310, 1000, (200,)),
        ((200, 250, 270), 0, 300, 1000, (200,)),
        ((100, 150), 100, 160, 1000, (150,)),  # the first are no longer wanted
        ((100, 150), 99, 160, 1000, (100, 150)),
        ((100, 150), 0, 150, 1000, (100, 150)),  # nothing is new
        ((100, 150), 0, 120, 1000, ()),  # of another past
    ],
)
def test_what_is_written_again(
    stops: tuple[int, ...], oldest: int, stop: int, most: int, kept: tuple[int, ...]
) -> None:
    found = unchanged(segments(*stops), oldest, stop, most)
    assert tuple(each.piece.stop for each in found) == kept


def test_a_log_of_many_saves_has_few_files_and_every_row_is_written_a_few_times() -> None:
    there: tuple[Segment, ...] = ()
    num_written = 0
    for stop in range(10, 10_001, 10):
        there = unchanged(there, 0, stop, 10**9)
        first = there[-1].piece.stop if there else 0
        num_written += stop - first
        there = (*there, Segment(Piece("", first, stop, {}), Seal(0, ""), Path()))
    assert len(there) <= 10
    assert num_written <= 11 * 10_000


def rows_of(values: Any, first: int, kept: tuple[Segment, ...] = ()) -> dict[str, Any]:
    fresh = {"first": first, "values": values}
    return {"log": Rows("log", kept, fresh, first, first + len(values))}


def test_checkpoints_share_rows_and_stay_whole_when_others_go(tmp_path: Path) -> None:
    values = np.arange(100.0)
    first = SavedRows(save(tmp_path / "1", rows_of(values[:80], 0), metadata={}))
    kept = first.kept("log", 0, 100, 8)
    save(tmp_path / "2", rows_of(values[80:], 80, kept), metadata={})
    (shared,) = [each.piece.file for each in kept]
    assert (tmp_path / "1" / shared).stat().st_ino == (tmp_path / "2" / shared).stat().st_ino
    for file in (tmp_path / "1").iterdir():
        file.unlink()
    pieces = load(tmp_path / "2")[0]["log"]
    assert [piece["first"] for piece in pieces] == [0, 80]
    np.testing.assert_array_equal(np.concatenate([each["values"] for each in pieces]), values)
    assert [each.num_rows for each in saved_rows(tmp_path / "2")["log"]] == [80, 20]


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM])
def test_where_there_are_no_hard_links_rows_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    kept = save(tmp_path / "1", rows_of(np.zeros(9), 0), metadata={})["log"]
    save(tmp_path / "2", rows_of(np.ones(1), 9, kept), metadata={})
    assert [len(each["values"]) for each in load(tmp_path / "2")[0]["log"]] == [9, 1]


def test_rows_that_are_gone_are_written_again(tmp_path: Path) -> None:
    kept = save(tmp_path / "1", rows_of(np.zeros(9), 0), metadata={})["log"]
    (tmp_path / "1" / kept[0].piece.file).unlink()
    with pytest.raises(CheckpointError, match="No such file"):
        save(tmp_path / "2", rows_of(np.ones(1), 9, kept), metadata={})
    assert not (tmp_path / "2").exists()


def damage(folder: Path, change: Callable[[Path], object]) -> None:
    change(next(path for path in folder.iterdir() if FILE.fullmatch(path.name)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"), "SHA-256"),
        (lambda path: path.write_bytes(b""), "size in bytes"),
        (lambda path: (path.unlink(), path.symlink_to("/etc/passwd")), "not a plain file"),
    ],
)
def test_damaged_rows_are_refused(tmp_path: Path, change: Any, reason: str) -> None:
    save(tmp_path / "1", rows_of(np.zeros(9), 0), metadata={})
    damage(tmp_path / "1", change)
    with pytest.raises(CheckpointError, match=reason):
        load(tmp_path / "1")


# Elsewhere.


@pytest.fixture
def url(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    address = f"{request.param}{tmp_path.name}"
    yield address if request.param == "memory://" else f"file://{tmp_path}/elsewhere"
    fsspec.filesystem("memory").store.clear()
    fsspec.filesystem("memory").pseudo_dirs[:] = [""]


both = pytest.mark.parametrize("url", ["memory://", "file://"], indirect=True)


def published(folder: CheckpointFolder, stop: int, rows: SavedRows) -> SavedRows:
    kept = rows.kept("log", 0, stop, 8)
    first = kept[-1].piece.stop if kept else 0
    state = rows_of(np.arange(first, stop) * 1.0, first, kept)
    rows = SavedRows(save(folder.path_for(stop), state, metadata={}))
    folder.publish(folder.path_for(stop))
    return rows


@both
def test_a_mirror_has_the_same_checkpoints_and_sends_rows_once(tmp_path: Path, url: str) -> None:
    folder, remote = CheckpointFolder(tmp_path / "checkpoints", keep=2), Remote(url)
    progress = tmp_path / "progress.jsonl"
    rows = SavedRows()
    for stop in (80, 100, 110):
        progress.write_text(f"{stop}\n")
        rows = published(folder, stop, rows)
        remote.mirror(folder.contents(), [progress])
    assert remote._names() == {
        "latest",
        "rows",
        "progress.jsonl",
        *(path.name for path in folder.all()),
    }
    assert remote._names("rows") == {
        file.name for path in folder.all() for file in path.iterdir() if FILE.fullmatch(file.name)
    }
    other = CheckpointFolder(tmp_path / "other" / "checkpoints", keep=2)
    assert remote.restore(other, [other.path.parent / "progress.jsonl"])
    latest = other.latest()
    assert latest == other.path_for(110)
    assert sum(len(each["values"]) for each in load(latest)[0]["log"]) == 110
    assert (other.path.parent / "progress.jsonl").read_text() == "110\n"
    remote.clear()
    assert not remote.restore(other, [])


@both
def test_damage_elsewhere_is_noticed(tmp_path: Path, url: str) -> None:
    folder, remote = CheckpointFolder(tmp_path / "checkpoints", keep=2), Remote(url)
    published(folder, 10, SavedRows())
    remote.mirror(folder.contents(), [])
    (name,) = remote._names("rows")
    remote._system.pipe_file(remote._at("rows", name), b"x")
    other = CheckpointFolder(tmp_path / "other", keep=2)
    with pytest.raises(RemoteError, match="damaged or changed: 1 bytes, it should be"):
        remote.restore(other, [])
    assert other.latest() is None


@both
def test_where_the_latest_one_elsewhere_is_damaged_an_older_one_is_fetched(
    tmp_path: Path, url: str
) -> None:
    folder, remote = CheckpointFolder(tmp_path / "checkpoints", keep=2), Remote(url)
    for stop in (10, 20):
        save(folder.path_for(stop), {"n": np.array(stop)}, metadata={})
        folder.publish(folder.path_for(stop))
    remote.mirror(folder.contents(), [])
    where = remote._at("iteration_000000020", "tensors.safetensors")
    size = remote._system.size(where)
    remote._system.pipe_file(where, bytes(size))
    other = CheckpointFolder(tmp_path / "other", keep=2)
    with pytest.warns(RuntimeWarning, match="20: .*SHA-256.*an older checkpoint takes its place"):
        assert remote.restore(other, [])
    assert load(other.path_for(10))[0]["n"] == 10
    assert other.all() == [other.latest()] == [other.path_for(10)]
    with pytest.warns(RuntimeWarning, match="SHA-256"):
        assert not remote.restore(other, [], after=10)
    assert other.all() == [other.path_for(10)]


@both
def test_files_of_two_checkpoints_are_never_under_one_manifest(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at whatever file, the new one is there whole, or none is."""
    remote, back = Remote(url), tmp_path / "back"
    for number in (1, 2):
        save(tmp_path / f"{number}", {"n": np.arange(number)}, metadata={})
    sent, put = [], remote._put
    for last in range(5):
        remote.put(tmp_path / "1")

        def fail(file: Path, name: str, last: int = last) -> None:
            if len(sent) == last:
                raise OSError("killed")
            sent.append(name)
            put(file, name)

        sent.clear()
        monkeypatch.setattr(remote, "_put", fail)
        with contextlib.suppress(RemoteError):
            remote.put(tmp_path / "2")
        monkeypatch.undo()
        shutil.rmtree(back, ignore_errors=True)
        back.mkdir()
        if len(sent) == 4:
            remote.get(back)
            assert len(load(back)[0]["n"]) == 2
        else:
            with pytest.raises(RemoteError, match=r"manifest\.json"):
                remote.get(back)


def test_an_url_that_nobody_knows_is_told() -> None:
    with pytest.raises(RemoteError, match="Protocol not known: nosuch"):
        Remote("nosuch://bucket/runs")


def test_what_cannot_be_reached_costs_copies_and_is_told_of_once(
    saver: Saver, told: list[str]
) -> None:
    def unreachable(contents: Contents) -> None:
        raise RemoteError("s3://bucket: no route to host")

    saver._copies._copy = unreachable
    saver.finish(None)
    saver._algo.train()
    saver.finish(None)
    text = "a checkpoint is not copied: s3://bucket: no route to host; it is here, and training"
    assert told == [f"{text} goes on"]
    assert saver._checkpoints.latest() == saver._checkpoints.path_for(2)


def test_a_copy_that_hangs_keeps_no_checkpoint_from_being_written(
    saver: Saver, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go, seen = threading.Event(), []

    def slow(contents: Contents) -> None:
        seen.append([path.name[-1] for path in contents.checkpoints])
        assert may_go.wait(60)
        assert all((path / MANIFEST).exists() for path in contents.checkpoints)

    saver._copies._copy = slow
    monkeypatch.setattr(rllib.runs.copies, "SLOW_S", 0.0)
    for _ in range(4):
        saver.begin(None)
        written(saver)
        assert saver.settle()
        saver._algo.train()
    here = [saver._checkpoints.iteration_of(path) for path in saver._checkpoints.all()]
    assert here == [1, 3, 4]  # two are kept, and what is on its way
    (text,) = told
    assert "is on its way elsewhere for more than 0 seconds; newer ones are here" in text
    monkeypatch.setattr(rllib.runs.copies, "LAST_S", rllib.runs.copies.SOON_S)
    monkeypatch.setattr(rllib.runs.copies, "SOON_S", 0.0)
    saver.finish(None)
    assert saver._checkpoints.latest() == saver._checkpoints.path_for(5)
    assert told[1].startswith("waiting for checkpoints to be copied")
    assert told[2] == "checkpoints are not copied in 2 seconds; they are here"
    may_go.set()
    saver._copies.wait()
    assert seen == [["1"], ["4", "5"]]
    assert [saver._checkpoints.iteration_of(path) for path in saver._checkpoints.all()] == [4, 5]


@pytest.mark.parametrize("error", [OSError("gone"), CheckpointError("manifest.json: damaged")])
def test_whatever_keeps_a_copy_from_being_made_costs_no_training(
    saver: Saver, told: list[str], error: Exception
) -> None:
    def fail(contents: Contents) -> None:
        raise error

    saver._copies._copy = fail
    saver.finish(None)
    assert told == [f"a checkpoint is not copied: {error}; it is here, and training goes on"]


def test_the_user_hears_what_a_start_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    heard = threading.Event()

    def say(text: str) -> None:
        told.append(text)
        heard.set()

    def restore(*args: Any, **settings: Any) -> bool:
        assert heard.wait(10)
        return True

    monkeypatch.setattr(rllib.runs.copies, "SOON_S", 0.0)
    monkeypatch.setattr(Remote, "restore", restore)
    RunFolder(tmp_path / "run", keep=2).copy_from(f"file://{tmp_path}/far", fresh=False, say=say)
    assert told == [
        f"waiting for file://{tmp_path}/far, where this run may have been copied to",
        f"fetched from file://{tmp_path}/far",
    ]


def test_a_thread_that_hangs_keeps_no_process() -> None:
    never = threading.Event()
    future = rllib.runs.saver.in_thread(never.wait)
    (thread,) = [each for each in threading.enumerate() if each.name == "rllib-saver"]
    assert thread.daemon
    never.set()
    assert future.result(60)
