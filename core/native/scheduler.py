"""Who runs where: the node's decisions as a state machine without I/O.

Events go in (messages of clients, news of workers), instructions come out (`Start`, `Stop`,
`Tell`). The node service performs them; tests compare them. A *client* is whoever asks: the
driver or a worker, named by its id. A *demand* is a lease or an actor that waits for resources
and a process.

Life of a worker::

    Start -> starting --ready--> idle <--> leased      (to a client, for tasks)
                                  |
                                  +-----> actor        (for good: it ends with the actor)
    any state --down--> gone
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rllib.core.measurements import Measurements
from rllib.core.native import wire

UNIT = 10_000
"""Amounts are counted in whole units of 0.0001, so that they add up exactly."""

MAX_START_FAILURES = 3
MAX_TOMBSTONES = 10_000


@dataclass(frozen=True, slots=True)
class Start:
    """Fork a worker of that id."""

    worker: bytes


@dataclass(frozen=True, slots=True)
class Stop:
    """End that worker at once."""

    worker: bytes


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a message to a client."""

    client: bytes
    message: Any


@dataclass(frozen=True, slots=True)
class Warn:
    """Say something to the user."""

    text: str


Instruction = Start | Stop | Tell | Warn
Amounts = dict[str, int]


def units(amounts: Mapping[str, float]) -> Amounts:
    """Resource amounts as whole units."""
    return {name: round(value * UNIT) for name, value in amounts.items()}


def _floats(amounts: Amounts) -> dict[str, float]:
    return {name: value / UNIT for name, value in amounts.items()}


@dataclass(slots=True, eq=False)
class Demand:
    """A lease or an actor that waits for its turn."""

    client: bytes
    needs: Amounts
    lease: int = 0
    actor: Actor | None = None
    warned: bool = False


@dataclass(slots=True, eq=False)
class Worker:
    """A process: idle, unless it holds a lease or an actor."""

    worker: bytes
    ready: bool = False
    held: Amounts = field(default_factory=dict)
    demand: Demand | None = None
    waiting: bool = False
    """Its task waits for another one; what it holds is lent to others meanwhile."""


@dataclass(slots=True, eq=False)
class Actor:
    """What the node knows of an actor."""

    order: wire.PlaceActor
    owner: bytes
    watchers: set[bytes]
    worker: bytes = b""


