"""The caller's side of calls: what is under way, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rllib.core.exceptions import ForeignReferenceError, OwnerDiedError
from rllib.core.native import wire
from rllib.core.native.call import FETCH, NOTHING, Call, NativeActor, Target
from rllib.core.native.connection import Frame
from rllib.core.native.failures import load_error
from rllib.core.native.lineage import Lineage
from rllib.core.native.objects import WANTED, Away, BorrowedRef, NativeRef, Stored
from rllib.core.native.outlying import Outlying
from rllib.core.native.peers import Peer, PeerGoneError, Peers
from rllib.core.native.sites import key_of
from rllib.core.native.streams import UNLIMITED
from rllib.core.native.values import EMPTY, Values


class Calls:
    """Sends calls and matches replies. Runs under the runtime's lock."""

    def __init__(
        self, peers: Peers, values: Values, numbers: Iterator[int], lineage: Lineage
    ) -> None:
        self._peers = peers
        self._values = values
        self._numbers = numbers
        self.outlying = Outlying(peers, values.reports, lineage, self._ask_for)
        self.agent = b""
        """The node service, which fetches for this process what is owned on other nodes; empty in
        the service itself, and where there are no other nodes."""

        self.fetched = 0
        """Large values of others that came from other nodes."""

        self._bereft: set[Peer] = set()
        """Peers that have ended with calls, of which the node is about to tell what becomes."""

    # -- sending -------------------------------------------------------------------------------

    def send(self, peer: Peer, call: Call) -> int:
        """Send a call; its number. Alone it leaves at once; behind others it waits for company."""
        refs = call.refs
        call.seq = seq = refs[0]._number if refs else next(self._numbers)
        if peer.gone:  # the node is about to tell how it died, which resolves the call
            peer.inflight[seq] = call
            self._bereave(peer)
            return seq
        target = peer.targets.get(call.target)
        if target is None:
            target = self._introduce(peer, call.target)
        args = call.args
        flags = 0 if call.stream is None else wire.STREAM
        if peer.remote and refs and refs[0].away is WANTED:
            flags |= wire.WANTED
        if args.is_plain and not call.label:
            frame = wire.plain_call_frame(target, seq, len(refs), args.body, flags)
        else:
            payload = self._values.outgoing(args, peer, handed=True)
            payload.label = call.label
            frame = wire.call_frame(target, seq, len(refs), payload, flags)
        peer.conn.send(frame)
        peer.inflight[seq] = call
        if call.stream is not None:
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

    def want(self, ref: NativeRef, *, direct: bool = False) -> None:
        """See that a value comes: ask for that of a borrowed reference, or for an own one that is
        kept elsewhere, once; ``direct`` asks its owner wherever it is."""
        if isinstance(ref, BorrowedRef):
            if not ref.fetching:
                ref.fetching = True
                (self._ask_owner if direct else self._fetch)(ref)
        elif ref._owner != self._values.me:
            ref.resolve(_foreign(ref))
        elif ref.away is None:
            ref.away = WANTED
            if self._peers.remote:
                self._tell_wanted(ref)
        elif ref.away is not WANTED:
            self.outlying.bring(ref)

    def _tell_wanted(self, ref: NativeRef) -> None:
        """Have the result of a task on another node come at once."""
        for peer in self._peers.remote.values():
            call = peer.inflight.get(ref._number)
            if call is not None and call.target.kind == "function":
                peer.conn.send(wire.record_frame(wire.Wanted(call.seq)))
                self._peers.hold(peer.conn)

    def look(self, ref: NativeRef) -> None:
        """See that it becomes known whether there is a value, and where; a large one on another
        node does not come for that."""
        if isinstance(ref, BorrowedRef):
            if not (ref.looking or ref.fetching):
                ref.looking = True
                self._ask_owner(ref, look=True)
        elif ref._owner != self._values.me:
            ref.resolve(_foreign(ref))

    def found(self, peer: Peer, record: wire.Found) -> None:
        """An owner says where a value is."""
        call = peer.inflight.pop(record.seq, None)
        if call is not None and call.target is FETCH and call.refs[0].outcome is None:
            call.refs[0].found(Away(record.at, record.size))

    def fetch_again(self, ref: BorrowedRef) -> None:
        """The file of a borrowed value is lost: have its owner see to that."""
        ref.outcome = None
        self._fetch(ref, lost=True)

    def _fetch(self, ref: BorrowedRef, *, lost: bool = False) -> None:
        if self.agent and key_of(ref._owner) != key_of(self._values.me):
            self._ask_for(ref, self.agent, lost=lost)
        else:
            self._ask_owner(ref, lost=lost)

    def _ask_owner(
        self, ref: BorrowedRef, *, lost: bool = False, direct: bool = False, look: bool = False
    ) -> None:
        question = wire.Fetch(next(self._numbers), ref._number, lost, direct, look)
        if not self._send_fetch(ref._owner, ref, question):
            ref.resolve(_owner_died(ref))

    def _ask_for(self, ref: NativeRef, service: bytes, *, lost: bool = False) -> None:
        """Ask a node service for a copy; without one, the owner."""
        seq = next(self._numbers)
        if not self._send_fetch(service, ref, wire.FetchFor(seq, ref._owner, ref._number, lost)):
            self._without_copy(ref)

    def _without_copy(self, ref: NativeRef) -> None:
        """There is none where there should have been one."""
        if isinstance(ref, BorrowedRef):
            self._ask_owner(ref, direct=True)
        else:
            self.outlying.lose(ref)

    def _send_fetch(self, to: bytes, ref: NativeRef, question: Any) -> bool:
        try:
            peer = self._peers.get(to)
        except PeerGoneError:
            return False
        peer.inflight[question.seq] = Call([ref], EMPTY, FETCH)
        peer.conn.send(wire.record_frame(question))
        self._peers.hold(peer.conn)
        return True

    def fetch_elsewhere(self, peer: Peer, seq: int, service: bytes) -> None:
        """Who was asked for a value says where to get it, or that he has it no more."""
        call = peer.inflight.pop(seq, None)
        if call is not None and call.target is FETCH:
            self._refetch(call, service)

    def _refetch(self, call: Call, service: bytes = b"") -> None:
        (ref,) = call.refs
        if ref.outcome is not None:
            return
        if service and service != self._values.me:
            self._ask_for(ref, service)
        else:
            self._without_copy(ref)

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
                if isinstance(each.block, wire.KeptAt) and call.target.kind == "function":
                    self._stays(ref, each.block, peer)
                else:
                    ref.resolve(self._values.result(each, peer))
            if call.target.kind == "actor":
                self._on_built(call.actor)
        return True

    def _stays(self, ref: NativeRef, kept: wire.KeptAt, peer: Peer) -> None:
        """A result did not come along; `Outlying.settle` is to follow."""
        if key_of(kept.service) != key_of(peer.process):
            raise wire.WireError("a result is kept on another node than where it was made")
        wanted = ref.away is WANTED
        ref.away = Away(kept.service, kept.size, kept.claim, wanted=wanted)

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
        if not isinstance(ref, BorrowedRef):  # a node service has kept it
            ref.resolve(self._values.result(payload, peer))
            self.outlying.has_come(ref)
            return
        handed = peer.process != ref._owner  # by a node service that has a copy
        value = self._values.incoming(payload, peer, handed=handed)
        self.fetched += peer.remote and value.region is not None
        if ref.outcome is None:  # else it has come along with the reference meanwhile
            ref.resolve(value)

    def _bereave(self, peer: Peer) -> None:
        self._bereft = {each for each in (*self._bereft, peer) if each.inflight}

    def unanswered(self) -> Iterator[Call]:
        """Calls that a peer has, or had when it ended."""
        for peer in (*self._peers.living(), *self._bereft):
            yield from (call for call in peer.inflight.values() if call.target is not FETCH)

    def on_peer_gone(self, peer: Peer) -> None:
        """A socket ended. How calls end is for the node to say; values of that owner are lost."""
        for seq, call in list(peer.inflight.items()):
            if call.target is FETCH:
                del peer.inflight[seq]
                if peer.process == call.refs[0]._owner:
                    call.resolve_all(_owner_died(call.refs[0]))
                else:
                    self._refetch(call)
        self._bereave(peer)
        self.outlying.service_gone(peer.process)
        for ref in self._values.borrowings.of(peer.process):
            if isinstance(ref.outcome, Stored) or ref.is_away:
                ref.outcome = _owner_died(ref)


def _foreign(ref: NativeRef) -> ForeignReferenceError:
    return ForeignReferenceError(f"{ref!r} belongs to a runtime that was shut down")


def _owner_died(ref: NativeRef) -> OwnerDiedError:
    return OwnerDiedError(
        f"the value of {ref!r} is lost: process {ref._owner.hex()[:12]}, which owned it, died"
    )
