"""Shared memory that is reused: an arena of memfd segments, cut into blocks.

Only the process that made an arena allocates and frees in it, so no cross-process atomics are
needed. A `Block` is an ordinary Python object; when the last one who holds it lets go, its memory
returns to the arena and stays warm. A fresh shared page costs ten times what a warm one costs,
which is why freed memory is kept and handed out again.

A block becomes readable as a *view*: a read-only memoryview whose innermost exporter is a ctypes
array that holds the block. Arrays made from the view hold the exporter, hence the block.
"""

from __future__ import annotations

import bisect
import ctypes
import mmap
import os
from collections import deque
from typing import Any, NamedTuple

from rllib.core.exceptions import ObjectStoreFullError

ALIGNMENT = 64
SEGMENT_BYTES = 64 * 2**20


def aligned(size: int) -> int:
    """``size`` rounded up to a whole number of cache lines."""
    return -(-size // ALIGNMENT) * ALIGNMENT


class FreeList:
    """The free ranges of one segment: first fit, neighbours merged. No memory is touched here."""

    def __init__(self, size: int) -> None:
        self._offsets = [0]
        self._sizes = [size]

    def take(self, size: int) -> int | None:
        """The offset of ``size`` free bytes, or ``None``."""
        for index, free in enumerate(self._sizes):
            if free >= size:
                return self._cut(index, size)
        return None

    def _cut(self, index: int, size: int) -> int:
        offset = self._offsets[index]
        if self._sizes[index] == size:
            del self._offsets[index], self._sizes[index]
        else:
            self._offsets[index] += size
            self._sizes[index] -= size
        return offset

    def give(self, offset: int, size: int) -> None:
        """Take ``size`` bytes at ``offset`` back."""
        index = bisect.bisect_left(self._offsets, offset)
        if index < len(self._offsets) and offset + size == self._offsets[index]:
            size += self._sizes[index]
            del self._offsets[index], self._sizes[index]
        if index and self._offsets[index - 1] + self._sizes[index - 1] == offset:
            self._sizes[index - 1] += size
        else:
            self._offsets.insert(index, offset)
            self._sizes.insert(index, size)

    @property
    def free_bytes(self) -> int:
        """All free bytes together."""
        return sum(self._sizes)


class Segment:
    """One mapped memfd, own or received from the process that made it."""

    def __init__(self, arena: bytes, number: int, fd: int, size: int) -> None:
        self.arena = arena
        self.number = number
        self.fd = fd
        self.size = size
        self.map = mmap.mmap(fd, size)

    @classmethod
    def create(cls, arena: bytes, number: int, size: int) -> Segment:
        """A new segment of fresh, lazily backed memory."""
        fd = os.memfd_create("rllib-arena", os.MFD_CLOEXEC)
        os.ftruncate(fd, size)
        return cls(arena, number, fd, size)

    def view(self, offset: int, size: int, keep: Any) -> memoryview:
        """``size`` bytes at ``offset``, read-only; ``keep`` lives as long as any view of them."""
        exporter = (ctypes.c_ubyte * size).from_buffer(self.map, offset)
        exporter.keep = keep  # type: ignore[attr-defined]
        return memoryview(exporter).cast("B").toreadonly()

    def __del__(self) -> None:
        os.close(self.fd)  # the mapping itself goes with the last view of it


class Block:
    """A range of an own segment; letting go of it returns the memory."""

    __slots__ = ("_returned", "offset", "segment", "size")

    def __init__(
        self, segment: Segment, offset: int, size: int, returned: deque[tuple[int, int, int]]
    ) -> None:
        self.segment = segment
        self.offset = offset
        self.size = size
        self._returned = returned

    def __del__(self) -> None:
        # Runs wherever the interpreter pleases, so it may only do what is atomic.
        self._returned.append((self.segment.number, self.offset, self.size))


class Statistics(NamedTuple):
    """Bytes in use, bytes of all segments, the limit, and the number of segments."""

    used: int
    reserved: int
    capacity: int
    segments: int


class Arena:
    """All segments of one process. Not thread-safe: callers hold the runtime's lock."""

    def __init__(self, owner: bytes, capacity: int) -> None:
        self._owner = owner
        self._capacity = capacity
        self._used = 0
        self._segments: list[Segment] = []
        self._free: list[FreeList] = []
        self._returned: deque[tuple[int, int, int]] = deque()

    def allocate(self, size: int) -> Block:
        """A block of at least ``size`` bytes. Raises `ObjectStoreFullError` above the capacity."""
        self._reclaim()
        size = aligned(max(size, 1))
        if self._used + size > self._capacity:
            raise ObjectStoreFullError(
                f"{size:,} bytes do not fit: {self._used:,} of {self._capacity:,} bytes of shared "
                "memory are in use; drop references or views that are no longer needed, or raise "
                "object_store_memory of init()"
            )
        self._used += size
        for segment, free in zip(self._segments, self._free, strict=True):
            offset = free.take(size)
            if offset is not None:
                return Block(segment, offset, size, self._returned)
        return self._grow(size)

    def _grow(self, size: int) -> Block:
        whole = -(-size // SEGMENT_BYTES) * SEGMENT_BYTES
        segment = Segment.create(self._owner, len(self._segments), whole)
        free = FreeList(whole)
        self._segments.append(segment)
        self._free.append(free)
        offset = free.take(size)
        assert offset is not None
        return Block(segment, offset, size, self._returned)

    def _reclaim(self) -> None:
        while self._returned:
            number, offset, size = self._returned.popleft()
            self._free[number].give(offset, size)
            self._used -= size

    def segment(self, number: int) -> Segment | None:
        """The segment of that number."""
        return self._segments[number] if 0 <= number < len(self._segments) else None

    def statistics(self) -> Statistics:
        """A snapshot of how full the arena is."""
        self._reclaim()
        reserved = sum(segment.size for segment in self._segments)
        return Statistics(self._used, reserved, self._capacity, len(self._segments))
