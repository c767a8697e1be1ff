"""Memory that processes share by passing a descriptor, and that goes with the last of them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from rllib.core.exceptions import OutOfDiskError
from rllib.core.native import platform


def new_memory(size: int, folder: Path | None) -> int:
    """The descriptor of ``size`` bytes of zeros that have no name anywhere.

    Where the system has no such memory it is a file in ``folder``, or else among the temporary
    ones, whose name is removed at once. Raises `OutOfDiskError` when there is no room for that.
    """
    if platform.has_memfd():
        fd = os.memfd_create("rllib-arena", os.MFD_CLOEXEC)
        os.ftruncate(fd, size)
        return fd
    return _nameless_file(size, folder or Path(tempfile.gettempdir()))


def _nameless_file(size: int, folder: Path) -> int:
    fd, name = tempfile.mkstemp(prefix="rllib-arena-", dir=folder)
    try:
        Path(name).unlink()
        _reserve(fd, size)
    except OSError as error:
        os.close(fd)
        raise OutOfDiskError(
            f"{size:,} bytes of shared memory need a file in {folder}: {error.strerror}; make room "
            "there, or set TMPDIR to another folder"
        ) from error
    return fd


def _reserve(fd: int, size: int) -> None:
    """Blocks of the disk are taken now where that is possible: a full disk found out later, when
    the memory is written, would end the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
    else:
        os.ftruncate(fd, size)
