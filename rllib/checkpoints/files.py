"""Writing files so that a crash at any moment leaves the old content or the new, never a mix."""

import os
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


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
