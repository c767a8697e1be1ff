"""Who runs where: decisions for one node or for many, as a state machine without I/O.

Events go in (messages of clients, news of workers), instructions come out. The node service
performs them; tests compare them. A *client* is whoever asks: the driver or a worker, named by its
id. A *demand* is a lease or an actor that waits for resources and a process::

    Scheduler
        |--- Backlog        demands that are not served yet        (backlog)
        |--- Loans          workers that are lent                  (lending)
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
from rllib.core.native.amounts import Amounts, Pool, floats, units
from rllib.core.native.backlog import Backlog, Line
from rllib.core.native.demands import Demand, Key, Reserved
from rllib.core.native.groups import Bundle, Groups
from rllib.core.native.instructions import Instruction, Stop, Tell, Warn
from rllib.core.native.lending import Loans, Starving
from rllib.core.native.sites import Site, Sites
from rllib.core.native.victims import Occupant
from rllib.core.native.workforce import Worker, Workforce

GROUP_REMOVED = "its placement group was removed"
_GROUPS: Starving = b"", Demand(b"", wire.Needs({})).kind
"""Stands for placement groups among those who starve."""


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
        self._backlog = Backlog()
        self._turn = 0
        self._complaints: set[str] = set()
        self._stirred: dict[Workforce, None] = {}
        """Which may have too many or too few workers, or idle ones that somebody waits for."""
        self._measurements = Measurements()
        self._actors = Actors(self.out)
        self._groups = Groups(self.sites, self.out)
        self._loans = Loans(self.out)

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
                self._stir(worker).became_ready(worker)
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
        pools = {site.pool for site in self.sites}
        for client, leases in idle:
            for lease in leases:
                worker = self._loans.get(client, lease)
                if worker and worker.share and worker.share.pool in pools:
                    for name, amount in worker.share.amounts.items():
                        free[name] = free.get(name, 0) + amount
        return free

    @property
    def lessees(self) -> set[bytes]:
        """The processes that have leases."""
        return self._loans.clients()

    def worker_down(
        self, worker_id: bytes, reason: str, fate: wire.Fate = "", *, unbegun: bool = False
    ) -> list[Instruction]:
        """A worker is gone; ``reason`` says how. ``unbegun``: an actor whose constructor was under
        way there is constructed elsewhere, and that is not counted as a restart."""
        self._lose_worker(worker_id, reason, fate, unbegun)
        return self._instructions()

    def _lose_worker(self, worker_id: bytes, reason: str, fate: wire.Fate, unbegun: bool) -> None:
        worker = self._stir(worker_id).lost(worker_id)
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
        self._displace(site)
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

    def node_silent(self, key: bytes) -> list[Instruction]:
        """A node has not been heard of for a while: it keeps what it has, and gets nothing new."""
        site = self.sites.get(key)
        if site is None:
            return []
        site.reachable = False
        self._displace(site)
        return self._instructions()

    def node_heard(self, key: bytes) -> list[Instruction]:
        """It has been heard of again."""
        site = self.sites.get(key)
        if site is None or site.reachable:
            return []
        self.sites.open(site)
        self._look_again()
        return self._instructions()

    def _displace(self, site: Site) -> None:
        """Who waits for a process there waits for room elsewhere."""
        displaced: list[Demand] = site.workforce.waiting()
        for demand in displaced:
            self._release(demand)
        self._backlog.displaced(displaced)

    def _ask_again(self) -> None:
        """Of what waits, that is refused which would be refused now."""
        for line in self._backlog.lines():
            if self._obstacle(line.first) is not None:
                for demand in list(line.waiting):
                    self._backlog.remove(demand)
                    self._demand(demand)

    def _look_again(self) -> None:
        """What there is has changed: what never fits may fit now, or the other way round."""
        self._groups.look_again()
        self._backlog.look_again()

    def _workforce_of(self, worker_id: bytes) -> Workforce:
        return self.sites.of(worker_id).workforce

    def _stir(self, worker_id: bytes) -> Workforce:
        workforce = self._workforce_of(worker_id)
        self._stirred[workforce] = None
        return workforce

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
        obstacle = self._obstacle(demand)
        if obstacle is not None:
            self._refuse(demand, *obstacle)
            return
        line = self._backlog.add(demand)
        if line.fits is False:  # as another one has found
            self._complain_of(demand)

    def _obstacle(self, demand: Demand) -> tuple[str, wire.Fate] | None:
        """Why it is not to wait, if so."""
        needs = demand.needs
        if needs.group and self._groups.get(needs.group) is None:
            return GROUP_REMOVED, "group removed"
        if not needs.node or needs.soft:
            return None
        named, only = self.sites.named(needs.node), f"{demand.name} may run only on node"
        if named is None:
            return f"{only} {needs.node}, which is not there", "unschedulable"
        if not matches(named.labels, needs.labels):
            return f"{only} {needs.node}, and wants other labels of it", "unschedulable"
        return None

    def _refuse(self, demand: Demand, reason: str, fate: wire.Fate) -> None:
        """It will not be served."""
        if demand.actor is None:
            self.out.append(Tell(demand.client, wire.LeaseLost(demand.lease, reason, fate)))
        else:
            self._actors.end(demand.actor, reason, fate)

    def _withdraw(self, key: Key) -> None:
        """Nobody waits for it any more, if anybody did."""
        demand = self._backlog.get(key)
        if demand is not None:
            self._backlog.remove(demand)
            self._release(demand)

    @staticmethod
    def _release(demand: Demand) -> None:
        """Give back what was reserved for it."""
        reserved, demand.reserved = demand.reserved, None
        if reserved is not None:
            reserved.site.workforce.leave(demand, demand.needs.environment)
            reserved.share.give_back()

    def _pump(self, *, groups_starve: bool) -> None:
        """Give resources and workers to demands, oldest first, as far as they go."""
        for workforce in self._stirred:
            for demand, worker in workforce.served():
                self._assign(demand, worker)
        self._backlog.serve(self._reserve, self.sites.changes)
        for workforce in self._stirred:
            workforce.start_missing()
        self._loans.ask_back(self._starving(groups_starve=groups_starve))
        for workforce in self._stirred:
            workforce.retire()
        self._stirred.clear()

    def _reserve(self, demand: Demand) -> bool:
        """Take what it needs, and a worker as soon as there is one; whether so much is free."""
        demand.reserved = self._take(demand)
        if demand.reserved is None:
            return False
        workforce, environment = demand.reserved.site.workforce, demand.needs.environment
        worker = workforce.choose(environment)
        if worker is not None:
            self._assign(demand, worker)
        else:
            workforce.wait(demand, environment)
            self._stirred[workforce] = None
        return True

    def _take(self, demand: Demand) -> Reserved | None:
        if demand.needs.group:
            return self._take_of_group(demand)
        kind = demand.wish.amounts
        found = self.sites.take(demand.needs, demand.client, demand.amounts, kind)
        return None if found is None else Reserved(*found)

    def _take_of_group(self, demand: Demand) -> Reserved | None:
        for bundle in self._bundles(demand.needs):
            share = bundle.pool.take(demand.amounts)
            if share is not None:
                return Reserved(bundle.site, share)
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

    def _has_hope(self, line: Line) -> bool:
        """Whether these will fit once others are done; the user hears of what never fits, once."""
        if line.fits is None:
            demand = line.first
            known = self._groups.get(demand.needs.group)
            if demand.needs.group and (known is None or not known.bundles):
                return False  # it has its hope when the group is placed
            pools = self._pools(demand.needs)
            line.fits = any(pool.could_cover(demand.amounts) for pool in pools)
            if not line.fits:
                for each in line.waiting:
                    self._complain_of(each)
        return line.fits

    def _complain_of(self, demand: Demand) -> None:
        labels = self.sites.labels()
        if not any(matches(each, demand.needs.labels) for each in labels):
            self._complain(demand.complaint_of_labels(labels))
        else:
            known = self._groups.get(demand.needs.group)
            self._complain(
                demand.complaint(self._there() if known is None else known.order.bundles)
            )

    def _there(self) -> Any:
        """What a node has; of several, each by itself, as nothing runs on two."""
        totals = [floats(site.pool.total) for site in self.sites]
        return totals if len(totals) > 1 else totals[0]

    def _complain(self, text: str) -> None:
        """A caller asks for many leases of one kind at a time: all of that is one complaint."""
        if text not in self._complaints:
            self._complaints.add(text)
            self.out.append(Warn(text))

    def _starving(self, *, groups_starve: bool) -> set[Starving]:
        lines = [line for line in self._backlog.lines() if self._has_hope(line)]
        kinds = {kind for line in lines for kind in line.kinds}
        return kinds | {_GROUPS} if groups_starve else kinds

    def _assign(self, demand: Demand, worker: Worker) -> None:
        """It has what it needs, and a worker."""
        assert demand.reserved is not None
        self._backlog.remove(demand)
        share, demand.reserved = demand.reserved.share, None
        self._turn += 1
        worker.user, worker.share, worker.turn = demand, share, self._turn
        assignment = demand.assignment(share)
        if demand.actor is None:
            self._loans.lend(demand, worker)
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
        elif self._loans.end(demand.client, demand.lease) is not None:
            self.out.append(Tell(demand.client, wire.LeaseLost(demand.lease, reason, fate)))

    def _give_up(self, reason: str) -> None:
        for demand in self._backlog:
            self._withdraw(demand.key)
            self._refuse(demand, reason, "")

    def _drop_client(self, client: bytes) -> None:
        """A client died: what it waited for, used or owned ends with it."""
        for demand in self._backlog.of(client):
            self._withdraw(demand.key)
        for worker in self._loans.drop_client(client):
            self.out.append(Stop(worker.worker))
        for actor in self._actors.owned_by(client):
            self._end_actor(actor, "the process that created it died")
        self._actors.drop_client(client)
        self._groups.drop_client(client)

    def _set_waiting(self, worker_id: bytes, waiting: bool) -> None:
        """A waiting task lends its CPU, so that the task it waits for can run."""
        worker = self._workforce_of(worker_id).get(worker_id)
        if worker is None or worker.waiting == waiting or worker.share is None:
            return
        worker.waiting = waiting
        if not waiting:
            self._loans.goes_on(worker)
        worker.share.hold_cpus(0 if waiting else worker.user.amounts.get("CPU", 0))

    def _return_lease(self, client: bytes, lease: int, spoiled: bool) -> None:
        worker = self._loans.end(client, lease)
        if worker is not None:
            self._stir(worker.worker).rest(worker, spoiled=spoiled)
        else:  # not granted yet
            self._withdraw((client, lease))

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
        self._withdraw(actor.order.actor)
        self._actors.end(actor, reason, fate, cause)
        if self._workforce_of(actor.worker).get(actor.worker) is not None:
            self.out.append(Stop(actor.worker))

    # -- placement groups ----------------------------------------------------------------------

    def _remove_group(self, group: bytes) -> None:
        """Whoever waits for its bundles is refused, whoever uses them is ended."""
        pools = self._groups.remove(group)
        for demand in self._backlog:
            if demand.needs.group == group:
                self._withdraw(demand.key)
                self._refuse(demand, GROUP_REMOVED, "group removed")
        for worker in self._workers():
            if worker.share is not None and worker.share.pool in pools:
                self._evict(worker)

    def _evict(self, worker: Worker) -> None:
        demand: Demand = worker.user
        if demand.actor is not None:
            if self._actors.get(demand.actor.order.actor) is demand.actor:
                self._end_actor(demand.actor, GROUP_REMOVED)
        elif self._loans.end(demand.client, demand.lease) is not None:
            self._refuse(demand, GROUP_REMOVED, "group removed")
            self.out.append(Stop(worker.worker))


def _occupant(worker: Worker) -> Occupant:
    """A lease counts as retriable, for tasks are unless their user wants it otherwise."""
    demand: Demand = worker.user
    retriable = demand.actor is None or demand.actor.may_restart
    return Occupant(worker.worker, demand.client, retriable, worker.turn, demand.name)
