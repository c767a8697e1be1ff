"""Placement groups and places of tasks and actors, ours as Ray's."""

from __future__ import annotations

from typing import Any

import ray
from ray.util import scheduling_strategies as rays
from ray.util.placement_group import PlacementGroup

from rllib.core.facts import GroupFacts
from rllib.core.on_ray.refs import RayRef
from rllib.core.util import scheduling_strategies as ours


def create(
    bundles: list[dict[str, float]], strategy: str, name: str, selectors: list[dict[str, str]]
) -> bytes:
    """Have Ray reserve the bundles; the id of the group."""
    labels = {"bundle_label_selector": selectors} if selectors else {}
    group = ray.util.placement_group(bundles, strategy, name, **labels)
    return bytes(group.id.binary())


def ready(group: bytes, value: Any) -> RayRef:
    """Becomes ``value`` after Ray's own sign that the group is there."""
    pass_on = ray.remote(num_cpus=0)(_pass_on)
    return RayRef(pass_on.remote(_handle(group).ready(), value))


def _pass_on(_group: Any, value: Any) -> Any:
    return value


def remove(group: bytes) -> None:
    """Have Ray give the bundles back."""
    ray.util.remove_placement_group(_handle(group))


def facts() -> list[GroupFacts]:
    """All groups that Ray knows of."""
    return [_facts(row) for row in ray.util.placement_group_table().values()]


def _facts(row: dict[str, Any]) -> GroupFacts:
    return GroupFacts(
        id=bytes.fromhex(row["placement_group_id"]),
        name=row["name"],
        bundles=[bundle for _, bundle in sorted(row["bundles"].items())],
        strategy=row["strategy"],
        state=row["state"],
        nodes=tuple(node for _, node in sorted(row["bundles_to_node_id"].items())),
    )


def place(strategy: Any) -> Any:
    """A scheduling strategy as Ray's; names are the same."""
    if isinstance(strategy, ours.NodeAffinitySchedulingStrategy):
        return rays.NodeAffinitySchedulingStrategy(strategy.node_id, strategy.soft)
    if isinstance(strategy, ours.NodeLabelSchedulingStrategy):
        return rays.NodeLabelSchedulingStrategy(_rays(strategy.hard), soft=_rays(strategy.soft))
    if isinstance(strategy, ours.PlacementGroupSchedulingStrategy):
        group = strategy.placement_group
        return rays.PlacementGroupSchedulingStrategy(
            group and _handle(group.id),
            strategy.placement_group_bundle_index,
            strategy.placement_group_capture_child_tasks,
        )
    return strategy


def _rays(expressions: ours.Expressions | None) -> dict[str, Any]:
    """Conditions on labels as Ray's; names are the same."""
    return {
        key: getattr(rays, type(wanted).__name__)(*getattr(wanted, "values", ()))
        for key, wanted in (expressions or {}).items()
    }


def _handle(group: bytes) -> PlacementGroup:
    return PlacementGroup(ray.PlacementGroupID(bytes(group)))
