"""How much shared memory all processes of a node use together.

Each process has a cell in a small mapped file of the session, which it alone writes; whoever wants
memory sums them all. So the limit needs no lock and no message, and a process that dies leaves its
cell to the node service, which clears it. What others still read of a dead process's memory they
count in their own cell from then on (`Inherited`).
"""

from __future__ import annotations

import mmap
from pathlib import Path

LEDGER = "ledger"
"""Its name in the session's directory."""

_CELL_BYTES = 8
_CELLS = 8192
_COUNT = 0
"""The first cell says how many of the others are in use, so that a sum need not run over all."""


class Cells:
    """The mapped file, as its creator and everybody else sees it."""

    def __init__(self, mapped: mmap.mmap) -> None:
        self.cells = memoryview(mapped).cast("q")

    @classmethod
    def private(cls) -> Cells:
        """For a single process."""
        return cls(mmap.mmap(-1, _CELLS * _CELL_BYTES))

    @classmethod
    def create(cls, path: Path) -> Cells:
        """A new file of zeros."""
        path.touch(mode=0o600)
        with path.open("r+b") as file:
            file.truncate(_CELLS * _CELL_BYTES)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Cells:
        """The file that the driver has made."""
        with path.open("r+b") as file:
            return cls(mmap.mmap(file.fileno(), _CELLS * _CELL_BYTES))

    @property
    def total(self) -> int:
        """Bytes in use by all processes."""
        cells = self.cells
        return sum(cells[1 : 1 + cells[_COUNT]])


class Assignments:
    """The node's side: which process has which cell."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells.cells
        self._held: dict[bytes, int] = {}

    def assign(self, process: bytes) -> int:
        """The lowest cell that is free. Raises `RuntimeError` when there is none."""
        taken = set(self._held.values())
        cell = next((cell for cell in range(1, _CELLS) if cell not in taken), None)
        if cell is None:
            raise RuntimeError(f"a node holds at most {_CELLS - 1:,} processes")
        self._held[process] = cell
        self._cells[cell] = 0
        self._cells[_COUNT] = max(cell, self._cells[_COUNT])
        return cell

    def gone(self, process: bytes) -> None:
        """The process is dead: its memory is the kernel's, but for what others read of it."""
        cell = self._held.pop(process, None)
        if cell is not None:
            self._cells[cell] = 0
            self._cells[_COUNT] = max(self._held.values(), default=0)


class Ledger:
    """One process's cell, and the limit for all of them."""

    def __init__(self, cells: Cells, cell: int, capacity: int) -> None:
        self._all = cells
        self._cells = cells.cells
        self._cell = cell
        self.capacity = capacity

    @classmethod
    def private(cls, capacity: int) -> Ledger:
        """For a process that shares its limit with nobody."""
        cells = Cells.private()
        return cls(cells, Assignments(cells).assign(b""), capacity)

    def reserve(self, size: int) -> bool:
        """Count ``size`` bytes as in use, if they fit.

        Counted first and checked after: two processes that reserve at the same time may both be
        refused, but never both be served beyond the limit.
        """
        self._cells[self._cell] += size
        if self._all.total <= self.capacity:
            return True
        self._cells[self._cell] -= size
        return False

    def add(self, change: int) -> None:
        """Count bytes that are in use, or no longer, whatever the limit."""
        self._cells[self._cell] += change

    def fits(self, size: int) -> bool:
        """Whether ``size`` bytes more would be within the limit."""
        return self.total + size <= self.capacity

    @property
    def total(self) -> int:
        """Bytes in use by all processes of the node."""
        return self._all.total


class Inherited:
    """Bytes that this process reads in others' arenas, so that it can count those of the dead."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._bytes: dict[bytes, int] = {}
        self._dead: set[bytes] = set()

    def received(self, arena: bytes, size: int) -> None:
        """A block of a living process was handed over."""
        self._bytes[arena] = self._bytes.get(arena, 0) + size

    def returned(self, arena: bytes, size: int) -> None:
        """A handed block is not read any more."""
        left = self._bytes[arena] = self._bytes[arena] - size
        if arena in self._dead:
            self._ledger.add(-size)
        if not left:
            del self._bytes[arena]
            self._dead.discard(arena)

    def died(self, arena: bytes) -> None:
        """The arena's process is dead: what is read of it counts here from now on."""
        if arena in self._bytes and arena not in self._dead:
            self._dead.add(arena)
            self._ledger.add(self._bytes[arena])
