"""The caller's side of placing: what a task or actor inherits, and what its options ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rllib.core import labels
from rllib.core.native import wire
from rllib.core.native.packages import Environments
from rllib.core.records import ActorOptions, TaskOptions


class Place(NamedTuple):
    """Where something may run, and in which environment; see `wire.Needs` for the fields."""

    group: bytes = b""
    bundle: int = -1
    captures: bool = False
    node: str = ""
    soft: bool = False
    environment: str = ""
    labels: labels.Alternatives = ()
    spread: bool = False
    near: bytes = b""


ANYWHERE = Place()


class Placing:
    """One process's way from options to places; for the arguments see `Environments`."""

    def __init__(self, directory: Path, keeper: Callable[[], bytes]) -> None:
        self._environments = Environments(directory, keeper)
        self.inherited = ANYWHERE
        """Where things go whose options say nothing of it."""

    def adopt(self, given: wire.Assignment) -> None:
        """What this process starts from now on inherits from what was assigned to it."""
        group = given.group if given.captures else b""
        captures = bool(group)
        self.inherited = Place(group, captures=captures, environment=given.environment)

    def enter(self, runtime_env: Mapping[str, Any]) -> None:
        """Have everything that this process starts run in that environment."""
        text = self._environments.resolve(self.inherited.environment, runtime_env)
        self.inherited = self.inherited._replace(environment=text)

    def find(self, options: TaskOptions | ActorOptions) -> Place:
        """The place of something with these options."""
        if options.strategy is None and not (options.runtime_env or options.label_selector):
            return self.inherited  # whatever else it might fall back on
        text = self._environments.resolve(self.inherited.environment, options.runtime_env)
        place = self.inherited if options.strategy is None else by_strategy(options.strategy)
        return with_labels(place, options)._replace(environment=text)


def with_labels(place: Place, options: TaskOptions | ActorOptions) -> Place:
    """A place that has also the labels which these options want."""
    wanted = labels.alternatives(options.label_selector, options.fallback_strategy)
    return place._replace(labels=labels.both(place.labels, wanted))


def by_strategy(strategy: Any) -> Place:
    """What a ``scheduling_strategy`` asks for."""
    # Whoever has such an object has imported the module; others need not.
    from rllib.core.util.scheduling_strategies import (
        NodeAffinitySchedulingStrategy,
        NodeLabelSchedulingStrategy,
        PlacementGroupSchedulingStrategy,
    )

    if isinstance(strategy, NodeAffinitySchedulingStrategy):
        return Place(node=strategy.node_id, soft=strategy.soft)
    if isinstance(strategy, NodeLabelSchedulingStrategy):
        return Place(labels=(strategy.demands(),))
    if isinstance(strategy, PlacementGroupSchedulingStrategy):
        group = strategy.placement_group
        if group is not None:
            captures = bool(strategy.placement_group_capture_child_tasks)
            return Place(group.id.binary(), strategy.placement_group_bundle_index, captures)
    return ANYWHERE._replace(spread=strategy == "SPREAD")
