"""The caller's side of tasks: leases that it holds, and what waits for one.

A lease is a worker that the node has lent to this process for one set of resources; the scheduler
is not on the way of a task that finds one. Leases are kept until the node wants them back.

Short tasks are sent ahead, several to a lease, so that a worker never waits for the next one: as
many as are expected to take `AHEAD_S` together, by what their function took before. Tasks of a
function that nobody has timed yet go one at a time. Should the guess be wrong, a worker that waits
hands back what it has not begun, and a lease that runs dry takes over half of what another has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from rllib.core.exceptions import (
    CoreError,
    OutOfMemoryError,
    OwnerDiedError,
    TaskCancelledError,
    TaskPlacementGroupRemoved,
    TaskUnschedulableError,
    WorkerCrashedError,
)
from rllib.core.native import wire
from rllib.core.native.calls import Calls
from rllib.core.native.leases import Kind, Lease, Line, Task, delay_s
from rllib.core.native.objects import NativeRef, Stored
from rllib.core.native.peers import PeerGoneError, Peers
from rllib.core.native.sites import key_of, nearest

_FATES: dict[wire.Fate, type[CoreError]] = {
    "": WorkerCrashedError,
    "group removed": TaskPlacementGroupRemoved,
    "unschedulable": TaskUnschedulableError,
    "out of memory": OutOfMemoryError,
}


class Tasks:
    """Runs under the runtime's lock."""

    def __init__(
        self, me: bytes, peers: Peers, calls: Calls, tell_node: Callable[[Any], None]
    ) -> None:
        self._key = key_of(me)
        self._peers = peers
        self._calls = calls
        self._tell_node = tell_node
        self._lines: dict[Kind, Line] = {}
        self._leases: dict[int, Lease] = {}
        self._count = 0
        self._unready: dict[Task, None] = {}  # tasks that wait for what they need

    @property
    def under_way(self) -> bool:
        """Whether tasks wait for their turn or for what they need."""
        return bool(self._unready) or any(line.waiting for line in self._lines.values())

    def submit(self, task: Task, needs: Sequence[NativeRef]) -> None:
        """Run the task as soon as what it ``needs`` exists, wherever, and a lease is free."""
        missing = [ref for ref in needs if not ref.is_known]
        if not missing:
            self._begin(task, needs)
            return
        left = len(missing)

        def one_ready() -> None:
            nonlocal left
            left -= 1
            if not left and task in self._unready:
                del self._unready[task]
                self._begin(task, needs)

        self._unready[task] = None
        for ref in missing:
            self._calls.look(ref)
            ref.when_known(one_ready)

    def _begin(self, task: Task, needs: Sequence[NativeRef]) -> None:
        """All that it needs exists, or is lost for good: an owner that is dead for this process may
        still give odd answers to the one that would run it."""
        lost = next((ref.outcome for ref in needs if isinstance(ref.outcome, OwnerDiedError)), None)
        if lost is not None:
            task.resolve_all(lost)
            return
        self._bring_near(task, needs)
        self._enqueue(task)

    def _bring_near(self, task: Task, needs: Sequence[NativeRef]) -> None:
        """A task goes where most bytes of its arguments are, if that is another node."""
        if all(key_of(ref._owner) == self._key and not ref.is_away for ref in needs):
            return  # as always where there is one node
        resources, place = task.kind
        if place.group or place.node or place.spread:
            return
        near = nearest([(self._place_of(ref), ref.known_size()) for ref in needs], self._key)
        if near != place.near:
            task.kind = resources, place._replace(near=near)

    def _place_of(self, ref: NativeRef) -> bytes:
        """The key of the node where its value is, as far as this process knows."""
        if isinstance(ref.outcome, Stored):
            return self._key
        return key_of(ref.away.at if ref.is_away and ref.away else ref._owner)

    def _enqueue(self, task: Task) -> None:
        line = self._lines.get(task.kind)
        if line is None:
            line = self._lines[task.kind] = Line()
        line.waiting.append(task)
        self._pump(task.kind, line)

    def _pump(self, kind: Kind, line: Line) -> None:
        while line.waiting:
            lease = line.roomiest()
            if lease is None or not lease.has_room(line.waiting[0].target.expected_s):
                break
            self._start(line.waiting.popleft(), lease)
        while line.requested < line.wanted:
            self._request(kind, line)

    def _request(self, kind: Kind, line: Line) -> None:
        self._count += 1
        line.requested += 1
        self._leases[self._count] = Lease(self._count, kind)
        if kind[1].near:
            self._give_way(kind)
        self._tell_node(wire.RequestLease(self._count, _needs(kind)))

    def _give_way(self, kind: Kind) -> None:
        """What is to run near its arguments does not go elsewhere for the sake of leases on that
        node with which nothing is done."""
        for line in self._lines.values():
            for lease in list(line.leases):
                if lease.kind != kind and not lease.tasks and _is_on(lease, kind[1].near):
                    self._give_back(lease)

    def _start(self, task: Task, lease: Lease) -> None:
        assert lease.peer is not None
        if not lease.tasks:
            lease.since = time.perf_counter()
        task.lease = lease
        task.expected_s = task.target.expected_s
        lease.tasks[task] = None
        lease.load_s += task.expected_s
        self._calls.send(lease.peer, task)

    def _leave(self, task: Task, lease: Lease) -> None:
        """The task is not the lease's any more."""
        del lease.tasks[task]
        task.lease = None
        lease.load_s = lease.load_s - task.expected_s if lease.tasks else 0.0

    # -- events --------------------------------------------------------------------------------

    def on_finished(self, task: Task, flags: int) -> None:
        """A reply has come; its lease has room again."""
        lease = task.lease
        if lease is None:
            return
        now = time.perf_counter()
        task.target.took(now - lease.since)
        lease.since = now
        lease.waits = False
        self._leave(task, lease)
        self._note_leaving(lease, flags)
        if lease.number not in self._leases:
            return  # its worker died after the reply
        line = self._lines[lease.kind]
        if lease.leaves and not lease.tasks:
            self._give_back(lease)
        self._pump(lease.kind, line)
        if not lease.tasks:
            self._run_dry(lease, line)

    def _run_dry(self, lease: Lease, line: Line) -> None:
        """Nothing is left to do for a lease, unless others of its line have too much."""
        if line.wanted_back and lease in line.leases:
            self._give_back(lease)
        else:
            self._take_over(line)

    def on_returned(self, task: Task, flags: int) -> None:
        """The worker has not begun the task and hands it back."""
        lease = task.lease
        if lease is None:
            return
        self._leave(task, lease)
        self._note_leaving(lease, flags)
        lease.waits = bool(lease.tasks)
        if lease.leaves and not lease.tasks and lease.number in self._leases:
            self._give_back(lease)
        line = self._lines[task.kind]
        line.waiting.appendleft(task)
        self._pump(task.kind, line)

    def _note_leaving(self, lease: Lease, flags: int) -> None:
        if flags & wire.LEAVING:
            lease.leaves = lease.spoiled = True

    def again(self, task: Task) -> None:
        """Run a task once more whose code has raised."""
        self._enqueue(task)

    def _take_over(self, line: Line) -> None:
        """A lease has run dry: call back half of what the one with the most has not begun."""
        if line.waiting or not line.leases:
            return
        longest = max(line.leases, key=lambda lease: len(lease.tasks))
        behind = [task.seq for task in longest.tasks][1:]
        if behind and longest.peer is not None:
            self._peers.tell(longest.peer.process, wire.Recall(behind[len(behind) // 2 :]))

    def on_granted(self, number: int, worker: bytes, given: wire.Assignment) -> None:
        """The node lends a worker."""
        lease = self._leases[number]
        line = self._lines[lease.kind]
        line.requested -= 1
        lease.granted = True
        try:
            lease.peer = self._peers.get(worker)
        except PeerGoneError:
            return  # the node is about to report the lease as lost
        self._peers.tell(worker, wire.Assigned(given))
        line.leases.append(lease)
        self._pump(lease.kind, line)
        if not lease.tasks:
            self._run_dry(lease, line)

    def on_lost(self, number: int, reason: str, fate: wire.Fate) -> None:
        """The worker of a lease died, or there will be none."""
        lease = self._leases.pop(number, None)
        if lease is None:
            return
        line = self._lines[lease.kind]
        if not lease.granted:
            line.requested -= 1
            self._fail(line.take_waiting(), reason, fate)
            return
        if lease.peer is not None:  # else it was lost before it could be used
            self._peers.drain(lease.peer)  # its last replies may be on the way
            lease.peer.inflight.clear()
        if lease in line.leases:
            line.leases.remove(lease)
        tasks = list(lease.tasks)
        for task in tasks:
            self._leave(task, lease)
        if fate not in ("", "out of memory"):
            self._fail([*tasks, *line.take_waiting()], reason, fate)
            return
        line.waiting.extendleft(reversed(tasks[1:]))  # sent ahead, so they had not begun
        if tasks:
            self._retry(tasks[0], reason, fate)
        self._pump(lease.kind, line)

    def shun(self, node: bytes) -> None:
        """A node has ended: nothing is sent to its workers, of whose end word is about to come."""
        for line in self._lines.values():
            for lease in line.leases:
                lease.leaves |= _is_on(lease, node)

    @staticmethod
    def _fail(tasks: list[Task], reason: str, fate: wire.Fate) -> None:
        error = _FATES[fate](f"the task cannot run: {reason}")
        for task in tasks:
            task.resolve_all(error)

    def _retry(self, task: Task, reason: str, fate: wire.Fate) -> None:
        """A task that had begun. That memory ran out is not counted against it."""
        if task.may_retry if fate else task.use_retry():
            self._enqueue(task)
        elif task.cancelled:
            task.resolve_all(TaskCancelledError(f"task {task.name} was cancelled"))
        else:
            task.resolve_all(_FATES[fate](f"task {task.name} failed: its {reason}"))

    def idle_leases(self) -> list[int]:
        """Those on which nothing runs."""
        return [lease.number for lease in self._leases.values() if lease.peer and not lease.tasks]

    def lacks_arguments(self, task: Task) -> bool:
        """Whether it waits for what it needs."""
        return task in self._unready

    # -- cancelling ----------------------------------------------------------------------------

    def drop(self, task: Task) -> bool:
        """Forget a task that was not sent to a worker; ``False`` for one that was."""
        if task in self._unready:
            del self._unready[task]
            return True
        line = self._lines.get(task.kind)
        if line is None or task not in line.waiting:
            return False
        line.waiting.remove(task)
        return True

    def unsent(self) -> Iterator[Task]:
        """Tasks that no worker has yet."""
        yield from self._unready
        for line in self._lines.values():
            yield from line.waiting

    def on_wanted(self, numbers: Collection[int]) -> None:
        """Others wait for resources, which leases of these kinds have: give back those that are not
        in use, or else the one that is next free.

        The node asks again if that does not suffice; so a rush of tasks takes turns with others.
        """
        wanted = (self._leases[number].kind for number in numbers if number in self._leases)
        for kind in dict.fromkeys(wanted):
            line = self._lines[kind]
            idle = [lease for lease in line.leases if not lease.tasks]
            for lease in idle:
                self._give_back(lease)
            line.wanted_back = not idle
            if not idle and not any(lease.leaves for lease in line.leases):
                self._begin_leaving(min(line.leases, key=delay_s, default=None))

    def _begin_leaving(self, lease: Lease | None) -> None:
        """Send nothing more to a lease; it is given back when it has done what it has begun."""
        if lease is None or lease.peer is None:
            return
        lease.leaves = True
        behind = [task.seq for task in lease.tasks][1:]
        if behind:
            self._peers.tell(lease.peer.process, wire.Recall(behind))

    def _give_back(self, lease: Lease) -> None:
        line = self._lines[lease.kind]
        line.leases.remove(lease)
        line.wanted_back = False
        del self._leases[lease.number]
        self._tell_node(wire.ReturnLease(lease.number, lease.spoiled))


def _is_on(lease: Lease, node: bytes) -> bool:
    return lease.peer is not None and key_of(lease.peer.process) == node


def _needs(kind: Kind) -> wire.Needs:
    resources, place = kind
    return wire.Needs(dict(resources), *place)
