"""Who runs where: the node's decisions as a state machine without I/O.

Events go in (messages of clients, news of workers), instructions come out. The node service
performs them; tests compare them. A *client* is whoever asks: the driver or a worker, named by its
id. A *demand* is a lease or an actor that waits for resources and a process::

    Scheduler --demands, leases
        |--- Pool       what there is, and what is free        (amounts)
        |--- Groups     bundles that are reserved together     (groups)
        |--- Workforce  processes, and which of them are idle  (workforce)
        '--- Actors     who lives where, under which name      (actors)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rllib.core.labels import NODE_ID, matches
from rllib.core.measurements import Measurements
from rllib.core.native import wire
from rllib.core.native.actors import Actor, Actors
from rllib.core.native.amounts import UNIT, Amounts, Pool, Share, devices, floats, units
from rllib.core.native.demands import Demand
from rllib.core.native.groups import Groups
from rllib.core.native.instructions import Instruction, Stop, Tell, Warn
from rllib.core.native.victims import Occupant
from rllib.core.native.workforce import Worker, Workforce

GROUP_REMOVED = "its placement group was removed"


class Scheduler:
    """Feed it events, perform what it returns."""

    def __init__(
        self,
        total: Mapping[str, float],
        new_id: Callable[[], bytes],
        node: str = "",
        gpus: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self.node = node
        self.labels = {**(labels or {}), NODE_ID: node}
        self.pool = Pool(units(total), devices(total.get("GPU", 0.0), gpus))
        self._out: list[Instruction] = []
        self._demands: list[Demand] = []
        self._leases: dict[tuple[bytes, int], Worker] = {}
        self._turn = 0
        self._complaints: set[str] = set()
        self._measurements = Measurements()
        self._actors = Actors(self._out)
        self._groups = Groups(node, self.labels, self.pool, self._out)
        spare = max(1, self.pool.total.get("CPU", 0) // UNIT)
        self._workforce = Workforce(new_id, spare, self._out)

    # -- events --------------------------------------------------------------------------------

    def handle(self, client: bytes, message: Any) -> list[Instruction]:
        """A message of a client. Raises `wire.WireError` for one that no client sends."""
        match message:
            case wire.RequestLease(lease, needs):
                self._demand(Demand(client, needs, lease=lease))
            case wire.ReturnLease(lease, spoiled):
                self._return_lease(client, lease, spoiled)
            case wire.WatchActor(actor):
                self._actors.watch(client, actor)
            case wire.WorkerReady(worker):
                self._workforce.became_ready(worker)
            case wire.Blocked(waiting):
                self._set_waiting(client, waiting)
            case wire.PlaceActor() | wire.ActorBuilt() | wire.ActorExits() | wire.KillActor():
                self._handle_actor(client, message)
            case wire.CreateGroup() | wire.RemoveGroup() | wire.WatchGroup():
                self._handle_group(client, message)
            case _:
                self._answer(client, message)
        return self._instructions()

    def _handle_actor(self, client: bytes, message: Any) -> None:
        match message:
            case wire.PlaceActor(needs=needs):
                actor = self._actors.order(client, message)
                if actor is not None:
                    self._demand(Demand(actor.owner, needs, actor=actor))
            case wire.ActorBuilt(error, cause):
                self._actor_built(client, error, cause)
            case wire.ActorExits(reason):
                self._end_actor(self._actor_of(client), reason)
            case wire.KillActor(actor_id, reason, restart):
                self._kill_actor(actor_id, reason, restart)

    def _handle_group(self, client: bytes, message: Any) -> None:
        match message:
            case wire.CreateGroup():
                self._groups.create(client, message)
            case wire.RemoveGroup(group):
                self._remove_group(group)
            case wire.WatchGroup():
                self._groups.watch(client, message)

    def _answer(self, client: bytes, question: Any) -> None:
        match question:
            case wire.FindActor():
                self._actors.find(client, question)
            case wire.AskGroups(seq):
                self._out.append(Tell(client, self._groups.table(seq)))
            case wire.Measured(measurements):
                self._measurements.update(measurements)
            case wire.AskMeasurements(seq):
                found = wire.MeasurementsFound(seq, self._measurements.all())
                self._out.append(Tell(client, found))
            case wire.AskActors(seq):
                self._out.append(Tell(client, self._actors.table(seq)))
            case wire.AskNames(seq):
                self._out.append(Tell(client, wire.Names(seq, self._actors.names())))
            case wire.AskResources(seq, idle):
                total, free = floats(self.pool.total), floats(self._free_without(idle))
                self._out.append(Tell(client, wire.Resources(seq, total, free, self.labels)))
            case _:
                raise wire.WireError(f"{type(question).__name__} is no message to a node")

    def _free_without(self, idle: Iterable[tuple[bytes, list[int]]]) -> Amounts:
        """What would be free if these leases were returned."""
        free = dict(self.pool.free)
        for client, leases in idle:
            for lease in leases:
                worker = self._leases.get((client, lease))
                if worker and worker.share and worker.share.pool is self.pool:
                    for name, amount in worker.share.amounts.items():
                        free[name] = free.get(name, 0) + amount
        return free

    @property
    def lessees(self) -> set[bytes]:
        """The processes that have leases."""
        return {client for client, _lease in self._leases}

    def worker_down(
        self, worker_id: bytes, reason: str, fate: wire.Fate = "", *, unbegun: bool = False
    ) -> list[Instruction]:
        """A worker is gone; ``reason`` says how. ``unbegun``: an actor whose constructor was under
        way there is constructed elsewhere, and that is not counted as a restart."""
        worker = self._workforce.lost(worker_id)
        if worker is not None:
            self._end_use(worker, reason, fate, unbegun)
            self._drop_client(worker_id)
        return self._instructions()

    def _instructions(self) -> list[Instruction]:
        self._groups.tidy()
        starved = self._groups.place()
        self._pump(groups_starve=starved)
        out = list(self._out)
        self._out.clear()
        return out

    def label(self, worker_id: bytes) -> str:
        """What to call that worker in front of its output."""
        worker = self._workforce.get(worker_id)
        actor = None if worker is None or worker.user is None else worker.user.actor
        return "task" if actor is None else str(actor.order.class_name)

    def occupants(self) -> list[Occupant]:
        """The workers that are in use."""
        return [_occupant(worker) for worker in self._workforce if worker.user is not None]

    # -- demands -------------------------------------------------------------------------------

    def _demand(self, demand: Demand) -> None:
        needs = demand.needs
        if needs.node and needs.node != self.node and not needs.soft:
            text = f"{demand.name} may run only on node {needs.node}, which is not there"
            self._refuse(demand, text, "unschedulable")
        elif needs.node and not needs.soft and not matches(self.labels, needs.labels):
            text = f"{demand.name} may run only on node {needs.node}, and wants other labels of it"
            self._refuse(demand, text, "unschedulable")
        elif needs.group and self._groups.get(needs.group) is None:
            self._refuse(demand, GROUP_REMOVED, "group removed")
        else:
            self._demands.append(demand)

    def _refuse(self, demand: Demand, reason: str, fate: wire.Fate) -> None:
        """It will not be served."""
        if demand.actor is None:
            self._out.append(Tell(demand.client, wire.LeaseLost(demand.lease, reason, fate)))
        else:
            self._actors.end(demand.actor, reason, fate)

    def _pump(self, *, groups_starve: bool) -> None:
        """Give workers to demands, oldest first, as far as resources and workers go."""
        unserved: list[Demand] = []
        starved: list[Demand] = []
        reserved: list[Share] = []  # for workers that would be used at once if they were there
        for demand in self._demands:
            share = self._take(demand)
            worker = None if share is None else self._workforce.choose(demand.needs.environment)
            if share is None:
                if self._has_hope(demand):
                    starved.append(demand)
            elif worker is None:
                reserved.append(share)
            else:
                self._assign(demand, worker, share)
                continue
            unserved.append(demand)
        self._demands = unserved
        for share in reserved:
            share.give_back()
        for _ in range(len(reserved) - self._workforce.starting):
            self._workforce.start()
        if starved or groups_starve:
            self._ask_leases_back(starved, groups_starve)
        self._workforce.retire()

    def _take(self, demand: Demand) -> Share | None:
        """What it needs, if it is free where it may run."""
        for pool in self._pools(demand.needs):
            share = pool.take(demand.amounts)
            if share is not None:
                return share
        return None

    def _pools(self, needs: wire.Needs) -> list[Pool]:
        if not matches(self.labels, needs.labels):
            return []
        if not needs.group:
            return [self.pool]
        group = self._groups.get(needs.group)
        return [] if group is None else [bundle.pool for bundle in group.choose(needs.bundle)]

    def _has_hope(self, demand: Demand) -> bool:
        """Whether it will fit once others are done; the user hears of what never fits, once."""
        if demand.fits is None:
            known = self._groups.get(demand.needs.group)
            if demand.needs.group and (known is None or not known.bundles):
                return False  # it has its hope when the group is placed
            demand.fits = any(p.could_cover(demand.amounts) for p in self._pools(demand.needs))
            if not matches(self.labels, demand.needs.labels):
                self._complain(demand.complaint_of_labels(self.labels))
            elif not demand.fits:
                there = floats(self.pool.total) if known is None else known.order.bundles
                self._complain(demand.complaint(there))
        return demand.fits

    def _complain(self, text: str) -> None:
        """A caller asks for many leases of one kind at a time: all of that is one complaint."""
        if text not in self._complaints:
            self._complaints.add(text)
            self._out.append(Warn(text))

    def _ask_leases_back(self, starved: list[Demand], groups_starve: bool) -> None:
        """Ask clients whose leases serve others than those who starve: a client that has more
        tasks of one kind than leases needs no reminder of itself."""
        kinds = {(demand.client, demand.kind) for demand in starved}
        asked: dict[bytes, list[int]] = {}
        for (client, lease), worker in self._leases.items():
            others_starve = groups_starve or kinds - {(client, worker.user.kind)}
            if others_starve and not worker.waiting:
                asked.setdefault(client, []).append(lease)
        for client in sorted(asked):
            self._out.append(Tell(client, wire.LeasesWanted(asked[client])))

    def _assign(self, demand: Demand, worker: Worker, share: Share) -> None:
        self._turn += 1
        worker.user, worker.share, worker.turn = demand, share, self._turn
        assignment = demand.assignment(share)
        if demand.actor is None:
            self._leases[demand.client, demand.lease] = worker
            granted = wire.LeaseGranted(demand.lease, worker.worker, assignment)
            self._out.append(Tell(demand.client, granted))
        else:
            self._actors.place(demand.actor, worker.worker, assignment)

    # -- workers and leases --------------------------------------------------------------------

    def _end_use(self, worker: Worker, reason: str, fate: wire.Fate, unbegun: bool) -> None:
        """What a worker that is gone was in use for."""
        demand: Demand | None = worker.user
        if not worker.ready:
            if self._workforce.start_failed(worker):
                self._give_up(f"worker processes cannot start: {reason}")
        elif demand is None:
            return
        elif demand.actor is not None:
            if demand.actor.worker == worker.worker:  # else it has been given up before
                self._actor_down(demand.actor, reason, fate, unbegun)
        elif self._leases.pop((demand.client, demand.lease), None) is not None:
            self._out.append(Tell(demand.client, wire.LeaseLost(demand.lease, reason, fate)))

    def _give_up(self, reason: str) -> None:
        demands, self._demands = self._demands, []
        for demand in demands:
            self._refuse(demand, reason, "")

    def _drop_client(self, client: bytes) -> None:
        """A client died: what it waited for, used or owned ends with it."""
        self._demands = [demand for demand in self._demands if demand.client != client]
        for key in [key for key in self._leases if key[0] == client]:
            self._out.append(Stop(self._leases.pop(key).worker))
        for actor in self._actors:
            if actor.owner == client:
                self._end_actor(actor, "the process that created it died")
        self._actors.drop_client(client)
        self._groups.drop_client(client)

    def _set_waiting(self, worker_id: bytes, waiting: bool) -> None:
        """A waiting task lends its CPU, so that the task it waits for can run."""
        worker = self._workforce.get(worker_id)
        if worker is None or worker.waiting == waiting or worker.share is None:
            return
        worker.waiting = waiting
        worker.share.hold_cpus(0 if waiting else worker.user.amounts.get("CPU", 0))

    def _return_lease(self, client: bytes, lease: int, spoiled: bool) -> None:
        worker = self._leases.pop((client, lease), None)
        if worker is not None:
            self._workforce.rest(worker, spoiled=spoiled)
        else:  # not granted yet
            self._demands = [d for d in self._demands if (d.client, d.lease) != (client, lease)]

    # -- actors --------------------------------------------------------------------------------

    def _actor_of(self, worker_id: bytes) -> Actor:
        worker = self._workforce.get(worker_id)
        if worker is None or worker.user is None or worker.user.actor is None:
            raise wire.WireError("a message about its actor from a worker that has none")
        actor: Actor = worker.user.actor
        return actor

    def _actor_built(self, worker_id: bytes, error: str, cause: bytes) -> None:
        actor, worker = self._actor_of(worker_id), self._workforce.get(worker_id)
        if actor.worker != worker_id:
            return  # it was killed meanwhile, and is constructed elsewhere
        if error:
            self._end_actor(actor, f"its constructor raised:\n{error}", cause=cause)
            return
        actor.built = True
        assert worker is not None
        assert worker.share is not None
        cpus = units(actor.order.resources).get("CPU", 0)
        worker.user.amounts = {**worker.user.amounts, "CPU": cpus}
        worker.share.hold_cpus(cpus)

    def _actor_down(self, actor: Actor, reason: str, fate: wire.Fate, unbegun: bool) -> None:
        """Its process is gone."""
        if self._actors.get(actor.order.actor) is not actor:
            return  # its end was what ended the process
        again = unbegun and not actor.built
        if not (again or actor.may_restart):
            self._actors.end(actor, reason, fate)
            return
        actor.restarts += not again
        self._actors.lose_process(actor, reason, fate)
        self._demand(Demand(actor.owner, actor.order.needs, actor=actor))

    def _kill_actor(self, actor_id: bytes, reason: str, restart: bool) -> None:
        actor = self._actors.get(actor_id)
        if actor is None:
            return
        if not (restart and actor.may_restart):
            self._end_actor(actor, reason)
        elif actor.worker:
            self._out.append(Stop(actor.worker))
            self._actor_down(actor, reason, "", unbegun=False)

    def _end_actor(
        self, actor: Actor, reason: str, *, fate: wire.Fate = "", cause: bytes = b""
    ) -> None:
        self._demands = [demand for demand in self._demands if demand.actor is not actor]
        self._actors.end(actor, reason, fate, cause)
        if self._workforce.get(actor.worker) is not None:
            self._out.append(Stop(actor.worker))

    # -- placement groups ----------------------------------------------------------------------

    def _remove_group(self, group: bytes) -> None:
        """Whoever waits for its bundles is refused, whoever uses them is ended."""
        pools = self._groups.remove(group)
        waiting = [demand for demand in self._demands if demand.needs.group == group]
        self._demands = [demand for demand in self._demands if demand.needs.group != group]
        for demand in waiting:
            self._refuse(demand, GROUP_REMOVED, "group removed")
        for worker in self._workforce:
            if worker.share is not None and worker.share.pool in pools:
                self._evict(worker)

    def _evict(self, worker: Worker) -> None:
        demand: Demand = worker.user
        if demand.actor is not None:
            if self._actors.get(demand.actor.order.actor) is demand.actor:
                self._end_actor(demand.actor, GROUP_REMOVED)
        elif self._leases.pop((demand.client, demand.lease), None) is not None:
            self._refuse(demand, GROUP_REMOVED, "group removed")
            self._out.append(Stop(worker.worker))


def _occupant(worker: Worker) -> Occupant:
    """A lease counts as retriable, for tasks are unless their user wants it otherwise."""
    demand: Demand = worker.user
    retriable = demand.actor is None or demand.actor.may_restart
    return Occupant(worker.worker, demand.client, retriable, worker.turn, demand.name)