class Scheduler:
    """Feed it events, perform what it returns. Invariant: free + held = total, never less held."""

    def __init__(self, total: Mapping[str, float], new_id: Any) -> None:
        self.total = units(total)
        self.free = dict(self.total)
        self._new_id = new_id
        self._workers: dict[bytes, Worker] = {}
        self._idle: list[Worker] = []
        self._starting = 0
        self._start_failures = 0
        self._demands: list[Demand] = []
        self._leases: dict[tuple[bytes, int], Worker] = {}
        self._actors: dict[bytes, Actor] = {}
        self._names: dict[tuple[str, str], Actor] = {}
        self._tombstones: dict[bytes, str] = {}
        self._measurements = Measurements()
        self._out: list[Instruction] = []
        self._spare = max(1, self.total.get("CPU", 0) // UNIT)  # idle workers worth keeping

    # -- events --------------------------------------------------------------------------------

    def handle(self, client: bytes, message: Any) -> list[Instruction]:
        """A message of a client. Raises `wire.WireError` for one that no client sends."""
        match message:
            case wire.RequestLease(lease, resources):
                self._demands.append(Demand(client, units(resources), lease=lease))
            case wire.ReturnLease(lease, spoiled):
                self._return_lease(client, lease, spoiled)
            case wire.PlaceActor():
                self._place_actor(client, message)
            case wire.ActorBuilt(error):
                self._actor_built(client, error)
            case wire.ActorExits(reason):
                self._actor_exits(client, reason)
            case wire.WatchActor(actor):
                self._watch(client, actor)
            case wire.FindActor(seq, name, namespace):
                self._out.append(Tell(client, self._found(seq, (namespace, name))))
            case wire.KillActor(actor, reason):
                self._end_actor(actor, reason)
            case wire.AskResources(seq):
                answer = wire.Resources(seq, _floats(self.total), _floats(self.free))
                self._out.append(Tell(client, answer))
            case wire.Measured(measurements):
                self._measurements.update(measurements)
            case wire.AskMeasurements(seq):
                found = wire.MeasurementsFound(seq, self._measurements.all())
                self._out.append(Tell(client, found))
            case wire.Blocked(waiting):
                self._set_waiting(client, waiting)
            case wire.WorkerReady(worker):
                self._worker_ready(worker)
            case _:
                raise wire.WireError(f"{type(message).__name__} is no message to a node")
        return self._instructions()

    def worker_down(self, worker: bytes, reason: str) -> list[Instruction]:
        """A worker is gone; ``reason`` says how."""
        gone = self._workers.pop(worker, None)
        if gone is not None:
            self._forget_worker(gone, reason)
            self._drop_client(worker)
        return self._instructions()

    def _instructions(self) -> list[Instruction]:
        self._pump()
        out, self._out = self._out, []
        return out

    # -- placing -------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Give workers to demands, oldest first, as far as resources and workers go."""
        unserved: list[Demand] = []
        starved: list[Demand] = []
        wanted = 0  # workers that would be used at once if they were there
        budget = dict(self.free)
        for demand in self._demands:
            fits = _covers(budget, demand.needs)
            if fits:
                _add(budget, demand.needs, -1)
            elif not self._is_infeasible(demand):
                starved.append(demand)
            if fits and self._idle:
                self._assign(demand, self._idle.pop())
            else:
                wanted += fits
                unserved.append(demand)
        self._demands = unserved
        for _ in range(wanted - self._starting):
            self._start_worker()
        if starved:
            self._ask_leases_back(starved)
        while len(self._idle) > self._spare:
            worker = self._idle.pop(0).worker  # it may own objects that others hold
            self._out.append(Tell(worker, wire.Retire()))

    def _is_infeasible(self, demand: Demand) -> bool:
        """Whether it can never be served; the user hears of that once."""
        if demand.warned or _covers(self.total, demand.needs):
            return demand.warned
        demand.warned = True
        what = "a task" if demand.actor is None else f"actor {demand.actor.order.class_name}"
        self._out.append(
            Warn(
                f"{what} needs {_floats(demand.needs)}, but there is only {_floats(self.total)} in "
                "all; it waits for ever unless that changes: ask for less, or give init() more"
            )
        )
        return True

    def _start_worker(self) -> None:
        worker = Worker(self._new_id())
        self._workers[worker.worker] = worker
        self._starting += 1
        self._out.append(Start(worker.worker))

    def _ask_leases_back(self, starved: list[Demand]) -> None:
        """Ask clients whose leases serve others than those who starve: a client that has more
        tasks of one kind than leases needs no reminder of itself."""
        kinds = {(demand.client, _key(demand)) for demand in starved}
        for client in sorted({client for client, _ in self._leases}):
            held = {
                _key(worker.demand)
                for (holder, _), worker in self._leases.items()
                if holder == client and worker.demand is not None
            }
            if any(kinds - {(client, key)} for key in held):
                self._out.append(Tell(client, wire.LeasesWanted()))

    def _assign(self, demand: Demand, worker: Worker) -> None:
        worker.demand = demand
        self._hold(worker, demand.needs)
        if demand.actor is None:
            self._leases[demand.client, demand.lease] = worker
            self._out.append(Tell(demand.client, wire.LeaseGranted(demand.lease, worker.worker)))
        else:
            demand.actor.worker = worker.worker
            self._announce(demand.actor, wire.ActorPlaced(demand.actor.order.actor, worker.worker))

    def _hold(self, worker: Worker, needs: Amounts) -> None:
        """Exchange what ``worker`` holds for ``needs``."""
        _add(self.free, worker.held, 1)
        worker.held = needs
        _add(self.free, needs, -1)

    # -- workers -------------------------------------------------------------------------------

    def _worker_ready(self, worker_id: bytes) -> None:
        worker = self._workers.get(worker_id)
        if worker is None or worker.ready:
            raise wire.WireError("WorkerReady of a worker that was not started")
        worker.ready = True
        self._starting -= 1
        self._start_failures = 0
        self._idle.append(worker)

    def _forget_worker(self, worker: Worker, reason: str) -> None:
        self._hold(worker, {})
        demand = worker.demand
        if not worker.ready:
            self._start_failed(reason)
        elif demand is None:
            self._idle = [other for other in self._idle if other is not worker]
        elif demand.actor is not None:
            self._end_actor(demand.actor.order.actor, reason)
        elif self._leases.pop((demand.client, demand.lease), None) is not None:
            self._out.append(Tell(demand.client, wire.LeaseLost(demand.lease, reason)))

    def _start_failed(self, reason: str) -> None:
        """A worker died before it was ready; after a few in a row nobody waits any longer."""
        self._starting -= 1
        self._start_failures += 1
        if self._start_failures < MAX_START_FAILURES:
            return
        self._start_failures = 0
        demands, self._demands = self._demands, []
        text = f"worker processes cannot start: {reason}"
        for demand in demands:
            if demand.actor is None:
                self._out.append(Tell(demand.client, wire.LeaseLost(demand.lease, text)))
            else:
                self._end_actor(demand.actor.order.actor, text)

    def _drop_client(self, client: bytes) -> None:
        """A client died: what it waited for, used or owned ends with it."""
        self._demands = [demand for demand in self._demands if demand.client != client]
        for key in [key for key in self._leases if key[0] == client]:
            self._out.append(Stop(self._leases.pop(key).worker))
        for actor in [actor for actor in self._actors.values() if actor.owner == client]:
            self._end_actor(actor.order.actor, "the process that created it died")
        for actor in self._actors.values():
            actor.watchers.discard(client)

    def _set_waiting(self, worker_id: bytes, waiting: bool) -> None:
        """A waiting task lends its CPU, so that the task it waits for can run."""
        worker = self._workers.get(worker_id)
        if worker is None or worker.waiting == waiting:
            return
        worker.waiting = waiting
        if waiting:
            self._hold(worker, {**worker.held, "CPU": 0})
        elif worker.demand is not None:
            self._hold(worker, worker.demand.needs)

    # -- leases --------------------------------------------------------------------------------

    def _return_lease(self, client: bytes, lease: int, spoiled: bool) -> None:
        worker = self._leases.pop((client, lease), None)
        if worker is None:  # not granted yet
            self._demands = [d for d in self._demands if (d.client, d.lease) != (client, lease)]
            return
        worker.waiting = False
        worker.demand = None
        self._hold(worker, {})
        if spoiled:
            self._out.append(Tell(worker.worker, wire.Retire()))
        else:
            self._idle.append(worker)

    # -- actors --------------------------------------------------------------------------------

    def _place_actor(self, client: bytes, order: wire.PlaceActor) -> None:
        key = (order.namespace, order.name)
        if order.name:
            self._out.append(Tell(client, self._found(order.seq, key)))
            if key in self._names:
                return
        actor = Actor(order, client, {client})
        self._actors[order.actor] = actor
        if order.name:
            self._names[key] = actor
        self._demands.append(Demand(client, units(order.placement), actor=actor))

    def _found(self, seq: int, key: tuple[str, str]) -> wire.ActorFound:
        actor = self._names.get(key)
        if actor is None:
            return wire.ActorFound(seq)
        order = actor.order
        return wire.ActorFound(seq, order.actor, order.shape)

    def _actor_built(self, worker_id: bytes, error: str) -> None:
        worker = self._workers.get(worker_id)
        demand = None if worker is None else worker.demand
        if worker is None or demand is None or demand.actor is None:
            raise wire.WireError("ActorBuilt from a worker that has no actor")
        order = demand.actor.order
        if error:
            self._end_actor(order.actor, f"its constructor raised:\n{error}")
            return
        demand.needs = units(order.resources)
        self._hold(worker, demand.needs)

    def _actor_exits(self, worker_id: bytes, reason: str) -> None:
        worker = self._workers.get(worker_id)
        demand = None if worker is None else worker.demand
        if demand is None or demand.actor is None:
            raise wire.WireError("ActorExits from a worker that has no actor")
        self._end_actor(demand.actor.order.actor, reason)

    def _watch(self, client: bytes, actor_id: bytes) -> None:
        actor = self._actors.get(actor_id)
        if actor is None:
            story = self._tombstones.get(actor_id, "the actor is dead: it ended a while ago")
            self._out.append(Tell(client, wire.ActorDied(actor_id, story)))
            return
        actor.watchers.add(client)
        if actor.worker:
            self._out.append(Tell(client, wire.ActorPlaced(actor_id, actor.worker)))

    def _end_actor(self, actor_id: bytes, reason: str) -> None:
        actor = self._actors.pop(actor_id, None)
        if actor is None:
            return
        key = (actor.order.namespace, actor.order.name)
        if self._names.get(key) is actor:
            del self._names[key]
        self._demands = [demand for demand in self._demands if demand.actor is not actor]
        story = f"actor {actor.order.class_name} is dead: {reason}"
        self._remember(actor_id, story)
        self._announce(actor, wire.ActorDied(actor_id, story))
        if actor.worker in self._workers:
            self._out.append(Stop(actor.worker))

    def _remember(self, actor_id: bytes, story: str) -> None:
        self._tombstones[actor_id] = story
        if len(self._tombstones) > MAX_TOMBSTONES:
            del self._tombstones[next(iter(self._tombstones))]

    def _announce(self, actor: Actor, message: Any) -> None:
        for client in sorted(actor.watchers):
            self._out.append(Tell(client, message))

    def label(self, worker_id: bytes) -> str:
        """What to call that worker in front of its output."""
        worker = self._workers.get(worker_id)
        demand = worker.demand if worker is not None else None
        return "task" if demand is None or demand.actor is None else demand.actor.order.class_name


def _key(demand: Demand) -> tuple[bool, tuple[tuple[str, int], ...]]:
    """Demands of one client with the same key can use each other's leases."""
    return demand.actor is None, tuple(sorted(demand.needs.items()))


def _covers(free: Amounts, needs: Amounts) -> bool:
    return all(free.get(name, 0) >= amount for name, amount in needs.items())


def _add(amounts: Amounts, change: Amounts, sign: int) -> None:
    for name, amount in change.items():
        amounts[name] = amounts.get(name, 0) + sign * amount
