"""Snapshots of directories on their way to other nodes: how they are named, packed and unpacked.

A snapshot lies in a folder of its session that is named by its content. Where other nodes may need
it, an archive with the same content lies beside it; to them that is an object like any other, owned
by the node service of the node where the snapshot was taken. Nothing in it is unpickled, and
nothing of it is believed: names that lead out of the folder, links and devices are refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, cast

from rllib.core.native.objects import Stored
from rllib.core.native.spillfiles import FileRegion, stored_size

STORE = "env"
"""The folder of a session with its snapshots."""

MAX_BYTES = 500 * 2**20
"""Of one snapshot. Larger data does not belong into the code of a worker."""

_FIRST_NUMBER = 1 << 62
"""Archives are objects of their node service from this number on; it counts the others from 1."""

_DIGEST_BYTES = 16
_TEXT = re.compile(r"([0-9a-f]{32})/([0-9a-f]{32})(?:/([^/\0]+))?")
_COPIED_BYTES = 1 << 20

_PARSING = (tarfile.TarError, ArithmeticError, EOFError, LookupError, RecursionError)
"""What `tarfile` raises on nonsense."""


class Package(NamedTuple):
    """A snapshot, or something in it.

    Attributes:
        keeper: the node service that has its archive.
        digest: of its content, in hexadecimal.
        name: of what is meant in it; empty for all of it.
    """

    keeper: bytes
    digest: str
    name: str = ""

    @classmethod
    def read(cls, text: str) -> Package:
        """The opposite of `str`. Raises `ValueError`."""
        found = _TEXT.fullmatch(text)
        if found is None or found[3] in (".", ".."):
            raise ValueError(f"{text!r} names no snapshot")
        return cls(bytes.fromhex(found[1]), found[2], found[3] or "")

    def __str__(self) -> str:
        return "/".join(filter(None, (self.keeper.hex(), self.digest, self.name)))

    def within(self, store: Path) -> Path:
        """Where it lies on a node that has it."""
        return store / self.digest / self.name

    @property
    def number(self) -> int:
        """Of its archive among the objects of the keeper."""
        return _FIRST_NUMBER | int(self.digest[:15], 16)

    def archive(self, store: Path) -> Path:
        """Where its archive lies on the node of the keeper."""
        return FileRegion(store, self.keeper, self.number, []).path


def find_archive(store: Path, keeper: bytes, number: int) -> Stored | None:
    """The archive of that number as a value, if there is one."""
    if number < _FIRST_NUMBER:
        return None
    region = FileRegion(store, keeper, number, [])
    try:
        region.sizes = [region.path.stat().st_size]
    except OSError:
        return None
    return Stored(b"", [], [], region)


# -- snapshots -------------------------------------------------------------------------------------


def check_size(source: object, size: int) -> None:
    """Raise `ValueError` for what is too large."""
    if size > MAX_BYTES:
        raise ValueError(
            f"{source} has {size / 2**20:,.0f} MiB, and a runtime_env takes up to "
            f"{MAX_BYTES // 2**20}: leave files out with excludes"
        )


def digest_of(files: Mapping[str, Path]) -> str:
    """Of names, permissions and contents."""
    total = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for name, path in sorted(files.items()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, hashlib.blake2b).digest()
            mode = os.fstat(file.fileno()).st_mode & 0o777
        total.update(os.fsencode(name) + f"\0{mode:o}\0".encode() + content)
    return total.hexdigest()


def files_in(folder: Path) -> dict[str, Path]:
    """All files, by their names within the folder."""
    return {
        str(path.relative_to(folder)): path
        for at, _folders, names in os.walk(folder)
        for path in (Path(at, name) for name in names)
    }


@contextlib.contextmanager
def drafted(store: Path) -> Iterator[Path]:
    """A folder in which a snapshot is made; see `settle`. What is left of it in the end goes."""
    draft = store / f"draft-{secrets.token_hex(8)}"
    draft.mkdir(mode=0o700, parents=True)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def settle(draft: Path, place: Path) -> None:
    """Make a snapshot appear at once, whole; another process may have made the same one."""
    try:
        draft.rename(place)
    except OSError:
        if not place.exists():
            raise


# -- packing and unpacking -------------------------------------------------------------------------


def pack(folder: Path, archive: Path) -> None:
    """Write the archive of a folder, which appears at once, whole.

    Raises `ValueError` for a folder with so many files that it does not fit into one.
    """
    draft = archive.with_name(f"draft-{secrets.token_hex(8)}")
    try:
        with tarfile.open(draft, "x") as content:
            content.add(folder, ".", filter=_anonymous)
        size = draft.stat().st_size
        _check_archive_size(size)
        os.truncate(draft, stored_size([size]))  # a reader finds as much as values of it take
        draft.rename(archive)
    finally:
        draft.unlink(missing_ok=True)


def _check_archive_size(size: int) -> None:
    if size > 2 * MAX_BYTES:
        raise ValueError("too many files for one runtime_env: leave some out with excludes")


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


class _Reader:
    """What `tarfile` reads a stream from; the archive is copied in small parts."""

    def __init__(self, data: memoryview) -> None:
        self._rest = data

    def read(self, size: int) -> bytes:
        part, self._rest = self._rest[:size], self._rest[size:]
        return bytes(part)


def unpack(archive: memoryview, target: Path) -> None:
    """Write what is in an archive into an empty folder.

    Raises `ValueError` for what `pack` would not have made, `OSError` where it cannot be written.
    """
    total = 0
    _check_archive_size(len(archive))
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", _Reader(archive)), mode="r|") as content:
            for entry in content:
                path = target / _checked_name(entry.name)
                _check_kind(entry)
                total += entry.size
                check_size("an archive", total)
                _extract(content, entry, path)
    except _PARSING as error:
        raise ValueError(f"it is no archive: {error}") from error


def _check_kind(entry: tarfile.TarInfo) -> None:
    if not (entry.isdir() or entry.isreg()) or entry.issparse() or entry.size < 0:
        raise ValueError(f"{entry.name!r} in it is neither a file nor a folder")


def _extract(content: tarfile.TarFile, entry: tarfile.TarInfo, path: Path) -> None:
    if entry.isdir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("xb") as file:
        source: Any = content.extractfile(entry)
        shutil.copyfileobj(source, file, _COPIED_BYTES)
        os.fchmod(file.fileno(), entry.mode & 0o777)


def unzip(archive: Path, target: Path) -> None:
    """Write what is in a user's zip file into an empty folder. Raises as `unpack`."""
    try:
        with zipfile.ZipFile(archive) as content:
            entries = content.infolist()
            check_size(archive, sum(entry.file_size for entry in entries))
            for entry in entries:
                _checked_name(entry.filename)
            content.extractall(target)  # links become files with the path that they lead to
    except zipfile.BadZipFile as error:
        raise ValueError(f"{archive} is no zip file: {error}") from error


def _checked_name(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"{name!r} in it leads out of its folder")
    return path
