"""Writing files so that a crash at any moment leaves the old content or the new, never a mix."""

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write beside ``path``, flush to disk, and rename over it.

    Raises:
        OSError: as the file system gives it; ``path`` is untouched then.
    """
    write_lines_atomically(path, [content.encode() if isinstance(content, str) else content])


def write_lines_atomically(path: Path, lines: Iterable[bytes]) -> None:
    """The same of what is too much for memory.

    Raises:
        OSError: as the file system gives it; ``path`` is untouched then.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _write_durably(beside, lines)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_durably(path: Path, data: bytes) -> None:
    """Write a new file and wait until it is on disk."""
    _write_durably(path, [data])


def _write_durably(path: Path, parts: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Wait until a file that somebody else wrote is on disk."""
    _fsync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on disk (where the platform can open a folder)."""
    if os.name == "posix":
        _fsync(path, os.O_RDONLY | os.O_DIRECTORY)


def exchange(one: Path, other: Path) -> bool:
    """Let two paths change places at once; False where the system or the disk cannot do that."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if rename is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(rename(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0)


_HERE, _EXCHANGE = -100, 2
"""``AT_FDCWD`` and ``RENAME_EXCHANGE`` of Linux."""


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
