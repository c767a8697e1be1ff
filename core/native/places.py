"""Where the large parts of values lie: in an arena, or in a file; own ones and those of others.

Who gets a *handed* block or file (an argument, a result) frees it. Who gets a value by reference
holds it through the reference, and is told by the owner when the value moves to disk. Only owners
say where in memory a value lies, so that they know whom to tell::

    owner --BlockAt--> B                owner moves the value to a file, and keeps the block for B
    owner --Moved(file)--> B            B goes on with the file
    B --Freed(MOVED)--> owner           once nothing in B views the old place
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from rllib.core.native import wire
from rllib.core.native.arena import PAGE, Arena, Block, Segment, aligned
from rllib.core.native.copying import copy_into
from rllib.core.native.ledger import Inherited, Ledger
from rllib.core.native.objects import (
    BULKS,
    FILES,
    LOANS,
    MOVED,
    Handed,
    HandedBlock,
    Region,
    Reports,
    Shown,
    Stored,
)
from rllib.core.native.peers import Peer, Peers
from rllib.core.native.spillfiles import FileRegion, SpillFiles, UnroomedRegion, stored_size
from rllib.core.native.spilling import Spiller

_ASK_AGAIN_S = 0.05
"""After others could not make room, they are not asked again for so long."""

_SLOW_BYTES = 2**20
"""From here on (about a millisecond) it matters whether memory is fresh."""

Key = tuple[int, int]
"""Of what is handed over: segment and offset, see `objects.Handed`."""

FindRoom = Callable[[int, int], Block | None]
"""How to wait for a block of some size, after so many bytes were moved already."""


class Places:
    """One process's large values. Methods run under the runtime's lock, but for `keep`."""

    def __init__(
        self,
        me: bytes,
        lock: threading.RLock,
        peers: Peers,
        reports: Reports,
        ledger: Ledger,
        files: SpillFiles,
        find_room: FindRoom,
    ) -> None:
        self._me = me
        self._lock = lock
        self._peers = peers
        self._reports = reports
        self._files = files
        self._find_room = find_room
        self._capacity = ledger.capacity
        self._inherited = Inherited(ledger)
        self._segments: weakref.WeakValueDictionary[tuple[bytes, int], Segment] = (
            weakref.WeakValueDictionary()
        )
        self._moves = itertools.count(1)
        self._streams = itertools.count(1)
        self._loans = itertools.count(1)
        self._docked: dict[Key, Any] = {}
        self._refused = float("-inf")
        self.landed_bytes = 0
        """In a node service: of large values that came here from other nodes, for whomever."""
        self.arena = Arena(me, ledger, files.folder.parent)
        self.spiller = Spiller(lock, self.arena, ledger, files, self._moved)

    # -- new values ----------------------------------------------------------------------------

    def room(self, sizes: list[int]) -> Region | FileRegion:
        """Room for parts of these sizes that are about to come. Call without the lock.

        Raises `OutOfDiskError` when there is none in memory and none on the disk.
        """
        block = self._allocate(stored_size(sizes))
        if block is None:
            return self._files.reserve(sizes)
        return Region(block.segment, block.offset, sizes, block)

    def keep(self, parts: list[memoryview]) -> Region | FileRegion:
        """Copy the parts of a value to where there is room. Call without the lock.

        Raises `OutOfDiskError` when there is none in memory and none on the disk.
        """
        sizes = [part.nbytes for part in parts]
        block = self._allocate(stored_size(sizes))
        if block is None:
            return self._files.write(parts)
        _copy_into(block, parts)
        return Region(block.segment, block.offset, sizes, block)

    def room_at_once(self, size: int, give_up: Callable[[], bool]) -> Block | None:
        """A block, if there is one without others making room. Under the lock.

        ``give_up`` lets go of something that nobody uses, if there is such a thing: better that
        than much fresh memory, which is slow.
        """
        if size > self._capacity:
            return None
        block = self.arena.allocate(size, warm=size >= _SLOW_BYTES)
        while block is None and give_up():
            block = self.arena.allocate(size, warm=size >= _SLOW_BYTES)
        return block or self.arena.allocate(size)

    def _allocate(self, size: int) -> Block | None:
        with self._lock:
            block = self.arena.allocate(size)
        if block is None and size <= self._capacity:
            block = self._make_room(size)
        return block

    def _make_room(self, size: int) -> Block | None:
        moved = self.spiller.spill(size, lambda: False)
        with self._lock:
            block = self.arena.allocate(size)
        if block is None and (moved or time.monotonic() > self._refused + _ASK_AGAIN_S):
            block = self._find_room(size, moved)
            if block is None:
                self._refused = time.monotonic()
        return block

    # -- out -----------------------------------------------------------------------------------

    def hand(
        self, region: Region | FileRegion, peer: Peer, hold: Any
    ) -> wire.BlockAt | wire.FileAt:
        """Where ``peer`` finds what is handed to it; until it lets go, ``hold`` is kept."""
        if isinstance(region, FileRegion):
            peer.hold((FILES, region.number), hold)
            return _file_at(region)
        peer.hold((region.segment.number, region.offset), hold)
        return self._block_at(region, peer)

    def lend(
        self, region: Region | FileRegion, peer: Peer, hold: Any
    ) -> wire.BlockAt | wire.FileAt:
        """As `hand`, for what may lie in the arena of another process, whom its reader does not
        concern."""
        if isinstance(region, FileRegion) or region.segment.arena == self._me:
            return self.hand(region, peer, hold)
        at = self._block_at(region, peer)
        at.loan = next(self._loans)
        peer.hold((LOANS, at.loan), hold)
        return at

    def show(
        self, region: Region | FileRegion, peer: Peer, number: int
    ) -> wire.BlockAt | wire.FileAt:
        """Where ``peer`` finds the value of my object of that number."""
        if isinstance(region, FileRegion):
            return _file_at(region)
        region.shown = region.shown or Shown(number, set())
        region.shown.to.add(peer.process)
        return self._block_at(region, peer)

    def _block_at(self, region: Region, peer: Peer) -> wire.BlockAt:
        segment = region.segment
        self._introduce(segment, peer)
        return wire.BlockAt(segment.arena, segment.number, region.offset, region.sizes)

    def stream(self, region: Region | FileRegion, peer: Peer) -> wire.Streamed:
        """Have the gateway send it to a peer on another node, from where it lies.

        Raises `FileLostError` for a file that is gone.
        """
        number = next(self._streams)
        with contextlib.ExitStack() as opened:
            if isinstance(region, FileRegion):
                fd, offset = region.open(), 0
                opened.callback(os.close, fd)
            else:
                fd, offset = region.segment.fd, region.offset
            peer.conn.send(wire.bulk_frame(wire.BulkAt(number, offset, region.sizes)), fd)
        peer.hold((BULKS, number), region)  # which nobody moves meanwhile
        return wire.Streamed(number)

    def _introduce(self, segment: Segment, peer: Peer) -> None:
        key = (segment.arena, segment.number)
        if key not in peer.segments and segment.arena != peer.process:
            peer.segments.add(key)
            notice = wire.SegmentAt(segment.arena, segment.number, segment.size)
            peer.conn.send(wire.segment_frame(notice), segment.fd)

    def _moved(self, region: Region, file: FileRegion) -> None:
        """An own value lies in a file now: who knows the old place lets go of it when it can."""
        if region.shown is None:
            return
        move = next(self._moves)
        notice = wire.record_frame(wire.Moved(move, region.shown.number, _file_at(file)))
        for process in region.shown.to:
            peer = self._peers.known(process)
            if peer is not None:  # else it is dead
                peer.hold((MOVED, move), region.hold)
                peer.conn.send(notice)
                self._peers.hold(peer.conn)

    # -- in ------------------------------------------------------------------------------------

    def dock(self, at: wire.BlockAt | wire.FileAt, hold: Any, peer: Peer | None) -> Key:
        """Hand a value that has come from another node to ``peer``, or to this process itself; its
        key, for `undock`."""
        key = (FILES, at.number) if isinstance(at, wire.FileAt) else (at.segment, at.offset)
        if peer is None:
            self._docked[key] = hold
        else:
            peer.hold(key, hold)
        return key

    def undock(self, key: Key, peer: Peer | None) -> None:
        """It will never know of it."""
        if peer is None:
            self._docked.pop(key, None)
        else:
            peer.let_go(key)

    def landed(self, record: wire.Landed, peer: Peer) -> None:
        """The gateway has put the large parts of a value of ``peer``'s there. The message that
        speaks of them is to follow."""
        at = record.at
        region: Region | FileRegion
        if at is None:
            region = UnroomedRegion()
        elif isinstance(at, wire.FileAt):
            region = self._files.find(at.maker, at.number, at.sizes, self._landed_file(at))
        else:
            region = self.incoming(at, peer, handed=True)
        peer.coming[record.number] = region
        peer.conn.send(wire.notice_frame(wire.CLAIMED, record.claim))
        self._peers.hold(peer.conn)

    def _landed_file(self, at: wire.FileAt) -> Any:
        if at.maker == self._me:
            return self._docked.pop((FILES, at.number), None)
        return self._handed(at.maker, FILES, at.number, 0)

    def _streamed(self, number: int, peer: Peer) -> Region | FileRegion:
        region = peer.coming.pop(number, None)
        if region is None:
            raise wire.WireError("a value was named that did not come")
        return region

    def incoming(
        self,
        at: wire.BlockAt | wire.FileAt | wire.Streamed | wire.KeptAt,
        peer: Peer,
        handed: bool,
    ) -> Region | FileRegion:
        """What a message spoke of. Raises `wire.WireError` for a segment that never came."""
        if isinstance(at, wire.KeptAt):
            raise wire.WireError("a value stays elsewhere that was to come along")
        if isinstance(at, wire.Streamed):
            return self._streamed(at.number, peer)
        if isinstance(at, wire.FileAt):
            hold = self._handed(peer.process, FILES, at.number, 0) if handed else None
            return self._files.find(at.maker, at.number, at.sizes, hold)
        mine = at.arena == self._me
        known = peer.mapped.get((at.arena, at.segment))
        segment = self.arena.segment(at.segment) if mine else known
        if segment is None:
            raise wire.WireError("a value lies in a segment that is not known")
        size = stored_size(at.sizes)
        if at.offset + size > segment.size:
            raise wire.WireError("a value lies beyond the end of its segment")
        block: Block | HandedBlock | None = None
        if at.loan:
            block = self._handed(peer.process, LOANS, at.loan, 0)
        elif handed and mine:
            block = self._docked.pop((at.segment, at.offset), None)
        elif handed:
            whole = aligned(size, PAGE)
            self._inherited.received(at.arena, whole)
            block = self._handed(at.arena, at.segment, at.offset, whole)
        return Region(segment, at.offset, at.sizes, block)

    def _handed(self, arena: bytes, segment: int, offset: int, size: int) -> HandedBlock:
        return HandedBlock(Handed(arena, segment, offset, size), self._reports.block_freed)

    def adopt(self, stored: Stored) -> None:
        """A result is this process's own from now on, also if the one that made it dies."""
        if isinstance(stored.region, FileRegion) and stored.region.maker != self._me:
            stored.region = self._files.adopt(stored.region)

    def follow(self, stored: Stored | None, record: wire.Moved, owner: bytes) -> None:
        """The owner has moved a value; ``stored``, if this process has it, is read there now."""
        hold = self._handed(owner, MOVED, record.move, 0)
        if stored is not None and isinstance(stored.region, Region):
            old, at = stored.region, record.file
            stored.region = self._files.find(at.maker, at.number, at.sizes, None)
            old.hold = hold  # views of the old place keep it

    def learn_segment(self, record: wire.SegmentAt, peer: Peer) -> None:
        """Map a segment whose descriptor has come along. Raises `wire.WireError`."""
        fds = peer.received_fds()
        if not fds:
            raise wire.WireError("a segment was announced without its descriptor")
        fd = fds.popleft()
        key = (record.arena, record.number)
        segment = self._segments.get(key)
        if segment is None:
            segment = self._segments[key] = _mapped(record, fd)
        else:
            os.close(fd)
        peer.mapped[key] = segment

    # -- ends ----------------------------------------------------------------------------------

    def peer_gone(self, peer: Peer) -> None:
        """Take back what the dead process held; its segments go with their last reader."""
        peer.held.clear()
        peer.coming.clear()
        peer.mapped.clear()
        self._inherited.died(peer.process)

    def report(self) -> None:
        """Tell others which of their blocks are not read here any more."""
        freed: dict[bytes, list[tuple[int, int]]] = {}
        while self._reports.freed:
            arena, segment, offset, size = self._reports.freed.popleft()
            if segment >= 0:
                self._inherited.returned(arena, size)
            freed.setdefault(arena, []).append((segment, offset))
        for arena, blocks in freed.items():
            self._peers.tell(arena, wire.Freed(blocks))


def _file_at(region: FileRegion) -> wire.FileAt:
    return wire.FileAt(region.maker, region.number, region.sizes)


def _mapped(record: wire.SegmentAt, fd: int) -> Segment:
    try:
        if os.fstat(fd).st_size >= record.size > 0:
            return Segment(record.arena, record.number, fd, record.size)
    except OSError as error:
        os.close(fd)
        raise wire.WireError(f"a segment cannot be mapped: {error}") from error
    os.close(fd)
    raise wire.WireError("a segment is smaller than announced")


def _copy_into(block: Block, parts: list[memoryview]) -> None:
    start = block.offset
    for part in parts:
        copy_into(block.segment.map, start, part)
        start += aligned(part.nbytes)
