"""Placement groups: bundles of resources that are reserved together or not at all.

Life of a group::

    created --all bundles fit--> placed --removed--> its occupants end --> bundles are given back
       |  ^                        |  |
       |  '---a node of it is gone-'  |
       '--------------------removed---'

A bundle is a share of a node's pool and a pool itself, from which tasks and actors take. Bundles of
a node that is gone are reserved elsewhere; the others stay where they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from rllib.core.facts import GroupFacts
from rllib.core.labels import matches, shown
from rllib.core.native import wire
from rllib.core.native.amounts import Amounts, Pool, Share, floats, kind_of, units
from rllib.core.native.instructions import Instruction, Tell, Warn
from rllib.core.native.sites import Site, Sites

MAX_TOMBSTONES = 1_000


@dataclass(slots=True, eq=False)
class Bundle:
    """A reserved bundle."""

    share: Share
    pool: Pool
    site: Site


@dataclass(slots=True, eq=False)
class Group:
    """A placement group; without bundles while it waits for them."""

    order: wire.CreateGroup
    bundles: list[Bundle] = field(default_factory=list)
    kept: dict[int, Bundle] = field(default_factory=dict)
    """Of one that has lost a node: those that are still reserved, by their numbers."""
    watchers: list[tuple[bytes, int]] = field(default_factory=list)
    fits: bool | None = None
    """Whether the nodes are enough for it; ``None`` where nobody has looked yet."""

    def state(self) -> str:
        """In Ray's words."""
        return "CREATED" if self.bundles else "PENDING"

    def choose(self, index: int) -> list[Bundle]:
        """The bundles that a task may use which asks for that one; -1 for any."""
        return self.bundles if index < 0 else self.bundles[index : index + 1]


