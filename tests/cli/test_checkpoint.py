"""Checkpoint files: what goes in comes out, and what was damaged or forged does not come in."""

import contextlib
import errno
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rllib.checkpoints.checkpoint as checkpoint_module
from rllib.checkpoints.checkpoint import FILES, MANIFEST, STATE, TENSORS, load, load_metadata, save
from rllib.checkpoints.folder import CheckpointFolder
from rllib.errors import CheckpointError

ARRAYS = {
    "f32": np.arange(6, dtype=np.float32).reshape(2, 3),
    "f64": np.array(2.5),
    "i64": np.array([-1, 2**62]),
    "u8": np.zeros(0, dtype=np.uint8),
    "bool": np.array([True, False]),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "big_endian": np.array([1.0, 2.0], dtype=">f8"),
}


def some_state() -> dict[str, Any]:
    return {
        "arrays": dict(ARRAYS),
        "torch": {"weight": torch.ones(2, 2, requires_grad=True), "rng": torch.get_rng_state()},
        "numpy_rng": np.random.default_rng(0).bit_generator.state,
        "scalars": [1, 2.5, None, True, "text", float("inf")],
        "a/b": {"~": np.float32(0.5), "": 2**200},
    }


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint"
    save(path, some_state(), metadata={"iteration": 3})
    return path


def test_a_state_comes_back_as_it_was(saved: Path) -> None:
    state, metadata = load(saved)
    expected = some_state()
    assert metadata == load_metadata(saved) == {"iteration": 3}
    for name, array in ARRAYS.items():
        found = state["arrays"][name]
        np.testing.assert_array_equal(found, array)
        assert (found.shape, found.dtype) == (array.shape, array.dtype.newbyteorder("="))
        assert found.flags.writeable
    np.testing.assert_array_equal(state["torch"]["weight"], np.ones((2, 2)))
    np.testing.assert_array_equal(state["torch"]["rng"], torch.get_rng_state().numpy())
    for name in ("numpy_rng", "scalars", "a/b"):
        assert state[name] == expected[name]


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
keys = st.text().filter(lambda key: not key.startswith("$"))
trees = st.recursive(
    leaves | st.integers(0, 9).map(np.arange),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


def as_lists(tree: Any) -> Any:
    if isinstance(tree, np.ndarray):
        return ("array", tree.tolist())
    if isinstance(tree, list):
        return [as_lists(value) for value in tree]
    return {key: as_lists(value) for key, value in tree.items()} if isinstance(tree, dict) else tree


@settings(max_examples=50)
@given(st.dictionaries(keys, trees))
def test_any_tree_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("any") / "checkpoint"
    save(path, tree, metadata={})
    assert as_lists(load(path)[0]) == as_lists(tree)


@pytest.mark.parametrize(
    ("leaf", "reason"),
    [
        (object(), r"state\['/x/y'\]: a object cannot be saved"),
        ({1: 2}, r"state\['/x/y'\]: the key 1 should be a string"),
        ({"$tensor": "a"}, "may not begin with"),
        (np.array([object()]), "an array of object cannot be saved"),
        (np.array(["text"]), "cannot be saved"),
        (torch.zeros(1, dtype=torch.bfloat16), "cannot be saved"),
        (lambda: None, "cannot be saved"),
    ],
)
def test_what_cannot_be_saved_is_named_and_leaves_nothing(
    tmp_path: Path, leaf: object, reason: str
) -> None:
    with pytest.raises(CheckpointError, match=reason):
        save(tmp_path / "new", {"x": {"y": leaf}}, metadata={})
    assert list(tmp_path.iterdir()) == []


def test_paths_of_tensors_never_collide(tmp_path: Path) -> None:
    tree = {"": {"a": np.array(1)}, "a": np.array(2), "/a": np.array(3), "~1a": np.array(4)}
    save(tmp_path / "checkpoint", tree, metadata={})
    assert as_lists(load(tmp_path / "checkpoint")[0]) == as_lists(tree)


def test_a_state_that_contains_itself_cannot_be_saved(tmp_path: Path) -> None:
    state: dict[str, Any] = {}
    state["self"] = state
    with pytest.raises(CheckpointError, match="nested too deeply, or contains itself"):
        save(tmp_path / "checkpoint", state, metadata={})


# Damage.


@pytest.mark.parametrize("name", [MANIFEST, *FILES])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_refused(saved: Path, name: str, share: float) -> None:
    file = saved / name
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    with pytest.raises(CheckpointError, match=name):
        load(saved)


def test_every_flipped_bit_of_the_data_is_noticed(saved: Path) -> None:
    random = np.random.default_rng(0)
    for name in FILES:
        file, good = saved / name, (saved / name).read_bytes()
        for position in random.choice(len(good), size=min(40, len(good)), replace=False):
            bad = bytearray(good)
            bad[position] ^= 1 << int(random.integers(8))
            file.write_bytes(bad)
            with pytest.raises(CheckpointError, match="damaged or changed: SHA-256"):
                load(saved)
        file.write_bytes(good)
    load(saved)


def test_a_flipped_bit_of_the_manifest_is_noticed_or_harmless(saved: Path) -> None:
    file, good = saved / MANIFEST, (saved / MANIFEST).read_bytes()
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 4
        file.write_bytes(bad)
        try:
            state, _ = load(saved)
        except CheckpointError:
            continue
        np.testing.assert_array_equal(state["arrays"]["f32"], ARRAYS["f32"])


@pytest.mark.parametrize("name", [MANIFEST, *FILES])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: No such file"):
        load(saved)


# Forgery: the checksums are right, the content is not.


def reseal(folder: Path) -> None:
    names = json.loads((folder / MANIFEST).read_text())["files"]
    seals = {name: checkpoint_module._seal_of(folder / name) for name in names}
    (folder / MANIFEST).write_bytes(checkpoint_module._manifest_json(seals))


def forge_manifest(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | changes))


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "state.json/../x", "evil.pkl", "", "a\x00b"]
)
def test_a_manifest_cannot_name_other_files(saved: Path, name: str) -> None:
    files = json.loads((saved / MANIFEST).read_text())["files"]
    forge_manifest(saved, files=files | {name: files[STATE]})
    with pytest.raises(CheckpointError, match="which is no file of a checkpoint"):
        load(saved)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "other"}, "not a checkpoint of rllib"),
        (
            {"version": 3},
            "format version 3, this rllib reads 1 and 2; use the release that wrote it",
        ),
        ({"files": {}}, "does not list 'metadata.json'"),
        ({"files": 3}, "damaged"),
        ({"files": {"state.json": {"bytes": "x", "sha256": 1}}}, "damaged"),
        ({"more": 1}, "damaged"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(
    saved: Path, changes: dict[str, object], reason: str
) -> None:
    forge_manifest(saved, **changes)
    with pytest.raises(CheckpointError, match=reason):
        load(saved)


@pytest.mark.parametrize("text", ["[]", "3", "null", "{", "[" * 100_000, '{"format": 1}', "\xff"])
def test_a_manifest_that_is_none_is_refused(saved: Path, text: str) -> None:
    (saved / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(CheckpointError, match=MANIFEST):
        load(saved)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("[]", "should be a mapping"),
        ("{", "damaged"),
        ('{"a":' + "[" * 100_000, "damaged"),
        ('{"a":' + "[" * 700 + "]" * 700 + "}", "damaged"),
        ('{"a": {"$tensor": "nothing"}}', "the tensor 'nothing' is missing"),
        ('{"a": {"$tensor": ["x"]}}', "is missing"),
        ('{"a": ' + "9" * 5000 + "}", "damaged"),
        ("{}", "is no part of the state"),
    ],
)
def test_a_forged_state_is_refused(saved: Path, state: str, reason: str) -> None:
    (saved / STATE).write_text(state)
    reseal(saved)
    with pytest.raises(CheckpointError, match=reason):
        load(saved)


