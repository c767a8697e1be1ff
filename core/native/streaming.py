"""Large values on their way between nodes, which share no memory: in chunks, from where they lie to
where they will lie, without a copy of the whole on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rllib.core.native.arena import Block, aligned
from rllib.core.native.wire import WireError

CHUNK_BYTES = 1 << 20


def chunks(part: memoryview) -> Iterator[memoryview]:
    """The bytes of one part of a value, in pieces."""
    for start in range(0, part.nbytes, CHUNK_BYTES):
        yield part[start : start + CHUNK_BYTES]


class Sink:
    """Where a value arrives: an own block, or without one the heap, from where it goes to a file.

    A chunk belongs to one part; parts come one after the other.
    """

    def __init__(self, sizes: Sequence[int], block: Block | None) -> None:
        self.sizes = list(sizes)
        self.block = block
        starts = [0]
        for size in self.sizes:
            starts.append(starts[-1] + aligned(size))
        self._starts = starts
        self._part = 0
        self._done = 0
        if block is None:
            self._room = memoryview(bytearray(starts[-1]))
        else:
            self._room = memoryview(block.segment.map)[block.offset : block.offset + starts[-1]]
        self._skip_empty()

    def _skip_empty(self) -> None:
        while not self.is_full and self._done == self.sizes[self._part]:
            self._part, self._done = self._part + 1, 0

    @property
    def is_full(self) -> bool:
        """Whether all of it has come."""
        return self._part == len(self.sizes)

    def take(self, data: bytes) -> None:
        """The next chunk. Raises `WireError` for more than was announced."""
        if self.is_full or self._done + len(data) > self.sizes[self._part]:
            raise WireError("more came of a value than was announced")
        start = self._starts[self._part] + self._done
        self._room[start : start + len(data)] = data
        self._done += len(data)
        self._skip_empty()

    def parts(self) -> list[memoryview]:
        """The parts, once all has come."""
        return [
            self._room[start : start + size]
            for start, size in zip(self._starts, self.sizes, strict=False)
        ]
