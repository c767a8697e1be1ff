"""Shared memory that is reused: an arena of mapped segments, cut into blocks.

Only the process that made an arena allocates and frees in it, so no cross-process atomics are
needed. A `Block` is an ordinary Python object; when the last one who holds it lets go, its memory
returns to the arena and stays warm. A fresh shared page costs ten times what a warm one costs,
which is why freed memory is kept and handed out again.

Memory is *cold* (fresh, no page behind it), *used*, or *warm* (free, pages still there). Used and
warm memory counts in the node's `Ledger`; warm memory becomes cold again, and its pages go back to
the system, when somebody on the node needs them (`Arena.trim`).

A block becomes readable as a *view*: a read-only memoryview whose innermost exporter is a ctypes
array that holds the block. Arrays made from the view hold the exporter, hence the block.
"""

from __future__ import annotations

import bisect
import ctypes
import mmap
import os
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

from rllib.core.native.ledger import Ledger
from rllib.core.native.memory import new_memory

ALIGNMENT = 64
SEGMENT_BYTES = 64 * 2**20
PAGE = mmap.PAGESIZE
_REMOVE = getattr(mmap, "MADV_REMOVE", None)
"""Gives pages in the middle of a mapping back; where there is no such thing, memory stays warm."""


def aligned(size: int, unit: int = ALIGNMENT) -> int:
    """``size`` rounded up to a whole number of cache lines, or of another unit."""
    return -(-size // unit) * unit


class FreeList:
    """The free ranges of one segment: first fit, neighbours merged. No memory is touched here."""

    def __init__(self, size: int) -> None:
        self._offsets = [0] if size else []
        self._sizes = [size] if size else []

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

    def take_last(self, limit: int) -> tuple[int, int] | None:
        """Offset and size of the end of the last range, at most ``limit`` bytes of it."""
        if not self._sizes:
            return None
        size = min(limit, self._sizes[-1])
        offset = self._offsets[-1] + self._sizes[-1] - size
        self._sizes[-1] -= size
        if not self._sizes[-1]:
            del self._offsets[-1], self._sizes[-1]
        return offset, size

    @property
    def free_bytes(self) -> int:
        """All free bytes together."""
        return sum(self._sizes)


class Segment:
    """One mapped piece of shared memory, own or received from the process that made it."""

    def __init__(self, arena: bytes, number: int, fd: int, size: int) -> None:
        self.arena = arena
        self.number = number
        self.fd = fd
        self.size = size
        self.map = mmap.mmap(fd, size)

    @classmethod
    def create(cls, arena: bytes, number: int, size: int, folder: Path | None) -> Segment:
        """A new segment of fresh, lazily backed memory; see `memory.new_memory`."""
        return cls(arena, number, new_memory(size, folder), size)

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
    """Bytes in use, bytes free but still backed by memory, and the number of segments."""

    used: int
    warm: int
    segments: int


class Arena:
    """All segments of one process. Not thread-safe: callers hold the runtime's lock."""

    def __init__(self, owner: bytes, ledger: Ledger, folder: Path | None = None) -> None:
        self._owner = owner
        self._folder = folder
        self._ledger = ledger
        self._used = 0
        self._segments: list[Segment] = []
        self._warm: list[FreeList] = []
        self._cold: list[FreeList] = []
        self._returned: deque[tuple[int, int, int]] = deque()

    def allocate(self, size: int, *, warm: bool = False) -> Block | None:
        """A block of at least ``size`` bytes; ``None`` when the node's limit does not allow it, or,
        where it must be ``warm``, when there is no such memory."""
        self._reclaim()
        size = aligned(max(size, 1), PAGE)
        block = self._take(self._warm, size)
        if (
            block is None
            and not warm
            and (self._ledger.reserve(size) or self._reserve_trimmed(size))
        ):
            block = self._take(self._cold, size) or self._grow(size)
        if block is not None:
            self._used += size
        return block

    def _take(self, ranges: list[FreeList], size: int) -> Block | None:
        for segment, free in zip(self._segments, ranges, strict=True):
            offset = free.take(size)
            if offset is not None:
                return Block(segment, offset, size, self._returned)
        return None

    def _reserve_trimmed(self, size: int) -> bool:
        """Own warm memory that lies in too small pieces makes room for memory that does not."""
        return self.trim(size) > 0 and self._ledger.reserve(size)

    def _grow(self, size: int) -> Block:
        whole = aligned(size, SEGMENT_BYTES)
        segment = Segment.create(self._owner, len(self._segments), whole, self._folder)
        self._segments.append(segment)
        self._warm.append(FreeList(0))
        self._cold.append(FreeList(whole))
        block = self._take(self._cold, size)
        assert block is not None
        return block

    def _reclaim(self) -> None:
        while self._returned:
            number, offset, size = self._returned.popleft()
            self._warm[number].give(offset, size)
            self._used -= size

    def trim(self, wanted: int) -> int:
        """Give up to ``wanted`` bytes of warm memory back to the system; how many it were."""
        self._reclaim()
        given = 0
        for segment, warm, cold in zip(self._segments, self._warm, self._cold, strict=True):
            while _REMOVE is not None and given < wanted:
                last = warm.take_last(aligned(wanted - given, PAGE))
                if last is None:
                    break
                segment.map.madvise(_REMOVE, *last)
                cold.give(*last)
                given += last[1]
        self._ledger.add(-given)
        return given

    def segment(self, number: int) -> Segment | None:
        """The segment of that number."""
        return self._segments[number] if 0 <= number < len(self._segments) else None

    def statistics(self) -> Statistics:
        """A snapshot of how full the arena is."""
        self._reclaim()
        warm = sum(free.free_bytes for free in self._warm)
        return Statistics(self._used, warm, len(self._segments))
