"""Placement groups: bundles of resources that are reserved together or not at all.

::

    group = placement_group([{"CPU": 1}, {"CPU": 1, "GPU": 1}])
    core.get(group.ready())
    strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=1)
    train.options(num_gpus=1, scheduling_strategy=strategy).remote()
    remove_placement_group(group)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rllib.core import api
from rllib.core.exceptions import GetTimeoutError
from rllib.core.facts import GroupFacts
from rllib.core.labels import check_selector
from rllib.core.object_ref import ObjectRef
from rllib.core.options import amount

STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")


class PlacementGroupID(bytes):
    """The id of a placement group: bytes, with Ray's names for what one does with them."""

    def binary(self) -> bytes:
        """The plain bytes."""
        return bytes(self)

    def is_nil(self) -> bool:
        """Whether it is the id of no group."""
        return not self

    def __repr__(self) -> str:
        return f"PlacementGroupID({self.hex()})"


class PlacementGroup:
    """A handle of a placement group; picklable. The group lives until it is removed."""

    def __init__(self, id: PlacementGroupID, bundles: list[dict[str, float]]) -> None:
        self.id = id
        self._bundles = bundles

    @staticmethod
    def empty() -> PlacementGroup:
        """The handle of no group."""
        return PlacementGroup(PlacementGroupID(), [])

    @property
    def is_empty(self) -> bool:
        """Whether it is no group."""
        return self.id.is_nil()

    @property
    def bundle_specs(self) -> list[dict[str, float]]:
        """The bundles."""
        return [dict(bundle) for bundle in self._bundles]

    @property
    def bundle_count(self) -> int:
        """How many there are."""
        return len(self._bundles)

    def ready(self) -> ObjectRef[PlacementGroup]:
        """A reference that becomes this group once all bundles are reserved.

        ``get`` of it raises `TaskPlacementGroupRemoved` for a group that was removed.
        """
        return api.runtime().group_ready(self.id.binary(), self)

    def wait(self, timeout_seconds: float = 30) -> bool:
        """Block until all bundles are reserved; ``False`` where that takes longer.

        Raises `TaskPlacementGroupRemoved` for a group that was removed.
        """
        try:
            api.get(self.ready(), timeout=timeout_seconds)
        except GetTimeoutError:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroup) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"PlacementGroup({self.id.hex()}, {self._bundles})"


def placement_group(
    bundles: list[dict[str, float]],
    strategy: str | None = None,
    name: str = "",
    lifetime: str | None = None,
    *,
    bundle_label_selector: list[dict[str, str]] | None = None,
) -> PlacementGroup:
    """Reserve bundles of resources together, as soon as that is possible; returns at once.

    ``PACK``, unless something is said, puts them on one node if that has room, ``STRICT_PACK``
    never elsewhere; ``SPREAD`` on as many nodes as there are, ``STRICT_SPREAD`` one on each. A
    group lives until it is removed or the runtime ends, with whatever ``lifetime``.
    ``bundle_label_selector`` says for each bundle what labels its machine must have.

    Raises `ValueError` for bundles and selectors that cannot be, `CoreSystemError` for a name that
    is taken.
    """
    strategy = "PACK" if strategy is None else strategy
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}, got {strategy!r}")
    if lifetime not in (None, "detached"):
        raise ValueError(f"lifetime must be None or 'detached', got {lifetime!r}")
    if not isinstance(name, str):
        raise TypeError(f"the name of a placement group must be a str, got {name!r}")
    checked = _checked(bundles)
    selectors = _checked_selectors(bundle_label_selector, len(checked))
    group = api.runtime().create_group(checked, strategy, name, selectors)
    return PlacementGroup(PlacementGroupID(group), checked)


def _checked(bundles: Any) -> list[dict[str, float]]:
    if not isinstance(bundles, list) or not bundles:
        raise ValueError(f"bundles must be a list of one or more dictionaries, got {bundles!r}")
    return [_checked_bundle(bundle) for bundle in bundles]


def _checked_bundle(bundle: Any) -> dict[str, float]:
    if not isinstance(bundle, Mapping):
        raise ValueError(f"a bundle must be a dictionary of resources, got {bundle!r}")
    try:
        amounts = {str(name): amount(name, value) for name, value in bundle.items()}
    except TypeError as error:
        raise ValueError(f"bundle {bundle!r}: {error}") from None
    held = {name: value for name, value in amounts.items() if value}
    if not held:
        raise ValueError(f"a bundle must reserve something, got {bundle!r}")
    return held


def _checked_selectors(given: Any, count: int) -> list[dict[str, str]]:
    if given is None:
        return []
    if not isinstance(given, list) or len(given) != count:
        raise ValueError(
            f"bundle_label_selector must list one selector for each of {count} bundles: {given!r}"
        )
    try:
        return [check_selector(selector) for selector in given]
    except TypeError as error:
        raise ValueError(f"bundle_label_selector {given!r}: {error}") from None


def remove_placement_group(placement_group: PlacementGroup) -> None:
    """Give its bundles back. Tasks and actors in them end; a second time changes nothing."""
    if not isinstance(placement_group, PlacementGroup):
        raise TypeError(f"remove_placement_group takes a PlacementGroup, got {placement_group!r}")
    api.runtime().remove_group(placement_group.id.binary())


def get_placement_group(placement_group_name: str) -> PlacementGroup:
    """The group of that name. Raises `ValueError` when there is none."""
    if not placement_group_name:
        raise ValueError("get_placement_group needs the name of a placement group")
    for group in api.runtime().groups():
        if group.name == placement_group_name and group.state != "REMOVED":
            return _handle(group)
    raise ValueError(f"there is no placement group named {placement_group_name!r}")


def get_current_placement_group() -> PlacementGroup | None:
    """The group that the calling task or actor runs in; ``None`` outside of one."""
    current = api.runtime().where().placement_group_id
    groups = (group for group in api.runtime().groups() if group.id.hex() == current)
    return next((_handle(group) for group in groups), None)


def _handle(group: GroupFacts) -> PlacementGroup:
    return PlacementGroup(PlacementGroupID(group.id), group.bundles)


def placement_group_table(placement_group: PlacementGroup | None = None) -> dict[str, Any]:
    """What is known of a group, or of all of them by id, under Ray's keys."""
    table = {group.id.hex(): _row(group) for group in api.runtime().groups()}
    return table if placement_group is None else table.get(placement_group.id.hex(), {})


def _row(group: GroupFacts) -> dict[str, Any]:
    nodes = dict.fromkeys(range(len(group.bundles)), "")
    if group.state != "PENDING":
        nodes.update(enumerate(group.nodes))
    return {
        "placement_group_id": group.id.hex(),
        "name": group.name,
        "bundles": dict(enumerate(group.bundles)),
        "bundles_to_node_id": nodes,
        "strategy": group.strategy,
        "state": group.state,
    }
