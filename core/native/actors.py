"""The node's register of actors: who lives where under which name, and who wants to know.

Life of an actor::

    ordered --placed--> at a worker --built--> alive
       ^                     |                   |
       '----- its process died, and it may be restarted
                             '--- ended: killed, died for good, or its owner did
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from rllib.core.native import wire
from rllib.core.native.failures import shortened
from rllib.core.native.instructions import Instruction, Tell

MAX_TOMBSTONES = 10_000
MAX_ROWS = 1_000
"""Dead actors that are still listed."""
_MAX_DEATH = 4_000
"""Characters of how one died, in such a list."""


@dataclass(slots=True, eq=False)
class Actor:
    """What the node knows of an actor."""

    order: wire.PlaceActor
    owner: bytes
    watchers: set[bytes] = field(default_factory=set)
    worker: bytes = b""
    built: bool = False
    restarts: int = 0
    """Times that it was started again because its process had died."""
    placed: wire.ActorPlaced | None = None
    """What watchers were told, as long as it holds."""

    @property
    def state(self) -> str:
        """In Ray's words, as long as it is not dead."""
        if self.built:
            return "ALIVE"
        return "RESTARTING" if self.restarts else "PENDING_CREATION"

    def row(self) -> wire.ActorRow:
        """What is known of it."""
        order = self.order
        return wire.ActorRow(
            order.actor,
            order.class_name,
            self.state,
            order.name,
            order.namespace,
            self.worker,
            self.restarts,
            bool(order.owner),
            order.needs.group,
            order.resources,
        )

    @property
    def may_restart(self) -> bool:
        """Whether it is started again should its process die."""
        most = self.order.max_restarts
        return most < 0 or self.restarts < most


class Actors:
    """Feed it events; what watchers are to hear goes to ``out``."""

    def __init__(self, out: list[Instruction]) -> None:
        self._out = out
        self._actors: dict[bytes, Actor] = {}
        self._names: dict[tuple[str, str], Actor] = {}
        self._watched: dict[bytes, dict[Actor, None]] = {}
        """By clients who hear of them."""
        self._tombstones: dict[bytes, wire.ActorDied] = {}
        self._dead: deque[wire.ActorRow] = deque(maxlen=MAX_ROWS)

    def get(self, actor_id: bytes) -> Actor | None:
        """The living actor of that id."""
        return self._actors.get(actor_id)

    def owned_by(self, client: bytes) -> list[Actor]:
        """Those that end with that process."""
        return [actor for actor in self._watched.get(client, ()) if actor.owner == client]

    def order(self, client: bytes, order: wire.PlaceActor) -> Actor | None:
        """Register a new actor; ``None`` where its name is taken, of which the client hears."""
        key = (order.namespace, order.name)
        if order.name or order.owner:
            self._out.append(Tell(client, self._found(order.seq, key)))
        if order.name and key in self._names:
            return None
        owner = order.owner or client
        actor = self._actors[order.actor] = Actor(order, owner)
        for watcher in (client, owner):
            self._add_watcher(actor, watcher)
        if order.name:
            self._names[key] = actor
        return actor

    def find(self, client: bytes, question: wire.FindActor) -> None:
        """Answer who has that name."""
        key = (question.namespace, question.name)
        self._out.append(Tell(client, self._found(question.seq, key)))

    def _found(self, seq: int, key: tuple[str, str]) -> wire.ActorFound:
        actor = self._names.get(key)
        if actor is None:
            return wire.ActorFound(seq)
        order = actor.order
        return wire.ActorFound(seq, order.actor, order.shape)

    def names(self) -> list[tuple[str, str]]:
        """Namespace and name of every living actor that has one."""
        return list(self._names)

    def table(self, seq: int) -> wire.ActorTable:
        """All that live, and the last that died."""
        living = [actor.row() for actor in self._actors.values()]
        return wire.ActorTable(seq, living + list(self._dead))

    def watch(self, client: bytes, actor_id: bytes) -> None:
        """The client wants to hear where the actor is, and of its end."""
        actor = self._actors.get(actor_id)
        if actor is None:
            unknown = wire.ActorDied(actor_id, "the actor is dead: it ended a while ago")
            self._out.append(Tell(client, self._tombstones.get(actor_id, unknown)))
            return
        self._add_watcher(actor, client)
        if actor.placed is not None:
            self._out.append(Tell(client, actor.placed))

    def _add_watcher(self, actor: Actor, client: bytes) -> None:
        actor.watchers.add(client)
        self._watched.setdefault(client, {})[actor] = None

    def place(self, actor: Actor, worker: bytes, assignment: wire.Assignment) -> None:
        """It has a process, in which its owner constructs it."""
        actor.worker = worker
        actor.placed = wire.ActorPlaced(actor.order.actor, worker, assignment, actor.may_restart)
        self._announce(actor, actor.placed)

    def lose_process(self, actor: Actor, reason: str, fate: wire.Fate = "") -> None:
        """Its process is gone, and it waits for another one."""
        story = f"actor {actor.order.class_name} is being restarted: {reason}"
        news = wire.ActorRestarting(actor.order.actor, story, not actor.built, fate)
        actor.worker, actor.placed, actor.built = b"", None, False
        self._announce(actor, news)

    def end(self, actor: Actor, reason: str, fate: wire.Fate = "", cause: bytes = b"") -> None:
        """It is dead for good; of one that is dead already nothing new is said."""
        order = actor.order
        if self._actors.pop(order.actor, None) is None:
            return
        key = (order.namespace, order.name)
        if self._names.get(key) is actor:
            del self._names[key]
        story = f"actor {order.class_name} is dead: {reason}"
        died = wire.ActorDied(order.actor, story, fate, cause)
        row = actor.row()
        row.state, row.worker, row.death = "DEAD", b"", shortened(reason, _MAX_DEATH)
        self._dead.append(row)
        self._tombstones[order.actor] = died
        if len(self._tombstones) > MAX_TOMBSTONES:
            del self._tombstones[next(iter(self._tombstones))]
        self._announce(actor, died)
        for client in actor.watchers:
            self._forget(actor, client)

    def _forget(self, actor: Actor, client: bytes) -> None:
        watched = self._watched[client]
        del watched[actor]
        if not watched:
            del self._watched[client]

    def drop_client(self, client: bytes) -> None:
        """A client died: nothing is told to it any more."""
        for actor in self._watched.pop(client, ()):
            actor.watchers.discard(client)

    def _announce(self, actor: Actor, message: Any) -> None:
        for client in sorted(actor.watchers):
            self._out.append(Tell(client, message))
