"""How values travel: between what a process stores and what a message carries.

Small values are copied into the message. Large ones stay where they are, and the message says
where; see `places`.
"""

from __future__ import annotations

from typing import Any

from rllib.core.exceptions import ObjectLostError
from rllib.core.native import wire
from rllib.core.native.objects import (
    Borrowings,
    Lendings,
    LifeRef,
    NativeRef,
    Region,
    Reports,
    Stored,
)
from rllib.core.native.peers import Peer, PeerGoneError, Peers
from rllib.core.native.places import Places
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

    def __init__(self, me: bytes, peers: Peers, places: Places, reports: Reports) -> None:
        self.me = me
        self._peers = peers
        self.reports = reports
        self.places = places
        self.lendings = Lendings()
        self.borrowings = Borrowings(reports.ref_dropped)

    # -- at rest -------------------------------------------------------------------------------

    def store(self, value: Any) -> Stored:
        """Serialise; large parts are copied into shared memory. Call without the lock.

        Raises `TypeError` naming what cannot be pickled, `OutOfDiskError` when there is no room.
        """
        packed = pack(value)
        if not packed.buffers and len(packed.body) < SHARED_BYTES:
            return Stored(packed.body, [], packed.refs)
        if len(packed.body) + packed.buffer_bytes < SHARED_BYTES:
            return Stored(packed.body, [bytes(view) for view in packed.buffers], packed.refs)
        return self._store_shared(packed)

    def _store_shared(self, packed: Packed) -> Stored:
        parts, body = packed.buffers, packed.body
        if len(body) >= EAGER_BYTES:
            parts, body = [memoryview(body), *parts], b""
        return self._shelved(Stored(body, [], packed.refs, self.places.keep(parts)))

    def _shelved(self, stored: Stored) -> Stored:
        if isinstance(stored.region, Region):
            self.places.spiller.shelf.add(stored)
        return stored

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

    @staticmethod
    def flat(stored: Stored) -> Stored:
        """The same value without shared memory, so that it does not end with this process."""
        if stored.region is None:
            return stored
        parts = [bytes(part) for part in stored.region.parts(stored)]
        body = stored.body or parts.pop(0)
        return Stored(body, parts, stored.refs)

    # -- out -----------------------------------------------------------------------------------

    def outgoing(
        self, stored: Stored, peer: Peer, *, handed: bool, number: int = 0
    ) -> wire.Payload:
        """What a message to ``peer`` carries of ``stored``: handed to it, or as the value of my
        object ``number``."""
        block: wire.BlockAt | wire.FileAt | wire.Streamed | None = None
        if stored.region is not None and peer.remote:
            block = self.places.stream(stored.region, peer)
        elif stored.region is not None and handed:
            block = self.places.hand(stored.region, peer, stored.region.hold)
        elif stored.region is not None:
            block = self.places.show(stored.region, peer, number)
        return self._payload(stored, peer, block)

    def lent(self, stored: Stored, peer: Peer) -> wire.Payload:
        """What a message to ``peer`` carries of a copy, which is kept as long as it is read."""
        region = stored.region
        if region is None or peer.remote:
            return self.outgoing(stored, peer, handed=True)
        block = self.places.lend(region, peer, (region.hold, stored))
        return self._payload(stored, peer, block)

    def _payload(
        self, stored: Stored, peer: Peer, block: wire.BlockAt | wire.FileAt | wire.Streamed | None
    ) -> wire.Payload:
        refs = [self._outgoing_ref(ref, peer) for ref in stored.refs]
        if refs:
            self._send_news_ahead({at.owner for at in refs} - {self.me, peer.process})
        return wire.Payload(stored.body, stored.buffers, block, refs)

    def _outgoing_ref(self, ref: NativeRef, peer: Peer) -> wire.RefAt:
        if ref._owner == self.me:
            self.lendings.lend(ref, peer.process)
        elif ref._owner != peer.process:
            self._peers.tell(ref._owner, wire.Lent(ref._number, peer.process))
        value = None
        if isinstance(ref.outcome, Stored) and self._goes_along(ref, ref.outcome, peer):
            value = self.outgoing(ref.outcome, peer, handed=False, number=ref._number)
        return wire.RefAt(ref._owner, ref._number, value, ref._call_number(), ref.known_size())

    def _send_news_ahead(self, owners: set[bytes]) -> None:
        """Owners must hear of a new borrower even if this process dies as soon as the reference
        has left."""
        for owner in owners:
            known = self._peers.known(owner)
            if known is not None:
                self._peers.flush(known.conn)

    def _goes_along(self, ref: NativeRef, stored: Stored, peer: Peer) -> bool:
        """Whether a value travels with its reference: small ones do; large ones of others, whose
        place only their owner may tell, do not; and to another node none that is large."""
        if peer.remote:
            told = stored.region is None
        else:
            told = ref._owner == self.me or not isinstance(stored.region, Region)
        return told and not stored.refs and len(stored.body) <= EAGER_BYTES

    # -- in ------------------------------------------------------------------------------------

    def incoming(self, payload: wire.Payload, peer: Peer, *, handed: bool) -> Stored:
        """What a message carried. Raises `wire.WireError` for a segment that never came."""
        region = None
        if payload.block is not None:
            region = self.places.incoming(payload.block, peer, handed)
        refs = [self._incoming_ref(at, peer) for at in payload.refs]
        stored = Stored(payload.body, payload.buffers, refs, region)
        return self._shelved(stored) if handed or peer.remote else stored

    def result(self, payload: wire.Payload, peer: Peer) -> Stored:
        """The result of a call, which is this process's own from now on."""
        stored = self.incoming(payload, peer, handed=True)
        self.places.adopt(stored)
        return stored

    def _incoming_ref(self, at: wire.RefAt, peer: Peer) -> NativeRef:
        if at.owner == self.me:
            return self.lendings.find(at.number) or self._lost(at.number)
        ref = self.borrowings.receive(at.owner, at.number)
        ref.first = at.first
        ref.size = at.size or ref.size
        if at.value is not None and ref.outcome is None:
            ref.resolve(self.incoming(at.value, peer, handed=False))
        return ref

    def find_exposed(self, owner: bytes, number: int) -> NativeRef:
        """A reference that code names: nobody has sent it, so this process tells its owner."""
        if owner == self.me:
            return self.lendings.find(number) or self._lost(number)
        self._peers.tell(owner, wire.Lent(number, self.me))
        return self.borrowings.receive(owner, number)

    def is_borrowed(self, ref: NativeRef) -> bool:
        """Whether it is a reference of another process of this runtime."""
        return self.borrowings.find(ref._owner, ref._number) is ref

    def _lost(self, number: int) -> NativeRef:
        ref = NativeRef(self.me, number)
        ref.resolve(ObjectLostError(f"{ref!r} was freed before it came back to its owner"))
        return ref

    def passed_on(self, number: int, to: bytes) -> None:
        """A borrower has sent my object ``number`` to ``to``. There must be a connection to it,
        whose end is the end of what it borrows; if it is dead already, it borrows nothing."""
        if to == self.me:
            raise wire.WireError("an object was lent to its owner")
        try:
            self._peers.get(to)
        except PeerGoneError:
            return
        self.lendings.passed_on(number, to)

    def follow(self, record: wire.Moved, owner: bytes) -> None:
        """A borrowed object was moved to disk by its owner."""
        ref = self.borrowings.find(owner, record.number)
        outcome = None if ref is None else ref.outcome
        self.places.follow(outcome if isinstance(outcome, Stored) else None, record, owner)

    # -- ends ----------------------------------------------------------------------------------

    def peer_gone(self, peer: Peer) -> None:
        """Take back what the dead process held."""
        self.places.peer_gone(peer)
        self.lendings.drop_process(peer.process)

    def report(self) -> None:
        """Pass on what finalisers have reported."""
        self.places.report()
        reports = self.reports
        dropped: dict[bytes, list[tuple[int, int]]] = {}
        while reports.dropped:
            owner, number, count = reports.dropped.popleft()
            self.borrowings.forget(owner, number)
            dropped.setdefault(owner, []).append((number, count))
        for owner, items in dropped.items():
            self._peers.tell(owner, wire.Released(items))

    def life_ref(self, number: int, actor: bytes) -> LifeRef:
        """The reference that every handle of a new actor carries."""
        return LifeRef(self.me, number, actor, self.reports.actor_ended)


def _inlined(ref: NativeRef) -> Any:
    outcome = ref.outcome
    if isinstance(outcome, Stored) and outcome.is_plain and len(outcome.body) <= EAGER_BYTES:
        return Inlined(outcome.body)
    return ref