class Groups:
    """Feed it events; what watchers are to hear goes to ``out``."""

    def __init__(self, sites: Sites, out: list[Instruction]) -> None:
        self._sites = sites
        self._out = out
        self._groups: dict[bytes, Group] = {}
        self._names: dict[tuple[str, str], bytes] = {}
        self._leaving: list[Bundle] = []
        self._removed: dict[bytes, wire.CreateGroup] = {}
        self._news = True
        """Whether there are groups that nobody has looked at since `Sites.changes` was another."""
        self._changes = 0
        self._starved = False
        self._obstacles: dict[Shape, str] = {}
        """Why groups of that shape can never be placed, or nothing if they can."""

    def get(self, group_id: bytes) -> Group | None:
        """The group, unless it was removed."""
        return self._groups.get(group_id)

    def create(self, client: bytes, order: wire.CreateGroup) -> None:
        """Register a group, unless its name is taken; of that the client hears."""
        key = (order.namespace, order.name)
        if order.name:
            taken = key in self._names
            self._out.append(Tell(client, wire.GroupCreated(order.seq, taken)))
            if taken:
                return
            self._names[key] = order.group
        self._groups[order.group] = Group(order)
        self._news = True

    def watch(self, client: bytes, question: wire.WatchGroup) -> None:
        """Answer as soon as the group is placed, or removed."""
        group = self._groups.get(question.group)
        if group is None or group.bundles:
            answer = wire.GroupSettled(question.seq, removed=group is None)
            self._out.append(Tell(client, answer))
        else:
            group.watchers.append((client, question.seq))

    def remove(self, group_id: bytes) -> list[Pool]:
        """The pools of a group that is no more: whoever holds a share of them must end."""
        group = self._groups.pop(group_id, None)
        if group is None:
            return []
        key = (group.order.namespace, group.order.name)
        if self._names.get(key) == group_id:
            del self._names[key]
        self._removed[group_id] = group.order
        if len(self._removed) > MAX_TOMBSTONES:
            del self._removed[next(iter(self._removed))]
        self._settle(group, removed=True)
        self._news = True
        bundles = group.bundles or list(group.kept.values())
        self._leaving += bundles
        return [bundle.pool for bundle in bundles]

    def lose(self, site: Site) -> None:
        """A node is gone, and with it the bundles there."""
        self._leaving = [bundle for bundle in self._leaving if bundle.site is not site]
        for group in self._groups.values():
            reserved = dict(enumerate(group.bundles)) or group.kept
            left = {k: bundle for k, bundle in reserved.items() if bundle.site is not site}
            if len(left) < len(reserved):
                group.bundles, group.kept = [], left
                self._news = True

    def look_again(self) -> None:
        """There are other nodes than before: what could never be placed may be placed now."""
        self._news = True
        self._obstacles.clear()
        for group in self._groups.values():
            group.fits = None

    def tidy(self) -> None:
        """Give bundles back that were removed and are not in use any more."""
        for bundle in self._leaving:
            if not bundle.pool.shares:
                bundle.share.give_back()
        self._leaving = [bundle for bundle in self._leaving if bundle.pool.shares]

    def place(self) -> bool:
        """Reserve what fits, oldest first; whether a group waits that could fit."""
        if self._news or self._changes != self._sites.changes:
            self._starved = self._place()
            self._news, self._changes = False, self._sites.changes
        return self._starved

    def _place(self) -> bool:
        full: set[Shape] = set()
        for group in list(self._waiting()):
            if not self._can_fit(group) or (shape := _shape(group)) in full:
                continue
            group.bundles = _reserve(self._roomy(group.order), group.order, group.kept)
            if group.bundles:
                self._placed(group)
            else:
                full.add(shape)
        return bool(full)

    def _roomy(self, order: wire.CreateGroup) -> list[Place]:
        """Where there may be room for one of its bundles."""
        kinds = {kind_of(units(bundle)) for bundle in order.bundles}
        sites = (site for site in self._sites if site.reachable)
        return [(site, site.pool) for site in sites if not kinds <= site.closed_to]

    def _placed(self, group: Group) -> None:
        group.kept = {}
        for bundle in group.bundles:
            bundle.pool.freed = self._sites.changed
        self._sites.changed()
        self._settle(group, removed=False)

    def _waiting(self) -> Iterator[Group]:
        return (group for group in self._groups.values() if not group.bundles)

    def _can_fit(self, group: Group) -> bool:
        """Whether it can ever be placed; the user hears of one that cannot, once."""
        if group.fits is None:
            shape = _shape(group)
            if shape not in self._obstacles:
                self._obstacles[shape] = self._obstacle(group.order)
            why = self._obstacles[shape]
            group.fits = not why
            if why:
                what = f"placement group {group.order.name or group.order.group.hex()[:12]}"
                of = f"of {group.order.bundles} cannot be placed"
                self._out.append(Warn(f"{what} {of}: {why}; it waits for ever"))
        return group.fits

    def _obstacle(self, order: wire.CreateGroup) -> str:
        """Why it cannot be placed however much is free; empty where it can."""
        sites = list(self._sites)  # also those of which nothing is heard just now
        if order.strategy == "STRICT_SPREAD" and len(order.bundles) > len(sites):
            there = "there is one node" if len(sites) == 1 else f"there are {len(sites)}"
            return f"STRICT_SPREAD wants a node for each bundle, and {there}"
        if not all(any(_matches(site, order, k) for site in sites) for k in _numbers(order)):
            labels = " and ".join(str(dict(each)) for each in self._sites.labels())
            return f"it wants {shown(order.labels)} of a node's labels, and they are {labels}"
        if not _reserve([(site, site.pool.unused()) for site in sites], order, {}):
            return f"there is only {' and '.join(str(floats(s.pool.total)) for s in sites)} in all"
        return ""

    def _settle(self, group: Group, *, removed: bool) -> None:
        for client, seq in group.watchers:
            self._out.append(Tell(client, wire.GroupSettled(seq, removed)))
        group.watchers.clear()

    def drop_client(self, client: bytes) -> None:
        """A client died: nothing is told to it any more."""
        for group in self._groups.values():
            group.watchers = [entry for entry in group.watchers if entry[0] != client]

    def table(self, seq: int) -> wire.GroupTable:
        """All groups, also those that were removed."""
        living = [wire.GroupState(g.order, g.state(), _nodes(g)) for g in self._groups.values()]
        removed = [wire.GroupState(order, "REMOVED", []) for order in self._removed.values()]
        return wire.GroupTable(seq, living + removed)


