"""Which values go from shared memory to disk, and when.

::

    a value does not fit --> own idle values are spilled, least recently used first
                         --> the node asks all other processes to do the same
                         --> the value itself goes to disk at once

*Idle* is a value that nobody views and nobody was handed: the interpreter's reference counts tell.
Since whoever reads a value holds its region, a mistake about that costs a needless write, never a
value: memory returns to its arena when the last reader is gone.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from rllib.core.exceptions import OutOfDiskError
from rllib.core.native.arena import Arena
from rllib.core.native.ledger import Ledger
from rllib.core.native.objects import Region, Stored
from rllib.core.native.spillfiles import FileRegion, SpillFiles, stored_size

_ALONE = 2
"""`sys.getrefcount` of an attribute whose only other holder is the call itself."""


class _Entry(weakref.ref[Stored]):
    __slots__ = ("key",)

    key: int


class Shelf:
    """Values in shared memory that this process could move, in the order of their last use.

    A value that was read since the shelf was last searched gets a second chance instead of being
    moved to the end when it is read: reading stays cheap.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[int, _Entry] = OrderedDict()

    def add(self, stored: Stored) -> None:
        """A value that lies in memory now; forgotten with its last holder."""
        entry = _Entry(stored, self._forget)
        entry.key = id(stored)
        self._entries[entry.key] = entry

    def _forget(self, entry: weakref.ref[Stored]) -> None:
        assert isinstance(entry, _Entry)
        self._entries.pop(entry.key, None)

    def take(self) -> Stored | None:
        """The idle value that was not used for longest; it is not on the shelf any more."""
        for _ in range(2 * len(self._entries)):
            try:
                key, entry = self._entries.popitem(last=False)
            except KeyError:  # values come and go meanwhile
                break
            stored = entry()
            if stored is None or not isinstance(stored.region, Region):
                continue
            if not stored.region.touched and _is_idle(stored):
                return stored
            stored.region.touched = False
            self._entries[key] = entry
        return None

    def __len__(self) -> int:
        return len(self._entries)


def _is_idle(stored: Stored) -> bool:
    """Whether nobody but the value holds its region, and nobody but that its memory."""
    assert isinstance(stored.region, Region)
    return sys.getrefcount(stored.region) == sys.getrefcount(stored.region.hold) == _ALONE


class Spiller:
    """Moves idle values to disk: for the thread that needs room, or in one of its own."""

    def __init__(
        self,
        lock: threading.RLock,
        arena: Arena,
        ledger: Ledger,
        files: SpillFiles,
        moved: Callable[[Region, FileRegion], None],
    ) -> None:
        self.shelf = Shelf()
        self._lock = lock
        self._arena = arena
        self._ledger = ledger
        self._files = files
        self._moved = moved
        self._requests: deque[tuple[int, Callable[[int], Any]]] = deque()
        self._working = False

    def spill(self, size: int, enough: Callable[[], bool]) -> int:
        """Move idle values until ``size`` bytes are moved or it is ``enough``; how many they were.

        Blocks on the disk. If the disk takes no more, nothing more is moved, and nothing is lost.
        """
        moved = 0
        while moved < size and not enough():
            with self._lock:
                stored = self.shelf.take()
            if stored is None:
                break
            try:
                moved += self._spill(stored)
            except OutOfDiskError:  # the value that needs the room reports it, if it finds none
                with self._lock:
                    self.shelf.add(stored)
                break
        return moved

    def _spill(self, stored: Stored) -> int:
        region = stored.region
        assert isinstance(region, Region)
        file = self._files.write(region.parts(None))
        with self._lock:
            stored.region = file
            self._moved(region, file)
        return stored_size(region.sizes)

    # -- for other processes -------------------------------------------------------------------

    def request(self, size: int, done: Callable[[int], Any]) -> None:
        """Another process needs ``size`` bytes. ``done`` hears, under the lock, how many were
        moved; runs under the lock itself, so disks are left to a thread that lives meanwhile."""
        self._arena.trim(size)
        if self._ledger.fits(size) or not self.shelf:
            done(0)
            return
        self._requests.append((size, done))
        if not self._working:
            self._working = True
            threading.Thread(target=self._work, name="rllib-spill", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._requests:
                    self._working = False
                    return
                size, done = self._requests.popleft()
            moved = self.spill(size, lambda size=size: self._ledger.fits(size))  # type: ignore[misc]
            with self._lock:
                self._arena.trim(size)
                done(moved)
