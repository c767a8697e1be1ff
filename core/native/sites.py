"""The nodes as the scheduler sees them: what each has, and which processes it runs.

A process's id begins with the key of its node, so whoever knows the one knows the other, and no
directory of processes is needed anywhere.
"""

from __future__ import annotations

import os
import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping

from rllib.core.labels import NODE_ID, matches
from rllib.core.native import wire
from rllib.core.native.amounts import UNIT, Amounts, Pool, devices, floats, units
from rllib.core.native.instructions import Instruction
from rllib.core.native.workforce import Workforce

Kind = tuple[tuple[str, int], ...]
"""Amounts, as a key."""

_MAX_KINDS = 1_000
_MAX_DEAD = 100

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
        """What it has no room for; see `Sites.close`."""
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

    def load(self) -> float:
        """The share of its scarcest resource that is in use, and a little for every busy process
        of a core: actors that hold nothing count as well."""
        total, free = self.pool.total, self.pool.free
        used = (1 - free.get(name, 0) / most for name, most in total.items() if most)
        cores = max(1.0, total.get("CPU", 0) / UNIT)
        return max(used, default=0.0) + 1e-6 * self.workforce.num_in_use / cores


class Sites:
    """All nodes that are there, the scheduler's own first."""

    def __init__(self, home: Site) -> None:
        self.home = home
        self._sites: dict[bytes, Site] = {}
        self._dead: deque[Site] = deque(maxlen=_MAX_DEAD)
        self._roomy: dict[Kind, dict[Site, None]] = {}
        self.add(home)

    def __iter__(self) -> Iterator[Site]:
        return iter(self._sites.values())

    def __len__(self) -> int:
        return len(self._sites)

    def add(self, site: Site) -> None:
        """A node has joined."""
        self._sites[site.key] = site
        self._roomy.clear()
        site.pool.freed = lambda: self._reopen(site)

    def remove(self, key: bytes, reason: str) -> Site | None:
        """A node is gone."""
        self._roomy.clear()
        site = self._sites.pop(key, None)
        if site is not None:
            site.death = reason
            self._dead.append(site)
        return site

    def rows(self) -> list[wire.NodeRow]:
        """What is known of all, the last that died at the end."""
        return [site.row() for site in (*self, *self._dead)]

    def _reopen(self, site: Site) -> None:
        """It has more room than before: what it had none for may fit again."""
        for kind in site.closed_to & self._roomy.keys():
            self._roomy[kind][site] = None
        site.closed_to.clear()

    def close(self, site: Site, kind: Kind) -> None:
        """It has no room for demands of that kind, until something is given back there."""
        site.closed_to.add(kind)
        if kind in self._roomy:
            self._roomy[kind].pop(site, None)

    def _with_room(self, kind: Kind) -> dict[Site, None]:
        """Those that are not known to have no room for it, in order of joining."""
        if kind not in self._roomy:
            if len(self._roomy) >= _MAX_KINDS:
                self._roomy.clear()
            self._roomy[kind] = {site: None for site in self if kind not in site.closed_to}
        return self._roomy[kind]

    def of(self, process: bytes) -> Site:
        """The node of that process."""
        return self._sites.get(key_of(process), self.home)

    def get(self, key: bytes) -> Site | None:
        """The node of that key."""
        return self._sites.get(key)

    def named(self, node: str) -> Site | None:
        """The node of that id."""
        return next((site for site in self._sites.values() if site.node == node), None)

    def matching(self, needs: wire.Needs) -> list[Site]:
        """Where something may run, by its labels and its affinity; the wanted node first."""
        sites = [s for s in self._sites.values() if s.reachable and matches(s.labels, needs.labels)]
        if not needs.node:
            return sites
        wanted = [site for site in sites if site.node == needs.node]
        return wanted + [site for site in sites if site not in wanted] if needs.soft else wanted

    def in_order(self, needs: wire.Needs, client: bytes, kind: Kind) -> Iterator[Site]:
        """Where something may run, the best place first.

        That is the node with most of its arguments; else its client's own as long as it has room,
        then the others in order of joining, so that few are used in part. With SPREAD it is the
        node that is least in use. ``kind`` is what is asked for: nodes that have no room for that
        are not looked at again and again, of which there may be a thousand.
        """
        if needs.node or needs.labels:
            yield from self.matching(needs)
        elif needs.spread:
            yield from sorted(self.matching(needs), key=Site.load)
        else:
            roomy = self._with_room(kind)
            near, own = self._sites.get(needs.near), self._sites.get(key_of(client))
            first = [site for site in dict.fromkeys((near, own)) if site in roomy]
            yield from (site for site in first if site.reachable)
            yield from _others(roomy, set(first))

    def total(self) -> Amounts:
        """What all have together."""
        return _sum(site.pool.total for site in self)

    def free(self) -> Amounts:
        """What is free on all of them together."""
        return _sum(site.pool.free for site in self)

    def labels(self) -> list[Mapping[str, str]]:
        """Those of all nodes."""
        return [site.labels for site in self]


def _others(roomy: Mapping[Site, None], seen: set[Site | None]) -> Iterator[Site]:
    """Those that were not seen yet, of which the caller removes each that has no room after all.

    None but the first are looked at where that one will do.
    """
    while (site := next((each for each in roomy if each not in seen), None)) is not None:
        seen.add(site)
        if site.reachable:
            yield site


def _sum(amounts: Iterable[Amounts]) -> Amounts:
    found: Amounts = {}
    for each in amounts:
        for name, amount in each.items():
            found[name] = found.get(name, 0) + amount
    return found
