"""Actors as their callers know them: calls go there, wait for a process, or hear of a death."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from rllib.core.exceptions import (
    ActorDiedError,
    ActorPlacementGroupRemoved,
    ActorUnavailableError,
    ActorUnschedulableError,
    CoreError,
    OutOfMemoryError,
    TaskCancelledError,
    to_raise,
)
from rllib.core.native import wire
from rllib.core.native.call import Build, Call, NativeActor
from rllib.core.native.calls import Calls
from rllib.core.native.failures import load_error
from rllib.core.native.objects import NativeRef
from rllib.core.native.peers import Peer, PeerGoneError, Peers

_FATES: dict[wire.Fate, type[CoreError]] = {
    "": ActorDiedError,
    "group removed": ActorPlacementGroupRemoved,
    "unschedulable": ActorUnschedulableError,
    "out of memory": OutOfMemoryError,
}


class ActorCalls:
    """Runs under the runtime's lock."""

    def __init__(self, peers: Peers, calls: Calls, tell_node: Callable[[Any], None]) -> None:
        self._peers = peers
        self._calls = calls
        self._tell_node = tell_node
        self._actors: weakref.WeakValueDictionary[bytes, NativeActor] = (
            weakref.WeakValueDictionary()
        )
        # Actors with queued calls: else only the queue would know them, and the collector, which
        # sees a cycle there, would end them and leave whoever waits for the calls waiting.
        self._awaited: dict[bytes, NativeActor] = {}
        self._detached: dict[bytes, NativeActor] = {}

    @property
    def under_way(self) -> bool:
        """Whether actors are known, which may end with this process."""
        return bool(self._actors)

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

    def submit(self, actor: NativeActor, call: Call) -> None:
        """Send a call, or keep it until the actor has a process."""
        if actor.death is not None:
            call.resolve_all(actor.death)
        elif actor.peer is None or actor.peer.gone or actor.doom:
            actor.queue.append(call)
            self._awaited[actor.actor_id] = actor
        else:
            self._calls.send(actor.peer, call)

    def kill(self, actor: NativeActor, order: wire.KillActor) -> None:
        """Have it ended, or its process. What is called from now on waits for what the node tells
        then, so that the process that is known here, and lives a moment longer, answers none."""
        if not order.restart:
            actor.doom = "actor"
        elif actor.peer is not None:
            actor.doom = actor.doom or "process"
        self._tell_node(order)

    def on_placed(self, news: wire.ActorPlaced) -> None:
        """The node has found a process for an actor; its owner constructs it there."""
        actor = self._actors.get(news.actor)
        if actor is None or actor.death is not None or actor.peer is not None:
            return
        if actor.doom:
            return  # it ends before it has begun here
        actor.may_restart = news.may_restart
        try:
            actor.peer = self._peers.get(news.worker)
        except PeerGoneError:
            return  # the node will tell how it died
        if actor.build is not None:
            self._construct(actor, actor.peer, actor.build, news.assignment)
        while actor.queue:
            self._calls.send(actor.peer, actor.queue.popleft())
        self._awaited.pop(news.actor, None)

    def _construct(
        self, actor: NativeActor, peer: Peer, build: Build, given: wire.Assignment
    ) -> None:
        peer.conn.send(wire.record_frame(wire.Assigned(given)))
        call = Call([], build.args, build.constructor, actor=actor)
        call.parent = None  # it is the node who wants it now
        self._calls.send(peer, call)

    def on_restarting(self, news: wire.ActorRestarting) -> None:
        """An actor's process is gone. Calls that it had are made again where they may be, before
        those that wait."""
        actor = self._actors.get(news.actor)
        if actor is None or actor.death is not None or actor.peer is None:
            return
        self._peers.drain(actor.peer)
        lost = self._take_calls(actor.peer)
        actor.peer = None
        if actor.doom == "process":
            actor.doom = ""
        again: deque[Call] = deque()
        for call in lost:
            if (news.unbegun and not call.cancelled) or call.use_retry():
                again.append(call)
            else:
                call.resolve_all(_unavailable(call, news))
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

    def unsent(self) -> Iterator[Call]:
        """Calls that wait for their actor's process."""
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


def _death(news: wire.ActorDied) -> CoreError:
    death = _FATES[news.fate](news.story)
    if news.cause:
        death.__cause__ = to_raise(load_error(news.cause))
    return death


def _unavailable(call: Call, news: wire.ActorRestarting) -> CoreError:
    if call.cancelled:
        return TaskCancelledError(f"{call.name} was cancelled")
    error = _FATES[news.fate] if news.fate else ActorUnavailableError
    return error(f"{call.name} may have run in part or in whole: {news.story}")
