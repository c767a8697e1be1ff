"""The caller's side of calls: what is under way, to which actor, and what becomes of it."""

from __future__ import annotations

import os
import pickle
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

from rllib.core.exceptions import (
    ActorDiedError,
    ActorPlacementGroupRemoved,
    ActorUnavailableError,
    ActorUnschedulableError,
    CoreError,
    ObjectLostError,
    OwnerDiedError,
    TaskCancelledError,
    TaskError,
    to_raise,
)
from rllib.core.native import wire
from rllib.core.native.connection import Frame
from rllib.core.native.objects import BorrowedRef, NativeRef, Outcome, Stored
from rllib.core.native.peers import Peer, PeerGoneError, Peers
from rllib.core.native.streams import UNLIMITED, NativeStream
from rllib.core.native.values import EMPTY, Values
from rllib.core.records import RetryOn
from rllib.core.runtime import ActorLink
from rllib.core.serialization import pack, unpack


class Target:
    """What is called: a function or class with its code, or a method of an actor.

    ``details`` are further fields of the `wire.Intern` that introduces it to a callee.
    """

    __slots__ = ("blob", "details", "expected_s", "kind", "name")

    def __init__(self, kind: str, name: str, blob: bytes = b"", **details: Any) -> None:
        self.kind = kind
        self.name = name
        self.blob = blob
        self.details = details
        self.expected_s = float("inf")
        """How long a call takes, by those that were timed; infinite before the first."""

    def took(self, seconds: float) -> None:
        """One call was timed."""
        known = self.expected_s < float("inf")
        self.expected_s = (self.expected_s + seconds) / 2 if known else seconds


FETCH = Target("fetch", "")

NOTHING = Stored(pickle.dumps(None, 5), [], [])
"""The value of the reference that says that a stream has ended."""


class Call:
    """One request that a peer has not answered; its references wait here."""

    __slots__ = (
        "actor",
        "args",
        "cancelled",
        "label",
        "parent",
        "refs",
        "retries",
        "retry_on",
        "seq",
        "stream",
        "target",
    )

    def __init__(
        self,
        refs: Sequence[NativeRef],
        args: Stored,
        target: Target,
        actor: NativeActor | None = None,
        retries: int = 0,
        retry_on: RetryOn = False,
        label: str = "",
    ) -> None:
        self.refs = refs
        self.args = args
        self.target = target
        self.actor = actor  # keeps the actor alive until it has answered
        self.retries = retries
        """Times that it may be run again; -1 without limit."""
        self.retry_on = retry_on
        self.label = label
        """What to name it in errors, where that is not the target's name."""
        self.seq = 0
        """Its number, once it was sent: that of its first reference, if it has one."""
        self.stream: weakref.ref[NativeStream] | None = None
        """Where results go that come one by one; then ``refs`` is the reference of its end."""
        self.parent = current_job.get()
        self.cancelled = False

    def resolve_all(self, outcome: Outcome) -> None:
        """Give every reference the same outcome: an error, or nothing."""
        for ref in self.refs:
            ref.resolve(outcome)
        stream = self.live_stream()
        if stream is not None:
            stream.end()

    def live_stream(self) -> NativeStream | None:
        """The stream, while somebody takes from it."""
        return None if self.stream is None else self.stream()

    def use_retry(self) -> bool:
        """Take one of the retries that are left; whether there was one."""
        if self.cancelled or self.retries == 0:
            return False
        self.retries -= self.retries > 0
        return True

    def retries_after(self, error: Exception) -> bool:
        """Whether an exception of user code is to be followed by another run."""
        if self.retry_on is False or not isinstance(error, TaskError):
            return False
        matches = self.retry_on is True or isinstance(error.cause, self.retry_on)
        return matches and self.use_retry()

    @property
    def name(self) -> str:
        """What to call it in errors."""
        return self.label or self.target.name

    @property
    def peer(self) -> Peer | None:
        """Who has it, or will be the one to get it."""
        return None if self.actor is None else self.actor.peer


