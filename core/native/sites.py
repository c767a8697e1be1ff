"""The nodes as the scheduler sees them: what each has, and which processes it runs.

A process's id begins with the key of its node, so whoever knows the one knows the other, and no
directory of processes is needed anywhere.
"""

from __future__ import annotations

import heapq
import os
import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping

from rllib.core.labels import NODE_ID, Alternatives, matches
from rllib.core.native import wire
from rllib.core.native.amounts import UNIT, Amounts, Kind, Pool, Share, devices, floats, units
from rllib.core.native.instructions import Instruction
from rllib.core.native.workforce import Workforce

_MAX_ROOMS = 256
_MAX_DEAD = 100
_MAX_DOUBLE = 64
"""Entries of a heap that may be there twice, beyond as many as there are nodes."""

KEY_BYTES = 6
"""Of a process id of 16 bytes; the rest is random."""


def key_of(process: bytes) -> bytes:
    """The key of the node on which that process is."""
    return process[:KEY_BYTES]


def node_key(node: str) -> bytes:
    """The key of the node of that id."""
    return bytes.fromhex(node)[:KEY_BYTES]


def new_process_id(key: bytes) -> bytes:
    """For a process on the node of that key."""
    return key + os.urandom(16 - KEY_BYTES)


def nearest(values: Iterable[tuple[bytes, int]], home: bytes) -> bytes:
    """The key of the node with most bytes of values, given as (node, bytes); empty for ``home``.

    Bytes that are not known, which are 0, count as one.
    """
    weights = {home: 0}
    for key, size in values:
        weights[key] = weights.get(key, 0) + max(size, 1)
    best = max(weights, key=lambda key: weights[key])  # of equals the first
    return b"" if best == home else best


