"""Placement groups of the inline engine.

The bundles are reserved by the same rules as on the native engine. What runs in a group runs at
once, as everything does there, so a group that is not placed when it is made will be so only after
another one is removed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from rllib.core import logs
from rllib.core.exceptions import (
    CoreSystemError,
    GetTimeoutError,
    TaskPlacementGroupRemoved,
    TaskUnschedulableError,
)
from rllib.core.facts import GroupFacts
from rllib.core.labels import Alternatives, both, matches, parse, shown
from rllib.core.native import wire
from rllib.core.native.amounts import floats
from rllib.core.native.groups import Groups, facts
from rllib.core.native.instructions import Instruction, Tell, Warn
from rllib.core.native.placing import by_strategy
from rllib.core.native.sites import Site, Sites


class InlineGroups:
    """The groups of one runtime."""

    def __init__(self, node: str, labels: Mapping[str, str], amounts: Mapping[str, float]) -> None:
        self._node = node
        self._out: list[Instruction] = []
        self._site = Site(node, b"", amounts, bytes, self._out, labels=labels)
        self._groups = Groups(Sites(self._site), self._out)

    def free(self) -> dict[str, float]:
        """What is not reserved."""
        return floats(self._site.pool.free)

    def create(
        self,
        bundles: list[dict[str, float]],
        strategy: str,
        name: str,
        namespace: str,
        selectors: list[dict[str, str]],
    ) -> bytes:
        """Reserve them now, if they fit. Raises `CoreSystemError` for a name that is taken."""
        labels = tuple(parse(selector) for selector in selectors)
        order = wire.CreateGroup(0, os.urandom(16), bundles, strategy, name, namespace, labels)
        self._groups.create(b"", order)
        for answer in self._settle():
            if isinstance(answer, wire.GroupCreated) and answer.name_taken:
                raise CoreSystemError(f"the placement group name {name!r} is taken")
        return order.group

    def remove(self, group: bytes) -> None:
        """Give the bundles back."""
        self._groups.remove(group)
        self._settle()

    def table(self) -> list[GroupFacts]:
        """All of them."""
        return facts(self._groups.table(0))

    def trouble(self, group: bytes) -> Exception | None:
        """Why waiting for it would be in vain; ``None`` for a group that is there."""
        known = self._groups.get(group)
        if known is None:
            return TaskPlacementGroupRemoved("the placement group was removed")
        if known.bundles:
            return None
        return GetTimeoutError(
            "the placement group is not there, and in the inline engine nothing changes while "
            "one waits: remove another group, or ask for less"
        )

    def refusal(self, strategy: Any, labels: Alternatives) -> Exception | None:
        """Why something with that strategy, and these labels, cannot run; ``None`` where it can."""
        place = by_strategy(strategy)
        if place.node and place.node != self._node and not place.soft:
            return TaskUnschedulableError(f"node {place.node} is not there")
        wanted = both(place.labels, labels)
        if not matches(self._site.labels, wanted):
            return TaskUnschedulableError(
                f"no node has the labels {shown(wanted)}, and in the inline engine nothing changes "
                f"while one waits; the labels are {dict(self._site.labels)}"
            )
        return self.trouble(place.group) if place.group else None

    def _settle(self) -> list[Any]:
        """Let what is free go to who waits; the answers."""
        self._groups.tidy()
        self._groups.place()
        instructions = list(self._out)
        self._out.clear()
        for instruction in instructions:
            if isinstance(instruction, Warn):
                logs.warn(instruction.text)
        return [each.message for each in instructions if isinstance(each, Tell)]
