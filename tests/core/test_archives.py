"""Snapshots that come from other nodes: what is packed comes out, and nothing else is written."""

import contextlib
import io
import os
import random
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rllib.core.exceptions import ObjectLostError, RuntimeEnvSetupError
from rllib.core.native import archives
from rllib.core.native.archives import Package, digest_of, files_in, pack, unpack, unzip
from rllib.core.native.environment import Environment

KEEPER = bytes(16)


def folder_with(place: Path, **files: str) -> Path:
    place.mkdir()
    for name, text in files.items():
        (place / name).write_text(text)
    return place


def archive_of(*entries: tarfile.TarInfo, content: bytes = b"x") -> memoryview:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for entry in entries:
            archive.addfile(entry, io.BytesIO(content * entry.size))
    return memoryview(made.getvalue())


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0
) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made


def test_what_is_packed_comes_out(tmp_path: Path) -> None:
    source = folder_with(tmp_path / "source", script="true", data="hello" * 100_000)
    (source / "script").chmod(0o750)
    folder_with(source / "empty")
    long = folder_with(source / ("d" * 120), **{"n" * 120: "long names"})
    (long / "umlaut-\u00e4").write_text("")
    pack(source, tmp_path / "archive")
    target = folder_with(tmp_path / "target")
    unpack(memoryview((tmp_path / "archive").read_bytes()), target)
    assert digest_of(files_in(target)) == digest_of(files_in(source))
    assert (target / "empty").is_dir()
    assert [path.name for path in tmp_path.iterdir() if "draft" in path.name] == []


HOSTILE = {
    "above": [entry("../evil", size=1)],
    "above, from within": [entry("a/../../evil", size=1)],
    "absolute": [entry("/tmp/evil", size=1)],
    "symbolic link": [entry("link", tarfile.SYMTYPE, "/tmp")],
    "link, and a file through it": [entry("l", tarfile.SYMTYPE, ".."), entry("l/evil", size=1)],
    "hard link": [entry("link", tarfile.LNKTYPE, "/etc/passwd")],
    "pipe": [entry("pipe", tarfile.FIFOTYPE)],
    "device": [entry("device", tarfile.CHRTYPE)],
    "twice": [entry("a", size=1), entry("a", size=1)],
    "below a file": [entry("a", size=1), entry("a/b", size=1)],
    "too large": [entry("a", size=600), entry("b", size=600)],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_written_outside_and_no_link_is_made(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    target = folder_with(tmp_path / "target")
    with pytest.raises((ValueError, OSError)):
        unpack(archive_of(*HOSTILE[name]), target)
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    assert not any(path.is_symlink() for path in target.rglob("*"))


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 10, b"garbage" * 1000, bytes(archive_of(entry("a", size=5000)))[:2000]],
    ids=["nothing", "short", "garbage", "cut off"],
)
def test_what_is_no_archive_is_not_taken_for_one(data: bytes, tmp_path: Path) -> None:
    environment, package = environment_with(lambda _package: memoryview(data), tmp_path)
    environment.adopt(f'{{"working_dir": "{package}"}}')
    with pytest.raises(RuntimeEnvSetupError, match="did not come"):
        environment.enter()
    assert [path.suffix for path in (tmp_path / "env").iterdir()] == [".lock"]


def test_damaged_archives_do_no_harm(tmp_path: Path) -> None:
    source = folder_with(tmp_path / "source", a="hello", **{"n" * 120: "a long name"})
    pack(source, tmp_path / "archive")
    whole = (tmp_path / "archive").read_bytes()
    chance = random.Random(0)
    for number in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(len(whole) // 2)] = chance.randrange(256)
        _mend_checksums(damaged)
        target = tmp_path / "targets" / str(number)
        target.mkdir(parents=True)
        with contextlib.suppress(ValueError, OSError):
            unpack(memoryview(damaged), target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "source", "targets"]
    found = (tmp_path / "targets").rglob("*")
    assert all(path.is_file() or (path.is_dir() and not path.is_symlink()) for path in found)


def _mend_checksums(archive: bytearray) -> None:
    """So that damage is not found by them alone."""
    for at in range(0, len(archive), tarfile.BLOCKSIZE):
        if archive[at + 257 : at + 262] == b"ustar":
            archive[at + 148 : at + 156] = 8 * b" "
            total = sum(archive[at : at + tarfile.BLOCKSIZE])
            archive[at + 148 : at + 156] = f"{total:06o}\0 ".encode()


@pytest.mark.skipif(sys.platform == "darwin", reason="all names are Unicode there")
def test_names_in_no_encoding_come_out(tmp_path: Path) -> None:
    source = folder_with(tmp_path / "source")
    Path(os.fsdecode(os.fsencode(source) + b"/\xff")).write_text("bytes")
    pack(source, tmp_path / "archive")
    target = folder_with(tmp_path / "target")
    unpack(memoryview((tmp_path / "archive").read_bytes()), target)
    assert digest_of(files_in(target)) == digest_of(files_in(source))


def environment_with(
    fetch: Callable[[Package], memoryview | None], session: Path
) -> tuple[Environment, Package]:
    return Environment(session, fetch), Package(KEEPER, 32 * "a")


def test_content_that_is_not_what_was_asked_for_is_refused(tmp_path: Path) -> None:
    other = archive_of(entry("a", size=3))
    environment, package = environment_with(lambda _package: other, tmp_path)
    environment.adopt(f'{{"py_modules": ["{package}/a"]}}')
    with pytest.raises(RuntimeEnvSetupError, match="not what its name says"):
        environment.enter()
    assert not package.within(tmp_path / "env").exists()


def test_a_snapshot_that_did_not_come_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = folder_with(tmp_path / "source", data="hello")
    pack(source, tmp_path / "archive")
    package = Package(KEEPER, digest_of(files_in(source)))
    archive = memoryview((tmp_path / "archive").read_bytes())
    asked = []

    def fetch(wanted: Package) -> memoryview:
        asked.append(wanted)
        if len(asked) == 1:
            raise ObjectLostError("its node is gone")
        return archive

    environment = Environment(tmp_path, fetch)
    environment.adopt(f'{{"working_dir": "{package}"}}')
    with pytest.raises(RuntimeEnvSetupError, match="its node is gone"):
        environment.enter()
    environment.enter()
    environment.enter()
    assert asked == [package, package]
    assert Path("data").read_text() == "hello"


@pytest.mark.parametrize("name", ["..", "a/b", "", "."])
def test_names_that_lead_elsewhere_are_no_packages(name: str) -> None:
    with pytest.raises(ValueError, match="names no snapshot"):
        Package.read(f"{KEEPER.hex()}/{32 * 'a'}/{name}")


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil"])
def test_zip_files_stay_in_their_folder(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "work.zip", "w") as archive:
        archive.writestr(name, "evil")
    with pytest.raises(ValueError, match="leads out of its folder"):
        unzip(tmp_path / "work.zip", folder_with(tmp_path / "target"))
