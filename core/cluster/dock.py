"""Where the large parts of values arrive that come from other nodes: in the node service's arena,
or, when shared memory is full, in a file. From there they are handed to the process they are for.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
from collections.abc import Callable, Container
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from rllib.core.exceptions import OutOfDiskError
from rllib.core.native import wire
from rllib.core.native.arena import Segment
from rllib.core.native.objects import Region
from rllib.core.native.spillfiles import FileRegion, stored_size

if TYPE_CHECKING:
    from rllib.core.native.engine import NativeRuntime
    from rllib.core.native.places import Key

MOST_PARTS = 1 << 16
MOST_BYTES = 1 << 42


class Berth:
    """Room for one value. Without a ``region`` there is none, and what comes is thrown away."""

    def __init__(self, number: int, sizes: list[int], region: Region | FileRegion | None) -> None:
        self.number = number
        self.size = stored_size(sizes)
        self.region = region
        self.done = 0
        self._view = None if region is None else _writable(region, self.size)

    def room(self, most: int) -> memoryview:
        """Where the next bytes go, up to ``most``; nowhere in particular where there is no room."""
        return self.part(self.done, min(most, self.size - self.done))

    def part(self, at: int, size: int) -> memoryview:
        """Where those bytes go, which are all within it."""
        if self._view is None:
            return memoryview(bytearray(size))
        return self._view[at : at + size]

    def take(self, data: memoryview) -> None:
        """The next bytes."""
        self.room(len(data))[:] = data
        self.done += len(data)

    @property
    def is_full(self) -> bool:
        """Whether all of it has come."""
        return self.done == self.size


def _writable(region: Region | FileRegion, size: int) -> memoryview:
    if isinstance(region, Region):
        return memoryview(region.segment.map)[region.offset : region.offset + size]
    with region.path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), size))


class Landing(NamedTuple):
    """What was handed to a process: what to tell it, and how to take it back."""

    claim: int
    at: wire.BlockAt | wire.FileAt | None
    segment: Segment | None
    """What ``at`` lies in."""
    process: bytes
    key: Key | None
    by: object
    """Who has brought it."""


class Dock:
    """Gives room and hands over. From any thread, but none that holds the runtime's lock; under
    which ``give_up`` is called to let go of a value that nobody reads, if there is one."""

    def __init__(self, runtime: NativeRuntime, give_up: Callable[[], bool]) -> None:
        self._runtime = runtime
        self._give_up = give_up
        self._places = runtime.places
        self._claims = itertools.count(1)
        self._unclaimed: dict[int, Landing] = {}
        self._helper = ThreadPoolExecutor(1, "rllib-dock")

    def berth(self, coming: wire.Coming) -> Berth | None:
        """Room for it, if there is some at once. Raises `WireError` for absurd sizes."""
        if not 0 < len(coming.sizes) <= MOST_PARTS or not 0 < sum(coming.sizes) <= MOST_BYTES:
            raise wire.WireError("a value of that size cannot come")
        size = stored_size(coming.sizes)
        with self._runtime.lock:
            block = self._places.room_at_once(size, self._give_up)
        if block is None:
            return None
        region = Region(block.segment, block.offset, coming.sizes, block)
        return Berth(coming.number, coming.sizes, region)

    def find_berth(self, coming: wire.Coming, found: Callable[[Berth], None]) -> None:
        """Have others make room for it; calls ``found`` in another thread, in seconds at most."""
        self._helper.submit(lambda: found(self._find(coming)))

    def _find(self, coming: wire.Coming) -> Berth:
        region = None
        with contextlib.suppress(OutOfDiskError):  # of which whoever loads the value hears
            region = self._places.room(coming.sizes)
        return Berth(coming.number, coming.sizes, region)

    def land(self, berth: Berth, process: bytes, by: object) -> Landing:
        """Hand it to a process of this node. Raises `PeerGoneError` for one that has ended."""
        region, claim = berth.region, next(self._claims)
        if region is None:
            return Landing(claim, None, None, process, None, by)
        segment, at = _place(region)
        with self._runtime.lock:
            self._places.landed_bytes += berth.size
            peer = None
            if process != self._runtime.me:
                peer = self._runtime.peers.get(process)
                self._runtime.peers.hold(peer.conn)  # it may hear of this process only now
            key = self._places.dock(at, region.hold, peer)
        landing = self._unclaimed[claim] = Landing(claim, at, segment, process, key, by)
        return landing

    def claimed(self, claim: int) -> None:
        """Its process knows of it, and frees it."""
        self._unclaimed.pop(claim, None)

    def withdraw(self, by: object, untold: Container[int]) -> None:
        """Free what came this way and is ``untold``: its process will never hear of it. What it was
        told of is its own, though it may not have said so: it may be reading it just now, and what
        a process holds goes with it at the latest."""
        for landing in [each for each in self._unclaimed.values() if each.by is by]:
            del self._unclaimed[landing.claim]
            if landing.claim in untold:
                self._take_back(landing)

    def _take_back(self, landing: Landing) -> None:
        assert landing.key is not None
        with self._runtime.lock:
            if landing.process == self._runtime.me:
                self._places.undock(landing.key, None)
                return
            peer = self._runtime.peers.known(landing.process)
            if peer is not None:
                self._places.undock(landing.key, peer)

    def close(self) -> None:
        """Wait for those who look for room."""
        self._helper.shutdown(cancel_futures=True)


def _place(region: Region | FileRegion) -> tuple[Segment | None, wire.BlockAt | wire.FileAt]:
    if isinstance(region, FileRegion):
        return None, wire.FileAt(region.maker, region.number, region.sizes)
    segment = region.segment
    at = wire.BlockAt(segment.arena, segment.number, region.offset, region.sizes)
    return segment, at
