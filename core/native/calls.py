"""The caller's side of calls: what is under way, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator

from rllib.core.exceptions import ForeignReferenceError, OwnerDiedError
from rllib.core.native import wire
from rllib.core.native.call import FETCH, NOTHING, Call, NativeActor, Target
from rllib.core.native.connection import Frame
from rllib.core.native.failures import load_error
from rllib.core.native.objects import BorrowedRef, NativeRef, Stored
from rllib.core.native.peers import Peer, PeerGoneError, Peers
from rllib.core.native.streams import UNLIMITED
from rllib.core.native.values import EMPTY, Values


class Calls:
    """Sends calls and matches replies. Runs under the runtime's lock."""

    def __init__(self, peers: Peers, values: Values, numbers: Iterator[int]) -> None:
        self._peers = peers
        self._values = values
        self._numbers = numbers

    # -- sending -------------------------------------------------------------------------------

    def send(self, peer: Peer, call: Call) -> int:
        """Send a call; its number. Alone it leaves at once; behind others it waits for company."""
        refs = call.refs
        call.seq = seq = refs[0]._number if refs else next(self._numbers)
        if peer.gone:  # the node is about to tell how it died, which resolves the call
            peer.inflight[seq] = call
            return seq
        target = peer.targets.get(call.target)
        if target is None:
            target = self._introduce(peer, call.target)
        args = call.args
        flags = 0 if call.stream is None else wire.STREAM
        if args.is_plain and not call.label:
            frame = wire.plain_call_frame(target, seq, len(refs), args.body, flags)
        else:
            payload = self._values.outgoing(args, peer, handed=True)
            payload.label = call.label
            frame = wire.call_frame(target, seq, len(refs), payload, flags)
        peer.conn.send(frame)
        peer.inflight[seq] = call
        if flags:
            self._tell_taken_before(call, peer)
        if len(peer.inflight) == 1:
            self._peers.flush(peer.conn)
        else:
            self._peers.hold(peer.conn)
        return seq

    def _introduce(self, peer: Peer, target: Target) -> int:
        number = peer.targets[target] = len(peer.targets) + 1
        intern = wire.Intern(number, target.kind, target.name, target.blob, **target.details)
        peer.conn.send(wire.record_frame(intern))
        return number

    def _tell_taken_before(self, call: Call, peer: Peer) -> None:
        """A streaming call runs again: what was taken of the run before counts."""
        stream = call.live_stream()
        if stream is None or stream.taken:
            taken = UNLIMITED if stream is None else stream.taken
            peer.conn.send(wire.record_frame(wire.Taken(call.seq, taken)))

    def want(self, ref: NativeRef) -> None:
        """See that a value comes: ask the owner of a borrowed reference for it, once."""
        if isinstance(ref, BorrowedRef):
            if not ref.fetching:
                ref.fetching = True
                self._fetch(ref)
        elif ref._owner != self._values.me:
            ref.resolve(ForeignReferenceError(f"{ref!r} belongs to a runtime that was shut down"))

    def fetch_again(self, ref: BorrowedRef) -> None:
        """The file of a borrowed value is lost: have its owner see to that."""
        ref.outcome = None
        self._fetch(ref, lost=True)

    def _fetch(self, ref: BorrowedRef, *, lost: bool = False) -> None:
        try:
            peer = self._peers.get(ref._owner)
        except PeerGoneError:
            ref.resolve(_owner_died(ref))
            return
        seq = next(self._numbers)
        peer.inflight[seq] = Call([ref], EMPTY, FETCH)
        peer.conn.send(wire.record_frame(wire.Fetch(seq, ref._number, lost)))
        self._peers.hold(peer.conn)

    # -- replies -------------------------------------------------------------------------------

    def answer(self, peer: Peer, call: Call, frame: Frame) -> bool:
        """Give the references of a call their values; ``False`` when it is to be run again."""
        _kind, flags, _returns, target, _seq, payload = frame
        if flags & wire.ERROR:
            error = load_error(payload)
            if call.retries_after(error):
                return False
            stream = call.live_stream()
            if stream is not None:
                stream.fail(error)
            call.resolve_all(error if call.stream is None else NOTHING)
        elif flags & wire.PLAIN:
            call.resolve_all(Stored(payload, [], []))
        elif flags & wire.STREAM:
            stream = call.live_stream()
            call.resolve_all((stream and stream.check_length(target)) or NOTHING)
        else:
            payloads = wire.read_payloads(payload, len(call.refs))
            if call.target is FETCH:
                self._on_fetched(call.refs[0], payloads[0], peer)
                return True
            for ref, each in zip(call.refs, payloads, strict=True):
                ref.resolve(self._values.result(each, peer))
            if call.target.kind == "actor":
                self._on_built(call.actor)
        return True

    def _on_built(self, actor: NativeActor | None) -> None:
        """The constructor is done: nobody needs its arguments, unless it may have to run again."""
        if actor is not None and not actor.may_restart:
            actor.build = None

    def on_item(self, peer: Peer, frame: Frame) -> None:
        """One result of a streaming call. What nobody takes is let go of."""
        _kind, flags, _returns, index, seq, payload = frame
        call = peer.inflight.get(seq)
        if flags & wire.PLAIN:
            outcome = Stored(payload, [], [])
        else:
            (each,) = wire.read_payloads(payload, 1)
            outcome = self._values.result(each, peer)
        stream = None if call is None else call.live_stream()
        if stream is not None:
            stream.receive(index, outcome)

    def tell_taken(self, call: Call, total: int) -> None:
        """The results of a streaming call were taken up to that number."""
        peer = call.peer
        if peer is not None and call.seq in peer.inflight:
            peer.conn.send(wire.record_frame(wire.Taken(call.seq, total)))
            self._peers.flush(peer.conn)

    def _on_fetched(self, ref: NativeRef, payload: wire.Payload, peer: Peer) -> None:
        value = self._values.incoming(payload, peer, handed=False)
        if ref.outcome is None:  # else it has come along with the reference meanwhile
            ref.resolve(value)

    def unanswered(self) -> Iterator[Call]:
        """Calls that a peer has."""
        for peer in self._peers.living():
            yield from (call for call in peer.inflight.values() if call.target is not FETCH)

    def on_peer_gone(self, peer: Peer) -> None:
        """A socket ended. How calls end is for the node to say; values of that owner are lost."""
        for seq, call in list(peer.inflight.items()):
            if call.target is FETCH:
                del peer.inflight[seq]
                call.resolve_all(_owner_died(call.refs[0]))
        for ref in self._values.borrowings.of(peer.process):
            if isinstance(ref.outcome, Stored):
                ref.outcome = _owner_died(ref)


def _owner_died(ref: NativeRef) -> OwnerDiedError:
    return OwnerDiedError(
        f"the value of {ref!r} is lost: process {ref._owner.hex()[:12]}, which owned it, died"
    )
