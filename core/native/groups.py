"""Placement groups: bundles of resources that are reserved together or not at all.

Life of a group::

    created --all bundles fit--> placed --removed--> its occupants end --> bundles are given back
       '-----------------------removed--------------'

A bundle is a share of the node's pool and a pool itself, from which tasks and actors take.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rllib.core.facts import GroupFacts
from rllib.core.labels import matches, shown
from rllib.core.native import wire
from rllib.core.native.amounts import Pool, Share, floats, units
from rllib.core.native.instructions import Instruction, Tell, Warn

MAX_TOMBSTONES = 1_000


@dataclass(slots=True, eq=False)
class Bundle:
    """A reserved bundle."""

    share: Share
    pool: Pool


@dataclass(slots=True, eq=False)
class Group:
    """A placement group; without bundles while it waits for them."""

    order: wire.CreateGroup
    bundles: list[Bundle] = field(default_factory=list)
    watchers: list[tuple[bytes, int]] = field(default_factory=list)
    warned: bool = False

    def state(self) -> str:
        """In Ray's words."""
        return "CREATED" if self.bundles else "PENDING"

    def choose(self, index: int) -> list[Bundle]:
        """The bundles that a task may use which asks for that one; -1 for any."""
        return self.bundles if index < 0 else self.bundles[index : index + 1]


class Groups:
    """Feed it events; what watchers are to hear goes to ``out``."""

    def __init__(
        self, node: str, labels: Mapping[str, str], pool: Pool, out: list[Instruction]
    ) -> None:
        self._node = node
        self._labels = labels
        self._pool = pool
        self._out = out
        self._groups: dict[bytes, Group] = {}
        self._names: dict[tuple[str, str], bytes] = {}
        self._leaving: list[Bundle] = []
        self._removed: dict[bytes, wire.CreateGroup] = {}

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
        self._leaving += group.bundles
        return [bundle.pool for bundle in group.bundles]

    def tidy(self) -> None:
        """Give bundles back that were removed and are not in use any more."""
        for bundle in self._leaving:
            if not bundle.pool.shares:
                bundle.share.give_back()
        self._leaving = [bundle for bundle in self._leaving if bundle.pool.shares]

    def place(self) -> bool:
        """Reserve what fits, oldest first; whether a group waits that could fit."""
        starved = False
        for group in list(self._waiting()):
            if self._is_infeasible(group):
                continue
            group.bundles = _reserve(self._pool, group.order)
            if group.bundles:
                self._settle(group, removed=False)
            starved |= not group.bundles
        return starved

    def _waiting(self) -> Iterator[Group]:
        return (group for group in self._groups.values() if not group.bundles)

    def _is_infeasible(self, group: Group) -> bool:
        """Whether it can never be placed; the user hears of that once."""
        if group.warned:
            return True
        order = group.order
        if order.strategy == "STRICT_SPREAD" and len(order.bundles) > 1:
            why = "STRICT_SPREAD wants a node for each bundle, and there is one node"
        elif not all(matches(self._labels, (each,)) for each in order.labels):
            why = f"it wants {shown(order.labels)} of a node's labels, and they are {self._labels}"
        elif not _reserve(self._pool.unused(), order):
            why = f"there is only {floats(self._pool.total)} in all"
        else:
            return False
        group.warned = True
        what = f"placement group {order.name or order.group.hex()[:12]} of {order.bundles}"
        self._out.append(Warn(f"{what} cannot be placed: {why}; it waits for ever"))
        return True

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
        living = [wire.GroupState(g.order, g.state(), self._node) for g in self._groups.values()]
        removed = [wire.GroupState(o, "REMOVED", self._node) for o in self._removed.values()]
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
            row.node,
        )
        for row in table.groups
    ]


def _reserve(pool: Pool, order: wire.CreateGroup) -> list[Bundle]:
    """All bundles, or none."""
    shares: list[Share] = []
    for bundle in order.bundles:
        share = pool.take(units(bundle))
        if share is None:
            for taken in shares:
                taken.give_back()
            return []
        shares.append(share)
    return [Bundle(share, share.as_pool()) for share in shares]
