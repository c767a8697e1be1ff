"""The caller's side of tasks: leases that it holds, and what waits for one.

A lease is a worker that the node has lent to this process for one set of resources. A task takes
a free lease of its kind, or waits while another lease is asked for; the scheduler is not on the
way of a task that finds one. Leases are kept until the node wants them back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from rllib.core.exceptions import WorkerCrashedError
from rllib.core.native import wire
from rllib.core.native.calls import Call, Calls
from rllib.core.native.objects import NativeRef
from rllib.core.native.peers import Peer, PeerGoneError, Peers

Kind = tuple[tuple[str, float], ...]
"""A set of resources, as a key."""

MAX_REQUESTS = 16
"""Leases of one kind asked for at the same time."""


class Task:
    """A task until it has a result: what to run, and how often it may be tried again."""

    __slots__ = ("call", "kind", "lease", "retries")

    def __init__(self, call: Call, kind: Kind, retries: int) -> None:
        self.call = call
        self.kind = kind
        self.retries = retries
        self.lease: Lease | None = None


class Lease:
    """A lent worker, asked for or granted."""

    __slots__ = ("granted", "kind", "number", "peer", "task")

    def __init__(self, number: int, kind: Kind) -> None:
        self.number = number
        self.kind = kind
        self.granted = False
        self.peer: Peer | None = None
        self.task: Task | None = None


class _Line:
    """The tasks of one kind that wait, the leases that have nothing to do, and those asked for."""

    __slots__ = ("free", "requested", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Task] = deque()
        self.free: list[Lease] = []
        self.requested = 0


class Tasks:
    """Runs under the runtime's lock."""

    def __init__(self, peers: Peers, calls: Calls, tell_node: Callable[[Any], None]) -> None:
        self._peers = peers
        self._calls = calls
        self._tell_node = tell_node
        self._lines: dict[Kind, _Line] = {}
        self._leases: dict[int, Lease] = {}
        self._count = 0
        self._wanted = False
        self._unready = 0  # tasks that wait for what they need

    @property
    def under_way(self) -> bool:
        """Whether tasks wait for their turn or for what they need."""
        return self._unready > 0 or any(line.waiting for line in self._lines.values())

    def submit(self, task: Task, needs: Sequence[NativeRef]) -> None:
        """Run the task as soon as what it ``needs`` exists and a lease is free."""
        missing = [ref for ref in needs if ref.outcome is None]
        if not missing:
            self._enqueue(task)
            return
        left = len(missing)

        def one_ready() -> None:
            nonlocal left
            left -= 1
            if not left:
                self._unready -= 1
                self._enqueue(task)

        self._unready += 1
        for ref in missing:
            self._calls.want(ref)
            ref.when_ready(one_ready)

    def _enqueue(self, task: Task) -> None:
        line = self._lines.setdefault(task.kind, _Line())
        line.waiting.append(task)
        self._pump(task.kind, line)

    def _pump(self, kind: Kind, line: _Line) -> None:
        while line.waiting and line.free:
            self._start(line.waiting.popleft(), line.free.pop())
        while line.requested < min(len(line.waiting), MAX_REQUESTS):
            self._request(kind, line)

    def _request(self, kind: Kind, line: _Line) -> None:
        self._count += 1
        line.requested += 1
        self._leases[self._count] = Lease(self._count, kind)
        self._tell_node(wire.RequestLease(self._count, dict(kind)))

    def _start(self, task: Task, lease: Lease) -> None:
        assert lease.peer is not None
        lease.task = task
        task.lease = lease
        self._calls.send(lease.peer, task.call)

    # -- events --------------------------------------------------------------------------------

    def on_finished(self, task: Task) -> None:
        """A reply has come; its lease is free for the next task."""
        lease = task.lease
        if lease is None:
            return
        lease.task = None
        if lease.number not in self._leases:
            return  # its worker died after the reply
        line = self._lines[lease.kind]
        if self._wanted:
            self._wanted = False
            self._give_back(lease)
        else:
            line.free.append(lease)
        self._pump(lease.kind, line)

    def on_granted(self, number: int, worker: bytes) -> None:
        """The node lends a worker."""
        lease = self._leases[number]
        line = self._lines[lease.kind]
        line.requested -= 1
        lease.granted = True
        try:
            lease.peer = self._peers.get(worker)
        except PeerGoneError:
            return  # the node is about to report the lease as lost
        line.free.append(lease)
        self._pump(lease.kind, line)

    def on_lost(self, number: int, reason: str) -> None:
        """The worker of a lease died, or none could be started."""
        lease = self._leases.pop(number, None)
        if lease is None:
            return
        line = self._lines[lease.kind]
        if not lease.granted:
            line.requested -= 1
            self._fail_line(line, reason)
            return
        if lease.peer is not None:
            self._peers.drain(lease.peer)  # its last reply may be on the way
            lease.peer.inflight.clear()
        if lease in line.free:
            line.free.remove(lease)
        if lease.task is not None:
            self._retry(lease.task, reason)
        self._pump(lease.kind, line)

    def _fail_line(self, line: _Line, reason: str) -> None:
        error = WorkerCrashedError(f"the task cannot run: {reason}")
        while line.waiting:
            line.waiting.popleft().call.resolve_all(error)

    def _retry(self, task: Task, reason: str) -> None:
        task.lease = None
        if task.retries == 0:
            name = task.call.target.name
            task.call.resolve_all(WorkerCrashedError(f"task {name} failed: its {reason}"))
            return
        task.retries -= task.retries > 0
        self._enqueue(task)

    def on_wanted(self) -> None:
        """Others wait for resources: give back what is not in use, or else what is next free.

        The node asks again if that does not suffice; so a rush of tasks takes turns with others.
        """
        self._wanted = True
        for line in self._lines.values():
            while line.free and not line.waiting:
                self._wanted = False
                self._give_back(line.free.pop())

    def _give_back(self, lease: Lease) -> None:
        del self._leases[lease.number]
        self._tell_node(wire.ReturnLease(lease.number))
