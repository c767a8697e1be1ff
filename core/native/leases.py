"""Tasks and leases as their caller keeps them: who has what to do, and for how long."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Sequence

from rllib.core.native.call import Call, Target
from rllib.core.native.objects import NativeRef, Stored
from rllib.core.native.peers import Peer
from rllib.core.native.placing import Place
from rllib.core.records import RetryOn

Kind = tuple[tuple[tuple[str, float], ...], Place]
"""A set of resources and a place, as a key. Tasks of one kind can use each other's leases."""

MAX_REQUESTS = 16
"""Leases of one kind asked for at the same time."""

AHEAD_S = 0.002
"""Expected duration of the tasks that are sent to a worker before it has begun them."""


class Task(Call):
    """A call that any worker may answer."""

    __slots__ = ("expected_s", "kind", "lease")

    def __init__(
        self,
        refs: Sequence[NativeRef],
        args: Stored,
        target: Target,
        kind: Kind,
        retries: int = 0,
        retry_on: RetryOn = False,
        label: str = "",
    ) -> None:
        super().__init__(refs, args, target, None, retries, retry_on, label)
        self.kind = kind
        self.lease: Lease | None = None
        self.expected_s = 0.0

    @property
    def peer(self) -> Peer | None:
        """The worker that has it."""
        return None if self.lease is None else self.lease.peer

    def again(self, refs: Sequence[NativeRef], args: Stored) -> Task:
        """The same task, not begun, with other references."""
        task = copy.copy(self)
        task.refs, task.args = refs, args
        task.lease, task.parent, task.seq = None, None, 0
        return task


class Lease:
    """A lent worker, asked for or granted."""

    __slots__ = (
        "granted",
        "kind",
        "leaves",
        "load_s",
        "number",
        "peer",
        "since",
        "spoiled",
        "tasks",
        "waits",
    )

    def __init__(self, number: int, kind: Kind) -> None:
        self.number = number
        self.kind = kind
        self.granted = False
        self.peer: Peer | None = None
        self.tasks: dict[Task, None] = {}  # in the order in which they run
        self.load_s = 0.0  # expected duration of all of them
        self.since = 0.0  # when the first of them began, as far as one can tell from here
        self.waits = False  # its task waits for others, so nothing is sent to it
        self.leaves = False  # it is to be given back, so nothing is sent to it either
        self.spoiled = False  # ... because its worker takes no more

    def has_room(self, expected_s: float) -> bool:
        """Whether a task of that duration may be sent."""
        if self.leaves:
            return False
        if not self.tasks:
            return True
        return not self.waits and self.load_s + expected_s <= AHEAD_S


class Line:
    """The tasks of one kind that wait, the leases, and how many more were asked for."""

    __slots__ = ("leases", "requested", "waiting", "wanted_back")

    def __init__(self) -> None:
        self.waiting: deque[Task] = deque()
        self.leases: list[Lease] = []
        self.requested = 0
        self.wanted_back = False
        """Others wait for what a lease of these holds: the next that is not in use is for them."""

    def roomiest(self) -> Lease | None:
        """The lease with the least to do."""
        return min(self.leases, key=delay_s, default=None)

    def take_waiting(self) -> list[Task]:
        """All that wait, who will not be served."""
        tasks = list(self.waiting)
        self.waiting.clear()
        return tasks

    @property
    def wanted(self) -> int:
        """How many leases more could be used at once."""
        ahead = any(len(lease.tasks) > 1 for lease in self.leases)
        return min(len(self.waiting) + ahead, MAX_REQUESTS)


def delay_s(lease: Lease) -> float:
    """How long a task sent now would wait; infinite where none is to be sent."""
    return float("inf") if lease.waits or lease.leaves else lease.load_s
