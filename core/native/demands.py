"""A demand: a lease or an actor that waits for resources and a process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rllib.core.labels import Alternatives, shown
from rllib.core.native import wire
from rllib.core.native.actors import Actor
from rllib.core.native.amounts import Amounts, Kind, Share, kind_of, units
from rllib.core.native.sites import Site

Key = tuple[bytes, int] | bytes
"""Of a demand: its client and the lease's number, or the actor's id."""


class Wish(NamedTuple):
    """What decides where there is room for a demand. The rest only says where it would like to be
    best, so of demands with the same wish all have room somewhere, or none."""

    amounts: Kind
    group: bytes
    bundle: int
    node: str
    """The only one that will do, if there is such a node."""
    labels: Alternatives


LeaseKind = tuple[bool, Wish, tuple[Any, ...]]
"""Demands of one client with the same kind can use each other's leases: by the same rule as there,
all that they need has to be the same."""


class Reserved(NamedTuple):
    """What a demand has that waits for a process only."""

    site: Site
    share: Share


@dataclass(slots=True, eq=False)
class Demand:
    """A lease or an actor that waits for its turn."""

    client: bytes
    needs: wire.Needs
    lease: int = 0
    actor: Actor | None = None
    number: int = 0
    """The later it came, the higher."""
    reserved: Reserved | None = None
    amounts: Amounts = field(init=False)
    wish: Wish = field(init=False)
    kind: LeaseKind = field(init=False)

    def __post_init__(self) -> None:
        needs = self.needs
        self.amounts = units(needs.resources)
        amounts = kind_of(self.amounts)
        only = "" if needs.soft else needs.node
        self.wish = Wish(amounts, needs.group, needs.bundle, only, needs.labels)
        setting = (needs.captures, needs.node, needs.environment, needs.spread, needs.near)
        self.kind = self.actor is None, self.wish, setting

    @property
    def key(self) -> Key:
        """By which it is found."""
        return (self.client, self.lease) if self.actor is None else self.actor.order.actor

    @property
    def name(self) -> str:
        """What to call it in a message to the user."""
        return "a task" if self.actor is None else f"actor {self.actor.order.class_name}"

    def complaint_of_labels(self, there: Sequence[Mapping[str, str]]) -> str:
        """That it waits for a machine which is not there."""
        only = "one with" if len(there) == 1 else "those with"
        return (
            f"{self.name} needs a node whose labels are {shown(self.needs.labels)}, but there is "
            f"only {only} {', '.join(str(dict(each)) for each in there)}; it waits for ever: give "
            "init() labels, or add a fallback_strategy"
        )

    def complaint(self, there: Any) -> str:
        """That it waits for more than there is."""
        where = "in all" if not self.needs.group else "in the bundles of its placement group"
        return (
            f"{self.name} needs {self.needs.resources}, but there is only {there} {where}; it "
            "waits for ever unless that changes: ask for less, or give init() more"
        )

    def assignment(self, share: Share) -> wire.Assignment:
        """What its process is to know of what it was given."""
        needs, actor = self.needs, self.actor
        given = wire.Assignment(
            resources=needs.resources if actor is None else actor.order.resources,
            gpus=list(share.devices),
            group=needs.group,
            captures=needs.captures,
            environment=needs.environment,
        )
        if actor is not None:
            order = actor.order
            given.actor, given.restarts = order.actor, actor.restarts
            given.name, given.namespace = order.name, order.namespace
        return given
