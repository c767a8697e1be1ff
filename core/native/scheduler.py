"""Who runs where: decisions for one node or for many, as a state machine without I/O.

Events go in (messages of clients, news of workers), instructions come out. The node service
performs them; tests compare them. A *client* is whoever asks: the driver or a worker, named by its
id. A *demand* is a lease or an actor that waits for resources and a process::

    Scheduler --demands, leases
        |--- Sites          the nodes that there are               (sites)
        |      |--- Pool       what there is, and what is free        (amounts)
        |      '--- Workforce  processes, and which of them are idle  (workforce)
        |--- Groups         bundles that are reserved together     (groups)
        '--- Actors         who lives where, under which name      (actors)

Of several nodes one has the scheduler, and it has all the books: a placement group is reserved on
many nodes in one step, and nobody's view is ever old.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from rllib.core.labels import matches
from rllib.core.measurements import Measurements
from rllib.core.native import wire
from rllib.core.native.actors import Actor, Actors
from rllib.core.native.amounts import Amounts, Pool, Share, floats, units
from rllib.core.native.demands import Demand
from rllib.core.native.groups import Bundle, Groups
from rllib.core.native.instructions import Instruction, Stop, Tell, Warn
from rllib.core.native.sites import Site, Sites
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
        key: bytes = b"",
    ) -> None:
        self.out: list[Instruction] = []
        """What is to be done; a further `Site` puts its part there, too."""
        self.home = Site(node, key, total, new_id, self.out, gpus, labels)
        self.sites = Sites(self.home)
        self._demands: list[Demand] = []
        self._leases: dict[tuple[bytes, int], Worker] = {}
        self._turn = 0
        self._complaints: set[str] = set()
        self._rested: set[Workforce] = set()
        """Which may have more idle workers than they keep."""
        self._measurements = Measurements()
        self._actors = Actors(self.out)
        self._groups = Groups(self.sites, self.out)

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
                workforce = self._workforce_of(worker)
                workforce.became_ready(worker)
                self._rested.add(workforce)
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
                self.out.append(Tell(client, self._groups.table(seq)))
            case wire.Measured(measurements):
                self._measurements.update(measurements)
            case wire.AskMeasurements(seq):
                found = wire.MeasurementsFound(seq, self._measurements.all())
                self.out.append(Tell(client, found))
            case wire.AskActors(seq):
                self.out.append(Tell(client, self._actors.table(seq)))
            case wire.AskNames(seq):
                self.out.append(Tell(client, wire.Names(seq, self._actors.names())))
            case wire.AskResources(seq, idle):
                total, free = floats(self.sites.total()), floats(self._free_without(idle))
                labels = self.sites.of(client).labels
                self.out.append(Tell(client, wire.Resources(seq, total, free, labels)))
            case wire.AskNodes(seq):
                self.out.append(Tell(client, wire.NodeTable(seq, self.sites.rows())))
            case _:
                raise wire.WireError(f"{type(question).__name__} is no message to a node")

    def _free_without(self, idle: Iterable[tuple[bytes, list[int]]]) -> Amounts:
        """What would be free if these leases were returned."""
        free = self.sites.free()
        pools = [site.pool for site in self.sites]
        for client, leases in idle:
            for lease in leases:
                worker = self._leases.get((client, lease))
                if worker and worker.share and worker.share.pool in pools:
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
        self._lose_worker(worker_id, reason, fate, unbegun)
        return self._instructions()

    def _lose_worker(self, worker_id: bytes, reason: str, fate: wire.Fate, unbegun: bool) -> None:
        worker = self._workforce_of(worker_id).lost(worker_id)
        if worker is not None:
            self._end_use(worker, reason, fate, unbegun)
            self._drop_client(worker_id)

    def client_down(self, client: bytes) -> list[Instruction]:
        """A driver that is no worker is gone."""
        self._drop_client(client)
        return self._instructions()

    # -- nodes ---------------------------------------------------------------------------------

    def node_joined(self, site: Site) -> list[Instruction]:
        """A further node is there: what was waiting may run on it."""
        self.sites.add(site)
        self._look_again()
        return self._instructions()

    def node_down(self, key: bytes, reason: str, clients: Iterable[bytes]) -> list[Instruction]:
        """A node is gone with all its processes, of which ``clients`` are no workers."""
        site = self.sites.remove(key, reason)
        if site is None:
            return []
        self._groups.lose(site)
        for worker in site.workforce:
            site.workforce.lost(worker.worker)
            if worker.ready:  # else nobody has it yet
                self._end_use(worker, reason, "", unbegun=False)
            self._drop_client(worker.worker)
        for client in clients:
            self._drop_client(client)
        self._ask_again()
        self._look_again()
        return self._instructions()

    def node_silent(self, key: bytes) -> None:
        """A node has not been heard of for a while: it keeps what it has, and gets nothing new."""
        site = self.sites.get(key)
        if site is not None:
            site.reachable = False

    def node_heard(self, key: bytes) -> list[Instruction]:
        """It has been heard of again."""
        site = self.sites.get(key)
        if site is None or site.reachable:
            return []
        site.reachable = True
        self._look_again()
        return self._instructions()

    def _ask_again(self) -> None:
        """Of what waits, that is refused which would be refused now."""
        demands, self._demands = self._demands, []
        for demand in demands:
            self._demand(demand)

    def _look_again(self) -> None:
        """What there is has changed: what never fits may fit now, or the other way round."""
        self._groups.look_again()
        for demand in self._demands:
            demand.fits = None

    def _workforce_of(self, worker_id: bytes) -> Workforce:
        return self.sites.of(worker_id).workforce

    def _instructions(self) -> list[Instruction]:
        self._groups.tidy()
        starved = self._groups.place()
        self._pump(groups_starve=starved)
        out = list(self.out)
        self.out.clear()
        return out

    def label(self, worker_id: bytes) -> str:
        """What to call that worker in front of its output."""
        worker = self._workforce_of(worker_id).get(worker_id)
        actor = None if worker is None or worker.user is None else worker.user.actor
        return "task" if actor is None else str(actor.order.class_name)

    def occupants(self) -> list[Occupant]:
        """The workers that are in use."""
        return [_occupant(worker) for worker in self._workers() if worker.user is not None]

    def _workers(self) -> Iterator[Worker]:
        return (worker for site in self.sites for worker in site.workforce)

    # -- demands -------------------------------------------------------------------------------

    def _demand(self, demand: Demand) -> None:
        needs = demand.needs
        named = self.sites.named(needs.node) if needs.node and not needs.soft else None
        if needs.node and not needs.soft and named is None:
            text = f"{demand.name} may run only on node {needs.node}, which is not there"
            self._refuse(demand, text, "unschedulable")
        elif named is not None and not matches(named.labels, needs.labels):
            text = f"{demand.name} may run only on node {needs.node}, and wants other labels of it"
            self._refuse(demand, text, "unschedulable")
        elif needs.group and self._groups.get(needs.group) is None:
            self._refuse(demand, GROUP_REMOVED, "group removed")
        else:
            self._demands.append(demand)

    def _refuse(self, demand: Demand, reason: str, fate: wire.Fate) -> None:
        """It will not be served."""
        if demand.actor is None:
            self.out.append(Tell(demand.client, wire.LeaseLost(demand.lease, reason, fate)))
        else:
            self._actors.end(demand.actor, reason, fate)

    def _pump(self, *, groups_starve: bool) -> None:
        """Give workers to demands, oldest first, as far as resources and workers go."""
        unserved: list[Demand] = []
        starved: list[Demand] = []
        reserved: dict[Site, list[Share]] = {}  # for workers that would be used at once
        for demand in self._demands:
            found = self._take(demand)
            if found is None:
                if self._has_hope(demand):
                    starved.append(demand)
                unserved.append(demand)
                continue
            site, share = found
            worker = site.workforce.choose(demand.needs.environment)
            if worker is None:
                reserved.setdefault(site, []).append(share)
                unserved.append(demand)
            else:
                self._assign(demand, worker, share)
        self._demands = unserved
        self._start_workers(reserved)
        if starved or groups_starve:
            self._ask_leases_back(starved, groups_starve)
        while self._rested:
            self._rested.pop().retire()

    @staticmethod
    def _start_workers(reserved: Mapping[Site, list[Share]]) -> None:
        for site, shares in reserved.items():
            for share in shares:
                share.give_back()
            for _ in range(len(shares) - site.workforce.starting):
                site.workforce.start()

    def _take(self, demand: Demand) -> tuple[Site, Share] | None:
        """What it needs, if it is free where it may run."""
        if demand.needs.group:
            return self._take_of_group(demand)
        for site in self.sites.in_order(demand.needs, demand.client, demand.amounts_key):
            share = site.pool.take(demand.amounts)
            if share is not None:
                return site, share
            self.sites.close(site, demand.amounts_key)
        return None

    def _take_of_group(self, demand: Demand) -> tuple[Site, Share] | None:
        for bundle in self._bundles(demand.needs):
            share = bundle.pool.take(demand.amounts)
            if share is not None:
                return bundle.site, share
        return None

    def _bundles(self, needs: wire.Needs) -> list[Bundle]:
        group = self._groups.get(needs.group)
        bundles = [] if group is None else group.choose(needs.bundle)
        return [bundle for bundle in bundles if matches(bundle.site.labels, needs.labels)]

    def _pools(self, needs: wire.Needs) -> list[Pool]:
        """All from which it may take."""
        if needs.group:
            return [bundle.pool for bundle in self._bundles(needs)]
        return [site.pool for site in self.sites.matching(needs)]

    def _has_hope(self, demand: Demand) -> bool:
        """Whether it will fit once others are done; the user hears of what never fits, once."""
        if demand.fits is None:
            known = self._groups.get(demand.needs.group)
            if demand.needs.group and (known is None or not known.bundles):
                return False  # it has its hope when the group is placed
            pools = self._pools(demand.needs)
            demand.fits = any(pool.could_cover(demand.amounts) for pool in pools)
            if not any(matches(labels, demand.needs.labels) for labels in self.sites.labels()):
                self._complain(demand.complaint_of_labels(self.sites.labels()))
            elif not demand.fits:
                there = self._there() if known is None else known.order.bundles
                self._complain(demand.complaint(there))
        return demand.fits

    def _there(self) -> Any:
        """What a node has; of several, each by itself, as nothing runs on two."""
        totals = [floats(site.pool.total) for site in self.sites]
        return totals if len(totals) > 1 else totals[0]

    def _complain(self, text: str) -> None:
        """A caller asks for many leases of one kind at a time: all of that is one complaint."""
        if text not in self._complaints:
            self._complaints.add(text)
            self.out.append(Warn(text))

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
            self.out.append(Tell(client, wire.LeasesWanted(asked[client])))

    def _assign(self, demand: Demand, worker: Worker, share: Share) -> None:
        self._turn += 1
        worker.user, worker.share, worker.turn = demand, share, self._turn
        assignment = demand.assignment(share)
        if demand.actor is None:
            self._leases[demand.client, demand.lease] = worker
            granted = wire.LeaseGranted(demand.lease, worker.worker, assignment)
            self.out.append(Tell(demand.client, granted))
        else:
            self._actors.place(demand.actor, worker.worker, assignment)

    # -- workers and leases --------------------------------------------------------------------

    def _end_use(self, worker: Worker, reason: str, fate: wire.Fate, unbegun: bool) -> None:
        """What a worker that is gone was in use for."""
        demand: Demand | None = worker.user
        if not worker.ready:
            if self._workforce_of(worker.worker).start_failed(worker):
                self._give_up(f"worker processes cannot start: {reason}")
        elif demand is None:
            return
        elif demand.actor is not None:
            if demand.actor.worker == worker.worker:  # else it has been given up before
                self._actor_down(demand.actor, reason, fate, unbegun)
        elif self._leases.pop((demand.client, demand.lease), None) is not None:
            self.out.append(Tell(demand.client, wire.LeaseLost(demand.lease, reason, fate)))

    def _give_up(self, reason: str) -> None:
        demands, self._demands = self._demands, []
        for demand in demands:
            self._refuse(demand, reason, "")

    def _drop_client(self, client: bytes) -> None:
        """A client died: what it waited for, used or owned ends with it."""
        self._demands = [demand for demand in self._demands if demand.client != client]
        for key in [key for key in self._leases if key[0] == client]:
            self.out.append(Stop(self._leases.pop(key).worker))
        for actor in self._actors:
            if actor.owner == client:
                self._end_actor(actor, "the process that created it died")
        self._actors.drop_client(client)
        self._groups.drop_client(client)

    def _set_waiting(self, worker_id: bytes, waiting: bool) -> None:
        """A waiting task lends its CPU, so that the task it waits for can run."""
        worker = self._workforce_of(worker_id).get(worker_id)
        if worker is None or worker.waiting == waiting or worker.share is None:
            return
        worker.waiting = waiting
        worker.share.hold_cpus(0 if waiting else worker.user.amounts.get("CPU", 0))

    def _return_lease(self, client: bytes, lease: int, spoiled: bool) -> None:
        worker = self._leases.pop((client, lease), None)
        if worker is not None:
            workforce = self._workforce_of(worker.worker)
            workforce.rest(worker, spoiled=spoiled)
            self._rested.add(workforce)
        else:  # not granted yet
            self._demands = [d for d in self._demands if (d.client, d.lease) != (client, lease)]

    # -- actors --------------------------------------------------------------------------------

    def _actor_of(self, worker_id: bytes) -> Actor:
        worker = self._workforce_of(worker_id).get(worker_id)
        if worker is None or worker.user is None or worker.user.actor is None:
            raise wire.WireError("a message about its actor from a worker that has none")
        actor: Actor = worker.user.actor
        return actor

    def _actor_built(self, worker_id: bytes, error: str, cause: bytes) -> None:
        actor, worker = self._actor_of(worker_id), self._workforce_of(worker_id).get(worker_id)
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
            self.out.append(Stop(actor.worker))
            self._actor_down(actor, reason, "", unbegun=False)

    def _end_actor(
        self, actor: Actor, reason: str, *, fate: wire.Fate = "", cause: bytes = b""
    ) -> None:
        self._demands = [demand for demand in self._demands if demand.actor is not actor]
        self._actors.end(actor, reason, fate, cause)
        if self._workforce_of(actor.worker).get(actor.worker) is not None:
            self.out.append(Stop(actor.worker))

    # -- placement groups ----------------------------------------------------------------------

    def _remove_group(self, group: bytes) -> None:
        """Whoever waits for its bundles is refused, whoever uses them is ended."""
        pools = self._groups.remove(group)
        waiting = [demand for demand in self._demands if demand.needs.group == group]
        self._demands = [demand for demand in self._demands if demand.needs.group != group]
        for demand in waiting:
            self._refuse(demand, GROUP_REMOVED, "group removed")
        for worker in self._workers():
            if worker.share is not None and worker.share.pool in pools:
                self._evict(worker)

    def _evict(self, worker: Worker) -> None:
        demand: Demand = worker.user
        if demand.actor is not None:
            if self._actors.get(demand.actor.order.actor) is demand.actor:
                self._end_actor(demand.actor, GROUP_REMOVED)
        elif self._leases.pop((demand.client, demand.lease), None) is not None:
            self._refuse(demand, GROUP_REMOVED, "group removed")
            self.out.append(Stop(worker.worker))


def _occupant(worker: Worker) -> Occupant:
    """A lease counts as retriable, for tasks are unless their user wants it otherwise."""
    demand: Demand = worker.user
    retriable = demand.actor is None or demand.actor.may_restart
    return Occupant(worker.worker, demand.client, retriable, worker.turn, demand.name)
