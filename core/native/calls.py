"""The caller's side of calls: what is under way, to which actor, and what becomes of it."""

from __future__ import annotations

import os
import pickle
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from rllib.core.exceptions import (
    ActorDiedError,
    CoreError,
    ObjectLostError,
    OwnerDiedError,
    TaskError,
)
from rllib.core.native import wire
from rllib.core.native.objects import BorrowedRef, NativeRef, Outcome, Stored
from rllib.core.native.peers import Peer, PeerGoneError, Peers
from rllib.core.native.values import EMPTY, Values
from rllib.core.runtime import ActorLink
from rllib.core.serialization import pack, unpack


class Target:
    """What is called: a function or class with its code, or a method of an actor."""

    __slots__ = ("blob", "concurrency", "expected_s", "kind", "name")

    def __init__(self, kind: str, name: str, blob: bytes = b"", concurrency: int = 1) -> None:
        self.kind = kind
        self.name = name
        self.blob = blob
        self.concurrency = concurrency
        self.expected_s = float("inf")
        """How long a call takes, by those that were timed; infinite before the first."""

    def took(self, seconds: float) -> None:
        """One call was timed."""
        known = self.expected_s < float("inf")
        self.expected_s = (self.expected_s + seconds) / 2 if known else seconds


FETCH = Target("fetch", "")


class Call:
    """One request that a peer has not answered; its references wait here."""

    __slots__ = ("actor", "args", "refs", "target")

    def __init__(
        self,
        refs: Sequence[NativeRef],
        args: Stored,
        target: Target,
        *,
        actor: NativeActor | None = None,
    ) -> None:
        self.refs = refs
        self.args = args
        self.target = target
        self.actor = actor  # keeps the actor alive until it has answered

    def resolve_all(self, outcome: Outcome) -> None:
        """Give every reference the same outcome: an error, or nothing."""
        for ref in self.refs:
            ref.resolve(outcome)


class NativeActor(ActorLink):
    """An actor as its callers see it: where it is, or what waits for it, or how it died."""

    __slots__ = ("death", "life", "methods", "peer", "queue")

    def __init__(self, actor_id: bytes, life: NativeRef | None) -> None:
        super().__init__(actor_id)
        self.life = life
        self.peer: Peer | None = None
        self.queue: deque[Call] = deque()
        self.methods: dict[str, Target] = {}
        self.death: ActorDiedError | None = None


