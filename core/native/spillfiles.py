"""Values at rest in files: where large values lie that do not fit into shared memory.

A file holds the parts of one value, laid out as in an arena, and is never changed. Who reads it
maps it: processes that read the same file share its pages, the kernel keeps in memory what is in
demand, and a file that is removed stays readable where it is mapped. So what has been spilled is
read without a copy, needs no room in the store, and is not written a second time.

Files are named after the process that made them and a number, ``<session>/spill/<maker>-<number>``;
that is also how messages name them.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import mmap
import os
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rllib.core.exceptions import ObjectLostError, OutOfDiskError
from rllib.core.native.arena import aligned

SPILL = "spill"
"""The folder of a session, or a link to it where ``object_spilling_directory`` is given."""


class FileLostError(ObjectLostError):
    """The file of a spilled value is not there any more, or is not what was written."""


def make_directory(session: Path, elsewhere: str | None) -> Path:
    """The folder for the files of a new session. Raises `ValueError` for an unusable one."""
    folder = session / SPILL
    if elsewhere is None:
        folder.mkdir(mode=0o700)
        return folder
    target = Path(elsewhere).expanduser().absolute() / f"rllib-{os.getuid()}-{session.name}"
    try:
        target.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise ValueError(
            f"object_spilling_directory={elsewhere!r} cannot be used: {error}; name a folder that "
            "this user may write to"
        ) from error
    folder.symlink_to(target)  # so that who removes the session finds it
    return folder


def remove_session(session: Path) -> None:
    """Remove a session's directory, and what it has spilled elsewhere."""
    folder = session / SPILL
    if folder.is_symlink():
        shutil.rmtree(folder.readlink(), ignore_errors=True)
    shutil.rmtree(session, ignore_errors=True)


def remove_files_of(folder: Path, maker: bytes) -> None:
    """Remove what a dead process has left."""
    for path in folder.glob(f"{maker.hex()}-*"):
        path.unlink(missing_ok=True)


def spilled_bytes(folder: Path) -> int:
    """How much is on disk now."""
    total = 0
    for path in folder.glob("*-*"):
        with contextlib.suppress(OSError):  # it has just been read back
            total += path.stat().st_size
    return total


class SpillFile:
    """A file of this process; letting go of it removes it."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def __del__(self) -> None:
        with contextlib.suppress(OSError):  # adopted by its reader, or gone with the session
            self.path.unlink()


class Mapping:
    """A file's bytes, read-only; unmapped with the last view of them.

    Unlike `mmap.mmap` it keeps no descriptor, of which a process has few.
    """

    __slots__ = ("__weakref__", "_address", "_size")

    def __init__(self, path: Path, size: int) -> None:
        self._size = 0
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            found = os.fstat(fd).st_size
            if found != size:
                raise OSError(f"it has {found:,} bytes instead of {size:,}")
            self._address = _map(size, fd)
            self._size = size
        finally:
            os.close(fd)

    def view(self) -> memoryview:
        """All of it."""
        exporter = (ctypes.c_ubyte * self._size).from_address(self._address)
        exporter.keep = self  # type: ignore[attr-defined]
        return memoryview(exporter).cast("B").toreadonly()

    def __del__(self) -> None:
        if self._size:
            _libc.munmap(self._address, self._size)


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_FAILED = ctypes.c_void_p(-1).value


def _map(size: int, fd: int) -> int:
    address: int = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    if address == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return address


class FileRegion:
    """The large parts of a value in a file; the counterpart of `objects.Region`."""

    __slots__ = ("_mapping", "hold", "maker", "number", "path", "sizes")

    def __init__(
        self, folder: Path, maker: bytes, number: int, sizes: list[int], hold: Any = None
    ) -> None:
        self.path = folder / f"{maker.hex()}-{number}"
        self.maker = maker
        self.number = number
        self.sizes = sizes
        self.hold = hold
        self._mapping: weakref.ref[Mapping] | None = None

    def parts(self, _keep: Any) -> list[memoryview]:
        """Read-only views of the parts. Raises `FileLostError`.

        They keep the pages readable by themselves, whatever becomes of the file.
        """
        whole = self._mapped().view()
        parts, start = [], 0
        for size in self.sizes:
            parts.append(whole[start : start + size])
            start += aligned(size)
        return parts

    def open(self) -> int:
        """A descriptor of it, which is the caller's to close. Raises `FileLostError`."""
        try:
            return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, error: OSError) -> FileLostError:
        return FileLostError(f"spilled to {self.path}, which cannot be read: {error}")

    def _mapped(self) -> Mapping:
        mapping = self._mapping() if self._mapping is not None else None
        if mapping is None:
            try:
                mapping = Mapping(self.path, stored_size(self.sizes))
            except OSError as error:
                raise self._lost(error) from error
            self._mapping = weakref.ref(mapping)
        return mapping


