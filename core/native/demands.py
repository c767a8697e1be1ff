"""A demand: a lease or an actor that waits for resources and a process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rllib.core.labels import shown
from rllib.core.native import wire
from rllib.core.native.actors import Actor
from rllib.core.native.amounts import Amounts, Share, units
from rllib.core.native.sites import Kind


@dataclass(slots=True, eq=False)
class Demand:
    """A lease or an actor that waits for its turn."""

    client: bytes
    needs: wire.Needs
    lease: int = 0
    actor: Actor | None = None
    fits: bool | None = None
    """Whether there is enough in all; ``None`` where nobody has looked yet."""
    amounts: Amounts = field(init=False)
    amounts_key: Kind = field(init=False)

    def __post_init__(self) -> None:
        self.amounts = units(self.needs.resources)
        self.amounts_key = tuple(sorted(self.amounts.items()))

    @property
    def name(self) -> str:
        """What to call it in a message to the user."""
        return "a task" if self.actor is None else f"actor {self.actor.order.class_name}"

    @property
    def kind(self) -> tuple[Any, ...]:
        """Demands of one client with the same kind can use each other's leases: by the same rule as
        there, all that they need has to be the same."""
        needs = self.needs
        place = (needs.group, needs.bundle, needs.captures, needs.node, needs.soft)
        setting = (needs.environment, needs.labels, needs.spread, needs.near)
        return self.actor is None, tuple(sorted(needs.resources.items())), place, setting

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