class Calls:
    """Sends calls, matches replies, tells callers of deaths. Runs under the runtime's lock."""

    def __init__(self, peers: Peers, values: Values, tell_node: Callable[[Any], None]) -> None:
        self._peers = peers
        self._values = values
        self._tell_node = tell_node
        self._actors: weakref.WeakValueDictionary[bytes, NativeActor] = (
            weakref.WeakValueDictionary()
        )
        # Actors with queued calls: else only the queue would know them, and the collector, which
        # sees a cycle there, would end them and leave whoever waits for the calls waiting.
        self._awaited: dict[bytes, NativeActor] = {}

    # -- sending -------------------------------------------------------------------------------

    def send(self, peer: Peer, call: Call) -> int:
        """Send a call; its number. Alone it leaves at once; behind others it waits for company."""
        if peer.gone:  # the node is about to tell how it died, which resolves the call
            peer.seq += 1
            peer.inflight[peer.seq] = call
            return peer.seq
        target = peer.targets.get(call.target)
        if target is None:
            target = self._introduce(peer, call.target)
        peer.seq = seq = peer.seq + 1
        args = call.args
        if args.is_plain:
            frame = wire.plain_call_frame(target, seq, len(call.refs), args.body)
        else:
            payload = self._values.outgoing(args, peer, handed=True)
            frame = wire.call_frame(target, seq, len(call.refs), payload)
        peer.conn.send(frame)
        peer.inflight[seq] = call
        if len(peer.inflight) == 1:
            self._peers.flush(peer.conn)
        else:
            self._peers.hold(peer.conn)
        return seq

    def _introduce(self, peer: Peer, target: Target) -> int:
        number = peer.targets[target] = len(peer.targets) + 1
        intern = wire.Intern(number, target.kind, target.name, target.blob, target.concurrency)
        peer.conn.send(wire.record_frame(intern))
        return number

    def want(self, ref: NativeRef) -> None:
        """See that a value comes: ask the owner of a borrowed reference for it, once."""
        if isinstance(ref, BorrowedRef):
            if not ref.fetching:
                ref.fetching = True
                self._fetch(ref)
        elif ref._owner != self._values.me:
            ref.resolve(ObjectLostError(f"{ref!r} belongs to a runtime that was shut down"))

    def _fetch(self, ref: BorrowedRef) -> None:
        try:
            peer = self._peers.get(ref._owner)
        except PeerGoneError:
            ref.resolve(_owner_died(ref))
            return
        peer.seq = seq = peer.seq + 1
        peer.inflight[seq] = Call([ref], EMPTY, FETCH)
        peer.conn.send(wire.record_frame(wire.Fetch(seq, ref._number)))
        self._peers.hold(peer.conn)

    # -- replies -------------------------------------------------------------------------------

    def on_reply(self, peer: Peer, flags: int, seq: int, payload: bytes) -> Call | None:
        """Give the references of a call their values; which call it was."""
        call = peer.inflight.pop(seq, None)
        if call is None or flags & wire.RETURNED:
            return call
        if flags & wire.ERROR:
            call.resolve_all(_exception(payload))
        elif flags & wire.PLAIN:
            call.resolve_all(Stored(payload, [], []))
        else:
            payloads = wire.read_payloads(payload)
            if call.target is FETCH:
                self._on_fetched(call.refs[0], payloads[0], peer)
                return call
            for ref, each in zip(call.refs, payloads, strict=False):
                ref.resolve(self._values.result(each, peer))
        return call

    def _on_fetched(self, ref: NativeRef, payload: wire.Payload, peer: Peer) -> None:
        value = self._values.incoming(payload, peer, handed=False)
        if ref.outcome is None:  # else it has come along with the reference meanwhile
            ref.resolve(value)

    # -- actors --------------------------------------------------------------------------------

    @property
    def under_way(self) -> bool:
        """Whether calls wait for answers, or actors are known that may end with this process."""
        return bool(self._actors) or self._peers.any_inflight()

    def create(self, actor: NativeActor) -> None:
        """Remember an actor that this process has ordered."""
        self._actors[actor.actor_id] = actor

    def link(self, actor_id: bytes, life: NativeRef | None) -> NativeActor:
        """The one link of this process to an actor that it has heard of."""
        actor = self._actors.get(actor_id)
        if actor is None:
            actor = self._actors[actor_id] = NativeActor(actor_id, life)
            self._tell_node(wire.WatchActor(actor_id))
        elif actor.life is None:
            actor.life = life
        return actor

    def call_actor(self, actor: NativeActor, call: Call) -> None:
        """Send a call, or keep it until the actor has a process."""
        if actor.death is not None:
            call.resolve_all(actor.death)
        elif actor.peer is None:
            actor.queue.append(call)
            self._awaited[actor.actor_id] = actor
        else:
            self.send(actor.peer, call)

    def on_placed(self, actor_id: bytes, worker: bytes) -> None:
        """The node has found a process for an actor."""
        actor = self._actors.get(actor_id)
        if actor is None or actor.death is not None or actor.peer is not None:
            return
        try:
            actor.peer = self._peers.get(worker)
        except PeerGoneError:
            return  # the node will tell how it died
        while actor.queue:
            self.send(actor.peer, actor.queue.popleft())
        self._awaited.pop(actor_id, None)

    def on_died(self, actor_id: bytes, story: str) -> None:
        """The node knows that an actor is dead: everything that waits for it hears why."""
        actor = self._actors.get(actor_id)
        if actor is None or actor.death is not None:
            return
        actor.death = ActorDiedError(story)
        if actor.peer is not None:
            self._peers.drain(actor.peer)
            self.fail_calls(actor.peer, actor.death)
        while actor.queue:
            actor.queue.popleft().resolve_all(actor.death)
        self._awaited.pop(actor_id, None)

    def fail_calls(self, peer: Peer, error: Exception) -> None:
        """Resolve the actor's calls that a dead peer has not answered."""
        calls, peer.inflight = peer.inflight, {}
        for call in calls.values():
            if call.actor is not None:
                call.resolve_all(error)

    def close(self) -> None:
        """The runtime ends: handles that outlive it say so."""
        for actor in list(self._actors.values()):
            actor.death = actor.death or ActorDiedError("the actor's runtime was shut down")
            while actor.queue:
                actor.queue.popleft().resolve_all(actor.death)
        self._awaited.clear()

    def on_peer_gone(self, peer: Peer) -> None:
        """A socket ended. How calls end is for the node to say; values of that owner are lost."""
        for seq, call in list(peer.inflight.items()):
            if call.target is FETCH:
                del peer.inflight[seq]
                call.resolve_all(_owner_died(call.refs[0]))


def _owner_died(ref: NativeRef) -> OwnerDiedError:
    return OwnerDiedError(
        f"the value of {ref!r} is lost: process {ref._owner.hex()[:12]}, which owned it, died"
    )


def dump_error(error: Exception) -> bytes:
    """An exception as a reply's payload; a cause that cannot be pickled is left behind."""
    try:
        return pack(error).body
    except Exception:
        if isinstance(error, TaskError):
            return pickle.dumps(TaskError(error.function, error.remote_traceback, error.pid))
        return pickle.dumps(CoreError(str(error)))


def _exception(payload: bytes) -> Exception:
    """The exception of a reply, whatever it takes to load it."""
    try:
        error = unpack(payload)
    except Exception as problem:
        text = f"the exception of the remote code cannot be unpickled here: {problem!r}"
        return TaskError("a remote call", text, os.getpid())
    return error if isinstance(error, Exception) else CoreError(repr(error))