class UnroomedRegion(FileRegion):
    """Stands for large parts that came from another node and found no room anywhere."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(Path(), b"", 0, [])

    def open(self) -> int:
        """Raises `OutOfDiskError`."""
        raise OutOfDiskError(
            "a value came from another node, and there is room for it neither in this node's "
            "shared memory nor on its disk: raise object_store_memory, or make room there"
        )

    def _mapped(self) -> Mapping:
        raise AssertionError(self.open())


class GoneRegion(FileRegion):
    """Stands for large parts that were on a node which has ended."""

    __slots__ = ()

    def __init__(self, sizes: list[int]) -> None:
        super().__init__(Path(), b"", 0, sizes)

    def open(self) -> int:
        """Raises `FileLostError`."""
        raise FileLostError("it was on a node that has it no more")

    def _mapped(self) -> Mapping:
        raise AssertionError(self.open())


def stored_size(sizes: list[int]) -> int:
    """Bytes that parts of these sizes take, one aligned after another."""
    return sum(aligned(size) for size in sizes)


class SpillFiles:
    """The files of one process. Thread-safe."""

    def __init__(self, folder: Path, me: bytes) -> None:
        self.folder = folder
        self._me = me
        self._numbers = itertools.count(1)

    def write(self, parts: list[memoryview]) -> FileRegion:
        """Write the parts of a value; blocks on the disk.

        Raises `OutOfDiskError`; nothing is left of the file then.
        """
        return self._made([part.nbytes for part in parts], lambda path: _write(path, parts))

    def reserve(self, sizes: list[int]) -> FileRegion:
        """A file for parts that are about to come. Raises as `write`."""
        return self._made(sizes, lambda path: _reserve(path, stored_size(sizes)))

    def _made(self, sizes: list[int], make: Callable[[Path], None]) -> FileRegion:
        region = self._new(sizes)
        try:
            make(region.path)
        except OSError as error:
            region.hold = None  # removes it now, for the traceback keeps the region
            size = stored_size(region.sizes)
            raise OutOfDiskError(
                f"{size:,} bytes do not fit into shared memory and cannot be spilled to "
                f"{self.folder.resolve()}: {error.strerror}; make room there, name another folder "
                "(object_spilling_directory of init), or raise object_store_memory"
            ) from error
        return region

    def _new(self, sizes: list[int]) -> FileRegion:
        region = FileRegion(self.folder, self._me, next(self._numbers), sizes)
        region.hold = SpillFile(region.path)
        return region

    def find(self, maker: bytes, number: int, sizes: list[int], hold: Any) -> FileRegion:
        """A file that somebody else speaks of."""
        return FileRegion(self.folder, maker, number, sizes, hold)

    def adopt(self, region: FileRegion) -> FileRegion:
        """Take over a file that was handed to this process, so that it outlives its maker.

        If it is gone already, that shows when it is read.
        """
        own = self._new(region.sizes)
        with contextlib.suppress(OSError):
            region.path.rename(own.path)
        return own


def _write(path: Path, parts: list[memoryview]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        start = 0
        for part in parts:
            _write_part(fd, part.cast("B"), start)
            start += aligned(part.nbytes)
        os.ftruncate(fd, start)  # the last part is followed by its padding
    finally:
        os.close(fd)


def _reserve(path: Path, size: int) -> None:
    """Have the disk keep room for it, so that it is not full when the bytes come."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, size)
        else:  # macOS
            os.truncate(fd, size)
    finally:
        os.close(fd)


def _write_part(fd: int, part: memoryview, start: int) -> None:
    while part:
        written = os.pwrite(fd, part, start)
        part, start = part[written:], start + written