current_job: ContextVar[Any] = ContextVar("current_job", default=None)
"""In a worker: the job whose code runs in this thread or coroutine. Calls that it makes are its
children, which matters when it is cancelled."""


class NativeActor(ActorLink):
    """An actor as its callers see it: where it is, or what waits for it, or how it died."""

    __slots__ = ("build", "death", "life", "may_restart", "methods", "peer", "queue")

    def __init__(self, actor_id: bytes, life: NativeRef | None) -> None:
        super().__init__(actor_id)
        self.life = life
        self.peer: Peer | None = None
        self.queue: deque[Call] = deque()
        self.methods: dict[tuple[str, str, int], Target] = {}
        self.death: CoreError | None = None
        self.build: Build | None = None
        """In its owner, as long as it may have to be constructed (again)."""
        self.may_restart = False


class Build(NamedTuple):
    """The constructor of an actor, and its arguments."""

    constructor: Target
    args: Stored


_FATES: dict[wire.Fate, type[CoreError]] = {
    "": ActorDiedError,
    "group removed": ActorPlacementGroupRemoved,
    "unschedulable": ActorUnschedulableError,
}


class Calls:
    """Sends calls, matches replies, tells callers of deaths. Runs under the runtime's lock."""

    def __init__(
        self,
        peers: Peers,
        values: Values,
        tell_node: Callable[[Any], None],
        numbers: Iterator[int],
    ) -> None:
        self._peers = peers
        self._values = values
        self._tell_node = tell_node
        self._numbers = numbers
        self._actors: weakref.WeakValueDictionary[bytes, NativeActor] = (
            weakref.WeakValueDictionary()
        )
        # Actors with queued calls: else only the queue would know them, and the collector, which
        # sees a cycle there, would end them and leave whoever waits for the calls waiting.
        self._awaited: dict[bytes, NativeActor] = {}
        self._detached: dict[bytes, NativeActor] = {}

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
            ref.resolve(ObjectLostError(f"{ref!r} belongs to a runtime that was shut down"))

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
            error = _exception(payload)
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

    # -- actors --------------------------------------------------------------------------------

    @property
    def under_way(self) -> bool:
        """Whether calls wait for answers, or actors are known that may end with this process."""
        return bool(self._actors) or self._peers.any_inflight()

    def create(self, actor: NativeActor, build: Build) -> None:
        """Construct an actor that this process has ordered, as soon as it has a process."""
        actor.build = build
        self._actors[actor.actor_id] = self._awaited[actor.actor_id] = actor

    def link(self, actor_id: bytes, life: NativeRef | None) -> NativeActor:
        """The one link of this process to an actor that it has heard of."""
        actor = self._actors.get(actor_id)
        if actor is None:
            actor = self._actors[actor_id] = NativeActor(actor_id, life)
            self._tell_node(wire.WatchActor(actor_id))
        elif actor.life is None:
            actor.life = life
        return actor

    def host(self, actor_id: bytes, build: Build) -> None:
        """Own a detached actor, which lives without handles."""
        actor = self._actors.get(actor_id) or NativeActor(actor_id, None)
        self._detached[actor_id] = actor
        self.create(actor, build)
        self._tell_node(wire.WatchActor(actor_id))  # it was ordered before this process knew of it

    def call_actor(self, actor: NativeActor, call: Call) -> None:
        """Send a call, or keep it until the actor has a process."""
        if actor.death is not None:
            call.resolve_all(actor.death)
        elif actor.peer is None or actor.peer.gone:
            actor.queue.append(call)
            self._awaited[actor.actor_id] = actor
        else:
            self.send(actor.peer, call)

    def on_placed(self, news: wire.ActorPlaced) -> None:
        """The node has found a process for an actor; its owner constructs it there."""
        actor = self._actors.get(news.actor)
        if actor is None or actor.death is not None or actor.peer is not None:
            return
        actor.may_restart = news.may_restart
        try:
            actor.peer = self._peers.get(news.worker)
        except PeerGoneError:
            return  # the node will tell how it died
        if actor.build is not None:
            self._construct(actor, actor.peer, actor.build, news.assignment)
        while actor.queue:
            self.send(actor.peer, actor.queue.popleft())
        self._awaited.pop(news.actor, None)

    def _construct(
        self, actor: NativeActor, peer: Peer, build: Build, given: wire.Assignment
    ) -> None:
        peer.conn.send(wire.record_frame(wire.Assigned(given)))
        call = Call([], build.args, build.constructor, actor=actor)
        call.parent = None  # it is the node who wants it now
        self.send(peer, call)

    def on_restarting(self, news: wire.ActorRestarting) -> None:
        """An actor's process is gone. Calls that it had are made again where they may be, before
        those that wait."""
        actor = self._actors.get(news.actor)
        if actor is None or actor.death is not None or actor.peer is None:
            return
        self._peers.drain(actor.peer)
        lost = self._take_calls(actor.peer)
        actor.peer = None
        again: deque[Call] = deque()
        for call in lost:
            if (news.unbegun and not call.cancelled) or call.use_retry():
                again.append(call)
            else:
                call.resolve_all(_unavailable(call, news.story))
        actor.queue.extendleft(reversed(again))
        if actor.queue:
            self._awaited[news.actor] = actor

    def on_died(self, news: wire.ActorDied) -> None:
        """The node knows that an actor is dead: everything that waits for it hears why."""
        actor = self._actors.get(news.actor)
        if actor is None or actor.death is not None:
            return
        actor.death = _death(news)
        actor.build = None
        if actor.peer is not None:
            self._peers.drain(actor.peer)
            for call in self._take_calls(actor.peer):
                call.resolve_all(actor.death)
        while actor.queue:
            actor.queue.popleft().resolve_all(actor.death)
        self._awaited.pop(news.actor, None)
        self._detached.pop(news.actor, None)

    @staticmethod
    def _take_calls(peer: Peer) -> list[Call]:
        """The actor's calls that a dead peer has not answered."""
        calls, peer.inflight = peer.inflight, {}
        return [call for call in calls.values() if call.target.kind == "method"]

    def unfinished(self) -> Iterator[Call]:
        """Calls that a peer has, and calls that wait for their actor's process."""
        for peer in self._peers.living():
            yield from (call for call in peer.inflight.values() if call.target is not FETCH)
        for actor in self._awaited.values():
            yield from actor.queue

    def pending(self, actor: NativeActor) -> int:
        """Calls of that actor that are not answered."""
        sent = () if actor.peer is None else actor.peer.inflight.values()
        unanswered = (call for call in (*actor.queue, *sent) if call.actor is actor)
        return sum(call.target.kind == "method" for call in unanswered)

    def drop(self, call: Call) -> bool:
        """Forget a call that waits for its actor's process; ``False`` for one that was sent."""
        if call.actor is None or call not in call.actor.queue:
            return False
        call.actor.queue.remove(call)
        return True

    def close(self) -> None:
        """The runtime ends: handles that outlive it say so."""
        for actor in list(self._actors.values()):
            actor.death = actor.death or ActorDiedError("the actor's runtime was shut down")
            while actor.queue:
                actor.queue.popleft().resolve_all(actor.death)
        self._awaited.clear()
        self._detached.clear()

    def on_peer_gone(self, peer: Peer) -> None:
        """A socket ended. How calls end is for the node to say; values of that owner are lost."""
        for seq, call in list(peer.inflight.items()):
            if call.target is FETCH:
                del peer.inflight[seq]
                call.resolve_all(_owner_died(call.refs[0]))


def _death(news: wire.ActorDied) -> CoreError:
    death = _FATES[news.fate](news.story)
    if news.cause:
        death.__cause__ = to_raise(_exception(news.cause))
    return death


def _unavailable(call: Call, story: str) -> CoreError:
    if call.cancelled:
        return TaskCancelledError(f"{call.name} was cancelled")
    return ActorUnavailableError(f"{call.name} may have run in part or in whole: {story}")


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
