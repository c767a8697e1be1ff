"""How values travel: between what a process stores and what a message carries.

Small values are copied into the message. Large ones stay where they are; the message says where,
and the segment's descriptor goes along the first time. Who gets a *handed* block (an argument, a
result) frees it; who gets a value by reference holds it through the reference.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

from rllib.core.exceptions import ObjectLostError
from rllib.core.native import wire
from rllib.core.native.arena import Arena, Block, Segment, aligned
from rllib.core.native.objects import (
    Borrowings,
    HandedBlock,
    Lendings,
    LifeRef,
    NativeRef,
    Region,
    Reports,
    Stored,
)
from rllib.core.native.peers import Peer, Peers
from rllib.core.serialization import Packed, pack, unpack

SHARED_BYTES = 1 << 16
"""Values from this size on live in shared memory."""

EAGER_BYTES = 1 << 12
"""Values up to this size travel with their reference."""

EMPTY = Stored(b"", [], [])
"""No arguments at all."""


class Inlined:
    """Stands for a reference whose small value is at hand: unpickles as that value."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __reduce__(self) -> Any:
        return unpack, (self._body,)


class Values:
    """One process's values on their way out and in."""

    def __init__(
        self,
        me: bytes,
        lock: threading.RLock,
        peers: Peers,
        arena: Arena,
        reports: Reports,
    ) -> None:
        self.me = me
        self._lock = lock
        self._peers = peers
        self._reports = reports
        self._segments: weakref.WeakValueDictionary[tuple[bytes, int], Segment] = (
            weakref.WeakValueDictionary()
        )
        self.arena = arena
        self.lendings = Lendings()
        self.borrowings = Borrowings(reports.ref_dropped)

    # -- at rest -------------------------------------------------------------------------------

    def store(self, value: Any) -> Stored:
        """Serialise; large parts are copied into shared memory. Call without the lock."""
        packed = pack(value)
        if len(packed.body) + packed.buffer_bytes < SHARED_BYTES:
            return Stored(packed.body, [bytes(view) for view in packed.buffers], packed.refs)
        return self._store_shared(packed)

    def _store_shared(self, packed: Packed) -> Stored:
        parts, body = packed.buffers, packed.body
        if len(body) >= EAGER_BYTES:
            parts, body = [memoryview(body), *parts], b""
        with self._lock:
            block = self.arena.allocate(sum(aligned(part.nbytes) for part in parts))
        _copy_into(block, parts)
        sizes = [part.nbytes for part in parts]
        region = Region(block.segment, block.offset, sizes, block)
        return Stored(body, [], packed.refs, region)

    def store_args(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Stored:
        """Arguments of a call; references to small values at hand become those values."""
        if not args and not kwargs:
            return EMPTY
        args = tuple(_inlined(arg) if isinstance(arg, NativeRef) else arg for arg in args)
        if kwargs:
            kwargs = {
                key: _inlined(arg) if isinstance(arg, NativeRef) else arg
                for key, arg in kwargs.items()
            }
        return self.store((args, kwargs))

    # -- out -----------------------------------------------------------------------------------

    def outgoing(self, stored: Stored, peer: Peer, *, handed: bool) -> wire.Payload:
        """What a message to ``peer`` carries of ``stored``."""
        block = None
        if stored.region is not None:
            block = self._outgoing_block(stored.region, peer, handed)
        refs = [self._outgoing_ref(ref, peer) for ref in stored.refs]
        return wire.Payload(stored.body, stored.buffers, block, refs)

    def _outgoing_block(self, region: Region, peer: Peer, handed: bool) -> wire.BlockAt:
        segment = region.segment
        key = (segment.arena, segment.number)
        if key not in peer.segments and segment.arena != peer.process:
            peer.segments.add(key)
            notice = wire.SegmentAt(segment.arena, segment.number, segment.size)
            peer.conn.send(wire.record_frame(notice), segment.fd)
        if handed:
            assert isinstance(region.hold, Block)
            peer.held[segment.number, region.offset] = region.hold
        return wire.BlockAt(segment.arena, segment.number, region.offset, region.sizes)

    def _outgoing_ref(self, ref: NativeRef, peer: Peer) -> wire.RefAt:
        if ref._owner == self.me:
            self.lendings.lend(ref, peer.process)
        elif ref._owner != peer.process:
            self._peers.tell(ref._owner, wire.Lent(ref._number, peer.process))
        value = None
        outcome = ref.outcome
        if isinstance(outcome, Stored) and not outcome.refs and len(outcome.body) <= EAGER_BYTES:
            value = self.outgoing(outcome, peer, handed=False)
        return wire.RefAt(ref._owner, ref._number, value)

    # -- in ------------------------------------------------------------------------------------

    def incoming(self, payload: wire.Payload, peer: Peer, *, handed: bool) -> Stored:
        """What a message carried. Raises `wire.WireError` for a segment that never came."""
        region = None
        if payload.block is not None:
            region = self._incoming_block(payload.block, peer, handed)
        refs = [self._incoming_ref(at, peer) for at in payload.refs]
        return Stored(payload.body, payload.buffers, refs, region)

    def _incoming_block(self, at: wire.BlockAt, peer: Peer, handed: bool) -> Region:
        mine = at.arena == self.me
        key = (at.arena, at.segment)
        segment = self.arena.segment(at.segment) if mine else peer.mapped.get(key)
        size = sum(aligned(part) for part in at.sizes)
        if segment is None or at.offset < 0 or min(at.sizes, default=0) < 0:
            raise wire.WireError("a value lies in a segment that is not known")
        if at.offset + size > segment.size:
            raise wire.WireError("a value lies beyond the end of its segment")
        hold = None
        if handed:
            hold = HandedBlock(at.arena, at.segment, at.offset, self._reports.block_freed)
        return Region(segment, at.offset, at.sizes, hold)

    def _incoming_ref(self, at: wire.RefAt, peer: Peer) -> NativeRef:
        if at.owner == self.me:
            return self.lendings.find(at.number) or self._lost(at.number)
        ref = self.borrowings.receive(at.owner, at.number)
        if at.value is not None and ref.outcome is None:
            ref.resolve(self.incoming(at.value, peer, handed=False))
        return ref

    def _lost(self, number: int) -> NativeRef:
        ref = NativeRef(self.me, number)
        ref.resolve(ObjectLostError(f"{ref!r} was freed before it came back to its owner"))
        return ref

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
        peer.mapped.clear()
        self.lendings.drop_process(peer.process)

    def report(self) -> None:
        """Pass on what finalisers have reported."""
        reports = self._reports
        freed: dict[bytes, list[tuple[int, int]]] = {}
        while reports.freed:
            arena, segment, offset = reports.freed.popleft()
            freed.setdefault(arena, []).append((segment, offset))
        for arena, blocks in freed.items():
            self._tell_known(arena, wire.Freed(blocks))
        dropped: dict[bytes, list[tuple[int, int]]] = {}
        while reports.dropped:
            owner, number, count = reports.dropped.popleft()
            self.borrowings.forget(owner, number)
            dropped.setdefault(owner, []).append((number, count))
        for owner, items in dropped.items():
            self._peers.tell(owner, wire.Released(items))

    def _tell_known(self, process: bytes, record: Any) -> None:
        if self._peers.known(process) is not None:
            self._peers.tell(process, record)

    def life_ref(self, number: int, actor: bytes) -> LifeRef:
        """The reference that every handle of a new actor carries."""
        return LifeRef(self.me, number, actor, self._reports.actor_ended)


def _mapped(record: wire.SegmentAt, fd: int) -> Segment:
    try:
        if os.fstat(fd).st_size >= record.size > 0:
            return Segment(record.arena, record.number, fd, record.size)
    except OSError as error:
        os.close(fd)
        raise wire.WireError(f"a segment cannot be mapped: {error}") from error
    os.close(fd)
    raise wire.WireError("a segment is smaller than announced")


def _inlined(ref: NativeRef) -> Any:
    outcome = ref.outcome
    if isinstance(outcome, Stored) and outcome.is_plain and len(outcome.body) <= EAGER_BYTES:
        return Inlined(outcome.body)
    return ref


def _copy_into(block: Block, parts: list[memoryview]) -> None:
    memory = memoryview(block.segment.map)
    start = block.offset
    for part in parts:
        memory[start : start + part.nbytes] = part.cast("B")
        start += aligned(part.nbytes)