def forged_tensors(header: dict[str, Any] | bytes, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 8,
        (2**63).to_bytes(8, "little"),
        (2**62).to_bytes(8, "little") + b"{}",
        forged_tensors(b"{" * 1000),
        forged_tensors({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}, b"1234"),
        forged_tensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**40]}}, b"1234"),
        forged_tensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, b"1234"),
        forged_tensors({"a": {"dtype": "X", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
        pickle.dumps(ARRAYS),
    ],
)
def test_forged_tensors_are_refused(saved: Path, content: bytes) -> None:
    (saved / TENSORS).write_bytes(content)
    reseal(saved)
    with pytest.raises(CheckpointError, match="no valid tensors"):
        load(saved)


class Canary:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", [MANIFEST, *FILES, "extra.pkl"])
def test_nothing_is_ever_unpickled(saved: Path, tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    (saved / name).write_bytes(pickle.dumps(Canary(canary)))
    if name in FILES:
        reseal(saved)
    if name == "extra.pkl":
        load(saved)  # a stranger in the folder is not even looked at
    else:
        with pytest.raises(CheckpointError):
            load(saved)
    assert not canary.exists()


@pytest.mark.parametrize("name", [MANIFEST, *FILES])
def test_links_and_pipes_in_place_of_files_are_refused(
    saved: Path, tmp_path: Path, name: str
) -> None:
    (saved / name).rename(tmp_path / "elsewhere")
    (saved / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="not a plain file"):
        load(saved)
    (saved / name).unlink()
    os.mkfifo(saved / name)  # reading it would wait for ever
    with pytest.raises(CheckpointError, match="not a plain file"):
        load(saved)


def test_a_file_larger_than_memory_is_refused_unread(saved: Path) -> None:
    with (saved / TENSORS).open("r+b") as file:
        file.truncate(2**43)  # sparse: takes no disk
    manifest = json.loads((saved / MANIFEST).read_text())
    manifest["files"][TENSORS]["bytes"] = 2**43
    (saved / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="bytes of memory are free"):
        load(saved)


def test_json_above_the_limit_is_refused_unread(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_module, "MAX_JSON_BYTES", 600)
    with pytest.raises(CheckpointError, match=r"state.json: .* bytes, the limit is 600"):
        load(saved)
    with pytest.raises(CheckpointError, match="hold large data in arrays"):
        save(saved, {"x": "y" * 1000}, metadata={})


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such checkpoint"),
        (lambda path: path.write_bytes(b"PK\x03\x04"), "a checkpoint is a folder"),
        (lambda path: path.mkdir(), "manifest.json: No such file"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, make: Any, reason: str) -> None:
    make(tmp_path / "thing")
    with pytest.raises(CheckpointError, match=reason):
        load(tmp_path / "thing")


# Writing.


def test_a_checkpoint_is_replaced_but_nothing_else_is(saved: Path, tmp_path: Path) -> None:
    save(saved, {"n": 2}, metadata={})
    assert load(saved)[0] == {"n": 2}
    (tmp_path / "empty").mkdir()
    save(tmp_path / "empty", {"n": 3}, metadata={})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(CheckpointError, match="exists and is no checkpoint; it is left as it is"):
        save(tmp_path / "mine", {}, metadata={})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "empty", "mine"]


@pytest.mark.parametrize("step", ["write_durably", "save_file", "sync_file", "sync_folder"])
def test_a_full_disk_leaves_the_last_good_checkpoint(
    saved: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint_module, step, fail)
    with pytest.raises(CheckpointError, match=r"No space left on device.*needs .* are free"):
        save(saved, {"n": 2}, metadata={})
    assert load(saved)[1] == {"iteration": 3}
    assert [path.name for path in saved.parent.iterdir()] == ["checkpoint"]


WRITER = """
import sys, itertools
import numpy as np
from rllib.checkpoints.folder import CheckpointFolder
from rllib.checkpoints.checkpoint import save
from pathlib import Path
folder = CheckpointFolder(Path(sys.argv[1]), keep=2)
for n in itertools.count(1):
    path = folder.path_for(n)
    save(path, {"n": n, "array": np.full(50_000, n)}, metadata={"n": n})
    folder.publish(path)
    print(n, flush=True)
"""


def test_killed_at_any_moment_the_latest_checkpoint_is_good(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=2)
    for trial in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder.path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(trial + 1):
                said = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
        latest = folder.latest()
        assert latest is not None
        state, metadata = load(latest)
        assert metadata["n"] == state["n"] == CheckpointFolder.iteration_of(latest) >= said
        assert (state["array"] == state["n"]).all()
        folder.clean()
        names = {path.name for path in folder.path.iterdir()}
        assert names <= {"latest", *(path.name for path in folder.all())}
        shutil.rmtree(folder.path)


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_checkpoint_that_is_replaced_is_there_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    """The process is killed between any two calls that change a name."""
    if not can_exchange:
        monkeypatch.setattr(checkpoint_module, "exchange", lambda *_: False)
    rename, path, seen = Path.rename, tmp_path / "checkpoint", []
    save(path, {"n": 1}, metadata={})

    def looked_at(source: Path, target: Path) -> Path:
        found = rename(source, target)
        seen.append(load(path)[0]["n"])
        if len(seen) == kill_at:
            raise KeyboardInterrupt
        return found

    for kill_at in (1, 2):
        seen.clear()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", looked_at)
            patch.setattr(checkpoint_module.shutil, "rmtree", lambda *_, **__: None)
            with contextlib.suppress(KeyboardInterrupt):
                save(path, {"n": 2}, metadata={})
        assert seen == ([] if can_exchange else [1, 2][:kill_at])
        shutil.rmtree(tmp_path / f".checkpoint.{os.getpid()}.tmp", ignore_errors=True)
        assert load(path)[0]["n"] in (1, 2)
        save(path, {"n": 1}, metadata={})
        assert [each.name for each in tmp_path.iterdir()] == ["checkpoint"]


def test_a_run_gives_what_had_stepped_aside_its_name_back(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=2)
    published(folder, 1, 2)
    folder.path_for(2).rename(folder.path / ".iteration_000000002.77.old")
    shutil.copytree(folder.path_for(1), folder.path / ".iteration_000000001.78.old")
    folder.clean()
    assert folder.all() == [folder.path_for(1), folder.path_for(2)]
    assert not list(folder.path.glob(".*"))


# The checkpoints of a run.


def published(folder: CheckpointFolder, *iterations: int) -> None:
    for iteration in iterations:
        save(folder.path_for(iteration), {"n": iteration}, metadata={})
        folder.publish(folder.path_for(iteration))


def test_the_newest_are_kept_and_the_latest_is_known(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=2)
    assert folder.latest() is None
    published(folder, 1, 2, 10)
    assert folder.all() == [folder.path_for(2), folder.path_for(10)]
    assert folder.latest() == folder.path_for(10)
    assert folder.iteration_of(folder.path_for(10)) == 10


def test_the_best_is_kept_however_old_it_is(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=1)
    assert folder.best() is None
    scores = {1: None, 2: 5.0, 3: 4.0, 4: 5.0, 5: -1.0, 6: None}
    kept = {}
    for iteration, score in scores.items():
        path = folder.path_for(iteration)
        save(path, {"n": iteration}, metadata={})
        folder.publish(path, score)
        kept[iteration] = [folder.iteration_of(each) for each in folder.all()]
    # Of two that are equally good the newer one.
    assert kept == {1: [1], 2: [2], 3: [2, 3], 4: [4], 5: [4, 5], 6: [4, 6]}
    assert folder.best() == folder.path_for(4)
    assert folder.latest() == folder.path_for(6)


def test_a_best_one_that_was_overtaken_is_none(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=2)
    for iteration, score in ((1, 1.0), (9, 9.0)):
        save(folder.path_for(iteration), {}, metadata={})
        folder.publish(folder.path_for(iteration), score)
    save(folder.path_for(2), {}, metadata={})  # a run that went on from the first
    folder.publish(folder.path_for(2), 0.5)
    assert folder.all() == [folder.path_for(1), folder.path_for(2)]
    assert folder.best() == folder.path_for(2)


@pytest.mark.parametrize("pointer", ["", "best", "../../etc 7", "iteration_000000001 many", " 3"])
def test_a_pointer_to_no_best_one_points_to_nothing(tmp_path: Path, pointer: str) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=2)
    published(folder, 1)
    (folder.path / "best").write_text(pointer)
    assert folder.best() is None


