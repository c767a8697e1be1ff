"""What a process does with each frame that another process sends it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from rllib.core.exceptions import ObjectLostError
from rllib.core.native import wire
from rllib.core.native.connection import Frame
from rllib.core.native.copies import Spreading
from rllib.core.native.failures import dump_error
from rllib.core.native.leases import Task
from rllib.core.native.objects import Away, NativeRef, Stored
from rllib.core.native.peers import Peer
from rllib.core.native.spillfiles import FileLostError

if TYPE_CHECKING:
    from rllib.core.native.engine import NativeRuntime


class Inbox:
    """Hands frames of peers to the parts of the runtime that they concern; under its lock."""

    def __init__(self, runtime: NativeRuntime) -> None:
        self._runtime = runtime
        self._spreading = Spreading()

    def on_frame(self, peer: Peer, frame: Frame) -> None:
        """Take one; raises `wire.WireError` for what no peer may send."""
        kind = frame[0]
        if kind == wire.REPLY:
            self._on_reply(peer, frame)
        elif kind == wire.CALL:
            self._runtime.on_call(peer, frame)
        elif kind == wire.ITEM:
            self._runtime.calls.on_item(peer, frame)
        elif kind == wire.RECORD:
            self._on_record(peer, wire.read_record(frame[-1]))
        elif kind == wire.SEGMENT:
            self._runtime.places.learn_segment(wire.read_segment(frame[-1]), peer)
        else:
            raise wire.WireError(f"unknown frame kind {kind}")

    def _on_reply(self, peer: Peer, frame: Frame) -> None:
        flags = frame[1]
        call = peer.inflight.pop(frame[4], None)
        if call is None:
            return  # it was given up: its lease is lost
        if flags & wire.RETURNED:
            if isinstance(call, Task):
                self._runtime.tasks.on_returned(call, flags)
            return
        try:
            answered = self._runtime.calls.answer(peer, call, frame)
        except wire.WireError:
            peer.inflight[frame[4]] = call  # it ends as all calls to that peer are about to
            raise
        if isinstance(call, Task):
            if not flags & wire.PLAIN:
                self._runtime.lineage.keep(call)
                self._runtime.calls.outlying.settle(call.refs)
            self._runtime.tasks.on_finished(call, flags)
            if not answered:
                self._runtime.tasks.again(call)
        elif not answered and call.actor is not None:
            self._runtime.actor_calls.submit(call.actor, call)

    def _on_record(self, peer: Peer, record: Any) -> None:
        match record:
            case wire.Freed(blocks):
                for segment, offset in blocks:
                    peer.let_go((segment, offset))
            case wire.Released(items):
                for number, count in items:
                    self._runtime.values.lendings.returned(number, count, peer.process)
            case wire.Lent(number, to):
                self._runtime.values.passed_on(number, to)
            case wire.Fetch():
                self._serve(peer, record)
            case wire.FetchFor():
                self._runtime.on_fetch_for(peer, record)
            case wire.Elsewhere(seq, process):
                self._runtime.calls.fetch_elsewhere(peer, seq, process)
            case wire.Found():
                self._runtime.calls.found(peer, record)
            case wire.Keep():
                self._runtime.on_keep(peer, record)
            case wire.Stays():
                self._runtime.on_stays(record)
            case wire.Claimed(claim):
                self._runtime.on_claimed(peer, claim)
            case wire.Landed():
                self._runtime.places.landed(record, peer)
            case wire.Moved():
                self._runtime.values.follow(record, peer.process)
            case wire.Intern(target):
                peer.interned[target] = record
            case wire.Recall(calls):
                self._runtime.on_recall(peer, calls)
            case wire.Cancel():
                self._runtime.on_cancel(peer, record)
            case wire.CancelRef(number, force, recursive):
                self._cancel_for_borrower(number, force, recursive)
            case wire.Taken(seq, total):
                self._runtime.on_taken(peer, seq, total)
            case wire.Wanted(seq):
                self._runtime.on_wanted(peer, seq)
            case wire.Assigned(assignment):
                self._runtime.on_assigned(assignment)
            case wire.Host():
                self._runtime.on_host(peer, record)
            case wire.Hello():
                pass  # both sides connected at once
            case _:
                raise wire.WireError(f"{type(record).__name__} is no message to a peer")

    def _cancel_for_borrower(self, number: int, force: bool, recursive: bool) -> None:
        ref = self._runtime.values.lendings.find(number)
        if ref is None:
            return  # it was freed meanwhile
        # A forced cancel of an actor's call, which is the borrower's mistake, is not to end here.
        with contextlib.suppress(ValueError):
            self._runtime.cancelling.cancel(ref, force, recursive)

    def _serve(self, peer: Peer, wanted: wire.Fetch) -> None:
        """Send a borrower the value of an own object, as soon as it is there."""
        number = wanted.number
        ref = self._runtime.values.lendings.find(number)
        if ref is None:
            ref = NativeRef(self._runtime.me, number)
            ref.resolve(ObjectLostError(f"{ref!r} was freed already"))
        elif wanted.lost:
            self._runtime.recover([ref])
        ref.when_known(lambda: self._send_value(peer, wanted, ref))

    def _send_value(self, peer: Peer, wanted: wire.Fetch, ref: NativeRef) -> None:
        if peer.gone:
            return
        if ref.is_away and ref.away is not None:
            frame = self._where(peer, wanted, ref, ref.away)
        else:
            frame = self._answer(peer, wanted, ref)
        if frame:
            peer.conn.send(frame)
            self._runtime.peers.hold(peer.conn)
        elif ref.is_away:  # it is about to come
            ref.when_ready(lambda: self._send_value(peer, wanted, ref))
        else:
            ref.when_known(lambda: self._send_value(peer, wanted, ref))

    def _where(self, peer: Peer, wanted: wire.Fetch, ref: NativeRef, away: Away) -> bytes:
        """Where a value is that is kept elsewhere; nothing where it has to come here before."""
        if wanted.look:
            return wire.record_frame(wire.Found(wanted.seq, away.at, away.size))
        if peer.process == away.at:
            if wanted.direct:  # it has it no more
                self._runtime.calls.outlying.lose(ref)
                return b""
            return wire.record_frame(wire.Elsewhere(wanted.seq, away.at))  # as it may know by now
        if peer.remote and not wanted.direct:
            source = self._spreading.source(away, peer.process) or away.at
            return wire.record_frame(wire.Elsewhere(wanted.seq, source))
        self._runtime.calls.want(ref)
        return b""

    def _answer(self, peer: Peer, wanted: wire.Fetch, ref: NativeRef) -> bytes:
        """The value or error of an own object; nothing where it has to be made again before."""
        outcome = ref.outcome
        if outcome is None:  # whoever was answered before has found that it is lost
            return b""
        if isinstance(outcome, Exception):
            return wire.error_frame(wanted.seq, dump_error(outcome))
        if wanted.look and peer.remote and outcome.region is not None:
            return wire.record_frame(wire.Found(wanted.seq, self._runtime.me, outcome.size))
        if source := self._source(peer, wanted, outcome):
            return wire.record_frame(wire.Elsewhere(wanted.seq, source))
        try:
            value = self._runtime.values.outgoing(outcome, peer, handed=False, number=ref._number)
        except FileLostError:
            self._runtime.recover([ref])
            return b""
        return wire.reply_frame(wanted.seq, [value])

    def _source(self, peer: Peer, wanted: wire.Fetch, stored: Stored) -> bytes:
        """The node service that sends it instead; empty for this process."""
        if not peer.remote or wanted.direct or stored.region is None:
            return b""
        return self._spreading.source(stored, peer.process)
