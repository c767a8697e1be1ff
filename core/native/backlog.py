"""The demands that are not served yet, in the order in which they are to be.

A demand waits first for resources, in a line of those that ask for the same, then for a process, at
the node where its resources are reserved::

    add --> in a line --placed--> at a node --removed: it has a process, or nobody wants it
               ^                     |
               '------displaced------'  nothing new goes to that node

Of a line whose oldest does not fit nobody fits. So a round looks at one demand of each line,
however many wait, and at none that did not fit before unless something has become free.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator

from rllib.core.native.demands import Demand, Key, LeaseKind, Wish


class Line:
    """Demands that ask for the same, oldest first; never empty."""

    __slots__ = ("fits", "kinds", "waiting")

    def __init__(self) -> None:
        self.waiting: OrderedDict[Demand, None] = OrderedDict()
        self.kinds: Counter[tuple[bytes, LeaseKind]] = Counter()
        """How many of them are of which client, and could use which leases."""
        self.fits: bool | None = None
        """Whether there is enough in all; ``None`` where nobody has looked yet."""

    @property
    def first(self) -> Demand:
        """The oldest."""
        return next(iter(self.waiting))

    def add(self, demand: Demand, *, at_the_end: bool) -> None:
        """It waits as well; before all others, if not at the end."""
        self.waiting[demand] = None
        self.waiting.move_to_end(demand, last=at_the_end)
        self.kinds[demand.client, demand.kind] += 1

    def remove(self, demand: Demand) -> None:
        """It waits here no more."""
        del self.waiting[demand]
        kind = demand.client, demand.kind
        self.kinds[kind] -= 1
        if not self.kinds[kind]:
            del self.kinds[kind]


class Backlog:
    """What waits; see above."""

    def __init__(self) -> None:
        self._count = 0
        self._demands: dict[Key, Demand] = {}
        self._of: dict[bytes, dict[Demand, None]] = {}
        self._lines: dict[Wish, Line] = {}
        self._untried: set[Line] = set()
        self._changes = 0

    def __iter__(self) -> Iterator[Demand]:
        return iter(list(self._demands.values()))

    def get(self, key: Key) -> Demand | None:
        """The demand of that key, if it waits."""
        return self._demands.get(key)

    def of(self, client: bytes) -> list[Demand]:
        """What waits for that client."""
        return list(self._of.get(client, ()))

    def lines(self) -> list[Line]:
        """Those who wait for resources."""
        return list(self._lines.values())

    def add(self, demand: Demand) -> Line:
        """It waits from now on; the line in which it does."""
        self._count += 1
        demand.number = self._count
        self._demands[demand.key] = demand
        self._of.setdefault(demand.client, {})[demand] = None
        return self._line_up(demand, at_the_end=True)

    def _line_up(self, demand: Demand, *, at_the_end: bool) -> Line:
        line = self._lines.get(demand.wish)
        if line is None:
            line = self._lines[demand.wish] = Line()
            self._untried.add(line)
        line.add(demand, at_the_end=at_the_end)
        return line

    def displaced(self, demands: Iterable[Demand]) -> None:
        """They have lost the resources that they had; no demand of their lines is older."""
        for demand in sorted(demands, key=lambda each: -each.number):
            self._line_up(demand, at_the_end=False)

    def remove(self, demand: Demand) -> None:
        """It waits no more."""
        del self._demands[demand.key]
        there = self._of[demand.client]
        del there[demand]
        if not there:
            del self._of[demand.client]
        if demand.reserved is None:
            self._leave(demand)

    def _leave(self, demand: Demand) -> None:
        line = self._lines[demand.wish]
        line.remove(demand)
        if not line.waiting:
            del self._lines[demand.wish]
            self._untried.discard(line)

    def look_again(self) -> None:
        """There are other nodes than before: what never fits may fit now, or the other way."""
        for line in self._lines.values():
            line.fits = None

    def serve(self, place: Callable[[Demand], bool], changes: int) -> None:
        """Place all that fit, oldest first. ``place`` reserves what a demand needs, or says that
        it cannot; ``changes`` is another number whenever it might after all."""
        if changes != self._changes:
            self._changes = changes
            self._untried.update(self._lines.values())
        heads = [(line.first.number, line) for line in self._untried]
        heapq.heapify(heads)
        while heads:
            _, line = heapq.heappop(heads)
            first = line.first
            if not place(first):
                self._untried.discard(line)
                continue
            self._leave(first)
            if line.waiting:
                heapq.heappush(heads, (line.first.number, line))