def facts(table: wire.GroupTable) -> list[GroupFacts]:
    """What users are told of groups."""
    return [
        GroupFacts(
            row.order.group,
            row.order.name,
            row.order.bundles,
            row.order.strategy,
            row.state,
            tuple(row.nodes),
        )
        for row in table.groups
    ]


def _nodes(group: Group) -> list[str]:
    return [bundle.site.node for bundle in group.bundles]


Shape = tuple[object, ...]
"""Of groups that ask for the same, all fit or none."""


def _shape(group: Group) -> Shape:
    order = group.order
    bundles = tuple(tuple(sorted(bundle.items())) for bundle in order.bundles)
    kept = tuple((number, bundle.site.key) for number, bundle in group.kept.items())
    return bundles, order.strategy, order.labels, kept


def _numbers(order: wire.CreateGroup) -> range:
    return range(len(order.bundles))


def _matches(site: Site, order: wire.CreateGroup, number: int) -> bool:
    """Whether a bundle may be on that node."""
    return not order.labels or matches(site.labels, (order.labels[number],))


Place = tuple[Site, Pool]


def _reserve(
    places: Sequence[Place], order: wire.CreateGroup, kept: Mapping[int, Bundle]
) -> list[Bundle]:
    """All bundles, or none; those that are ``kept`` stay."""
    if order.strategy in ("PACK", "STRICT_PACK"):
        for place in places:
            others = {bundle.site for bundle in kept.values()} - {place[0]}
            found = [] if others else _fill([place], order, kept, _as_they_come)
            if found:
                return found
    if order.strategy == "STRICT_PACK":
        return []
    return _fill(places, order, kept, _CHOICES[order.strategy])


def _fill(
    places: Sequence[Place], order: wire.CreateGroup, kept: Mapping[int, Bundle], choose: Choose
) -> list[Bundle]:
    found = dict(kept)
    mine: set[Site] = set()
    for number in _numbers(order):
        if number not in found:
            allowed = _allowed(places, order, number)
            bundle = _take(choose(allowed, found), units(order.bundles[number]), mine)
            if bundle is None:
                for each in found.keys() - kept.keys():
                    found[each].share.undo()
                return []
            found[number] = bundle
            mine.add(bundle.site)
    return [found[number] for number in _numbers(order)]


def _allowed(places: Sequence[Place], order: wire.CreateGroup, number: int) -> Sequence[Place]:
    if not order.labels:
        return places
    return [place for place in places if _matches(place[0], order, number)]


def _take(places: Sequence[Place], needs: Amounts, mine: Set[Site]) -> Bundle | None:
    """``mine`` have other bundles of this attempt, with which they may have room after all."""
    kind = kind_of(needs)
    for site, pool in places:
        known = pool is site.pool and site not in mine
        share = site.take(needs, kind) if known else pool.take(needs)
        if share is not None:
            return Bundle(share, share.as_pool(), site)
    return None


Choose = Callable[[Sequence[Place], Mapping[int, Bundle]], Sequence[Place]]
"""In which order to try places, by which bundles are where already."""


def _as_they_come(places: Sequence[Place], _found: Mapping[int, Bundle]) -> Sequence[Place]:
    return places


def _evenly(places: Sequence[Place], found: Mapping[int, Bundle]) -> Sequence[Place]:
    here = Counter(bundle.site for bundle in found.values())
    return sorted(places, key=lambda place: here[place[0]])


def _one_each(places: Sequence[Place], found: Mapping[int, Bundle]) -> Sequence[Place]:
    taken = {bundle.site for bundle in found.values()}
    return [place for place in places if place[0] not in taken]


_CHOICES: dict[str, Choose] = {
    "PACK": _as_they_come,
    "SPREAD": _evenly,
    "STRICT_SPREAD": _one_each,
}