class Site:
    """A node: its pool of resources, its labels, its processes."""

    def __init__(
        self,
        node: str,
        key: bytes,
        total: Mapping[str, float],
        new_id: Callable[[], bytes],
        out: list[Instruction],
        gpus: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        host: str = "",
        address: str = "",
    ) -> None:
        self.node = node
        self.key = key
        self.host = host or platform.node()
        self.address = address
        self.labels = {**(labels or {}), NODE_ID: node}
        self.pool = Pool(units(total), devices(total.get("GPU", 0.0), gpus))
        self.closed_to: set[Kind] = set()
        """What it has no room for, until something is given back there."""
        self.number = 0
        """The later it joined, the higher."""
        self.death = ""
        self.reachable = True
        """Nothing new goes to a node that has not been heard of for a while."""
        spare = max(1, self.pool.total.get("CPU", 0) // UNIT)
        self.workforce = Workforce(new_id, spare, out)

    def row(self) -> wire.NodeRow:
        """What is known of it."""
        return wire.NodeRow(
            self.node, self.host, self.address, floats(self.pool.total), self.labels, self.death
        )

    def may_take(self, kind: Kind, labels: Alternatives) -> bool:
        """Whether it is worth trying there."""
        known = self.reachable and kind not in self.closed_to
        return known and (not labels or matches(self.labels, labels))

    def take(self, amounts: Amounts, kind: Kind) -> Share | None:
        """A share of that kind; if there is no room, it is not tried again until there is."""
        if kind in self.closed_to:
            return None
        share = self.pool.take(amounts)
        if share is None:
            self.closed_to.add(kind)
        return share

    def load(self) -> float:
        """The share of its scarcest resource that is in use, and a little for everything of a core
        that runs there: actors that hold nothing count as well."""
        total, free = self.pool.total, self.pool.free
        used = (1 - free.get(name, 0) / most for name, most in total.items() if most)
        cores = max(1.0, total.get("CPU", 0) / UNIT)
        return max(used, default=0.0) + 1e-6 * self.pool.shares / cores


class Room:
    """The nodes that may have room for what asks for the same, best first.

    A heap, as there may be a thousand nodes and a hundred thousand to be placed: what has become
    worse, or has no room any more, is found out when it comes up, and what has become better is
    `offer`ed anew.
    """

    def __init__(self, kind: Kind, labels: Alternatives, *, spread: bool) -> None:
        self.spread = spread
        self.kind = kind
        self._labels = labels
        self._heap: list[tuple[float, int, Site]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def offer(self, site: Site) -> None:
        """It may have room, or be better than before."""
        if site.may_take(self.kind, self._labels):
            heapq.heappush(self._heap, (self._rank(site), site.number, site))

    def _rank(self, site: Site) -> float:
        """With SPREAD by how much is in use, else by who has joined first."""
        return site.load() if self.spread else 0.0

    def best(self) -> Site | None:
        """Where to try first; the caller closes it if there is no room after all."""
        while self._heap:
            rank, _, site = self._heap[0]
            now = self._rank(site)
            if not site.may_take(self.kind, self._labels):
                heapq.heappop(self._heap)
            elif rank < now:
                heapq.heapreplace(self._heap, (now, site.number, site))
            else:
                return site
        return None


class Sites:
    """All nodes that are there, the scheduler's own first."""

    def __init__(self, home: Site) -> None:
        self.home = home
        self.changes = 0
        """Another number whenever there may be room for what did not fit before."""
        self._joined = 0
        self._sites: dict[bytes, Site] = {}
        self._named: dict[str, Site] = {}
        self._dead: deque[Site] = deque(maxlen=_MAX_DEAD)
        self._rooms: dict[tuple[Kind, Alternatives, bool], Room] = {}
        self.add(home)

    def __iter__(self) -> Iterator[Site]:
        return iter(self._sites.values())

    def __len__(self) -> int:
        return len(self._sites)

    def add(self, site: Site) -> None:
        """A node has joined."""
        self._joined += 1
        site.number = self._joined
        self._sites[site.key] = self._named[site.node] = site
        site.pool.freed = lambda: self._reopen(site)
        self.open(site)

    def open(self, site: Site) -> None:
        """Something new may go to it, from now on or again."""
        site.reachable = True
        self.changed()
        for room in self._rooms.values():
            room.offer(site)

    def remove(self, key: bytes, reason: str) -> Site | None:
        """A node is gone."""
        site = self._sites.pop(key, None)
        if site is not None:
            del self._named[site.node]
            site.reachable, site.death = False, reason
            site.pool.freed = None
            self._dead.append(site)
        return site

    def rows(self) -> list[wire.NodeRow]:
        """What is known of all, the last that died at the end."""
        return [site.row() for site in (*self, *self._dead)]

    def changed(self) -> None:
        """There may be room for what did not fit before."""
        self.changes += 1

    def _reopen(self, site: Site) -> None:
        """It has more room than before: what it had none for may fit again."""
        closed, site.closed_to = site.closed_to, set()
        self.changed()
        for room in self._rooms.values():
            if room.spread or room.kind in closed:
                room.offer(site)

    def take(
        self, needs: wire.Needs, client: bytes, amounts: Amounts, kind: Kind
    ) -> tuple[Site, Share] | None:
        """A share of the best node that has room for it, if there is one.

        That is the node which is wanted; or else the one with most of its arguments; else its
        client's own as long as it has room, then the others in order of joining, so that few are
        used in part. With SPREAD it is the node that is least in use.
        """
        for site in self._preferred(needs, client):
            if site is not None and site.may_take(kind, needs.labels):
                share = site.take(amounts, kind)
                if share is not None:
                    return site, share
        if needs.node and not needs.soft:
            return None
        room = self._room(kind, needs.labels, spread=needs.spread)
        while (best := room.best()) is not None:
            share = best.take(amounts, kind)
            if share is not None:
                return best, share
        return None

    def _preferred(self, needs: wire.Needs, client: bytes) -> Iterable[Site | None]:
        if needs.node and not needs.soft:
            return (self.named(needs.node),)
        if needs.spread:
            return ()
        near, own = self._sites.get(needs.near), self._sites.get(key_of(client))
        return self.named(needs.node), near, own

    def _room(self, kind: Kind, labels: Alternatives, *, spread: bool) -> Room:
        key = kind, labels, spread
        room = self._rooms.get(key)
        if room is None or len(room) > 2 * len(self) + _MAX_DOUBLE:
            if len(self._rooms) >= _MAX_ROOMS:
                self._rooms.clear()
            room = self._rooms[key] = Room(kind, labels, spread=spread)
            for site in self:
                room.offer(site)
        return room

    def of(self, process: bytes) -> Site:
        """The node of that process."""
        return self._sites.get(key_of(process), self.home)

    def get(self, key: bytes) -> Site | None:
        """The node of that key."""
        return self._sites.get(key)

    def named(self, node: str) -> Site | None:
        """The node of that id."""
        return self._named.get(node)

    def matching(self, needs: wire.Needs) -> list[Site]:
        """Where something may run at all, by its labels and its affinity; also those of which
        nothing is heard just now."""
        only = needs.node and not needs.soft
        sites = [site for site in self if not only or site.node == needs.node]
        return [site for site in sites if matches(site.labels, needs.labels)]

    def total(self) -> Amounts:
        """What all have together."""
        return _sum(site.pool.total for site in self)

    def free(self) -> Amounts:
        """What is free on all of them together."""
        return _sum(site.pool.free for site in self)

    def labels(self) -> list[Mapping[str, str]]:
        """Those of all nodes."""
        return [site.labels for site in self]


def _sum(amounts: Iterable[Amounts]) -> Amounts:
    found: Amounts = {}
    for each in amounts:
        for name, amount in each.items():
            found[name] = found.get(name, 0) + amount
    return found