def test_checkpoints_after_the_one_continued_from_go_when_it_is_overtaken(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=3)
    published(folder, 1)
    save(folder.path_for(9), {}, metadata={})  # killed before this was published
    assert folder.latest() == folder.path_for(1)
    published(folder, 2)
    assert folder.all() == [folder.path_for(1), folder.path_for(2)]


@pytest.mark.parametrize(
    "pointer", [b"", b"../../etc", b"/etc", b"iteration_000000007", b"\x00", b"\xff\xfe\x80"]
)
def test_a_pointer_to_nothing_gives_the_newest_instead(tmp_path: Path, pointer: bytes) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=2)
    published(folder, 1, 2)
    for name in ("latest", "best"):
        (folder.path / name).write_bytes(pointer)
    assert folder.latest() == folder.path_for(2)
    assert folder.best() is None


@pytest.mark.parametrize("name", ["iteration_12abc", "iteration_5", "iteration_00000000\u0663"])
def test_folders_of_other_names_are_no_checkpoints(tmp_path: Path, name: str) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=1)
    published(folder, 1)
    shutil.copytree(folder.path_for(1), folder.path / name)
    (folder.path / "latest").write_text(name)
    published(folder, 2)
    assert folder.latest() == folder.path_for(2)
    assert (folder.path / name).is_dir()


def test_iterations_are_told_apart_as_numbers(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=2)
    published(folder, 999_999_999, 1_000_000_000)
    (folder.path / "latest").unlink()
    assert folder.latest() == folder.path_for(1_000_000_000)


def test_of_links_only_the_link_goes(tmp_path: Path) -> None:
    folder, outside = CheckpointFolder(tmp_path / "checkpoints", keep=1), tmp_path / "outside"
    published(folder, 1)
    shutil.move(folder.path_for(1), outside)
    folder.path_for(1).symlink_to(outside)
    (folder.path / ".hidden").symlink_to(outside)
    folder.clean()
    published(folder, 2)
    assert folder.all() == [folder.path_for(2)]
    assert load(outside)[0] == {"n": 1}
