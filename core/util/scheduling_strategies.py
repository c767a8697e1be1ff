"""Where tasks and actors may run: values of the option ``scheduling_strategy``.

Besides these objects there are ``"DEFAULT"`` and ``"SPREAD"``, which mean the same on one machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rllib.core.labels import Condition, Selector
from rllib.core.util.placement_group import PlacementGroup

NAMES = ("DEFAULT", "SPREAD")


@dataclass(frozen=True, slots=True)
class PlacementGroupSchedulingStrategy:
    """In a placement group; ``placement_group=None`` for outside of all of them."""

    placement_group: PlacementGroup | None
    placement_group_bundle_index: int = -1
    """Which bundle; -1 for any that has room."""
    placement_group_capture_child_tasks: bool | None = None
    """Whether tasks and actors that it starts itself run in the group, too."""


@dataclass(frozen=True, slots=True)
class NodeAffinitySchedulingStrategy:
    """On the node of that id, in hexadecimal; ``soft``: on another one if that is not there.

    Raises `ValueError` for what cannot be an id.
    """

    node_id: str
    soft: bool

    def __post_init__(self) -> None:
        try:
            bytes.fromhex(self.node_id)
        except (TypeError, ValueError):
            raise ValueError(
                f"node_id must be hexadecimal, as nodes() tells it; got {self.node_id!r}"
            ) from None


class _Values:
    def __init__(self, *values: str) -> None:
        if not values or not all(isinstance(value, str) for value in values):
            raise ValueError(f"{type(self).__name__} takes one or more texts, got {values!r}")
        self.values = list(values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.values))})"


class In(_Values):
    """The label is one of these. Raises `ValueError` for none, and for what is no text."""


class NotIn(_Values):
    """The label is none of these, or is missing. Raises as `In` does."""


class Exists:
    """The label is there."""


class DoesNotExist:
    """The label is missing."""


Expressions = Mapping[str, In | NotIn | Exists | DoesNotExist]


@dataclass(frozen=True, slots=True)
class NodeLabelSchedulingStrategy:
    """On a machine whose labels are as ``hard`` wants them, and if there is a choice, ``soft``.

    Raises `ValueError` where both are empty, and for what is no mapping from keys to `In`, `NotIn`,
    `Exists` or `DoesNotExist`.
    """

    hard: Expressions | None
    soft: Expressions | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_expressions("hard", self.hard)
        _check_expressions("soft", self.soft)
        if not (self.hard or self.soft):
            raise ValueError("hard and soft cannot both be empty; leave the strategy out instead")

    def demands(self) -> Selector:
        """What ``hard`` wants."""
        return tuple(
            Condition(
                key,
                tuple(getattr(wanted, "values", ())),
                isinstance(wanted, (NotIn, DoesNotExist)),
            )
            for key, wanted in (self.hard or {}).items()
        )


def _check_expressions(name: str, given: Any) -> None:
    if given is None:
        return
    if not isinstance(given, Mapping):
        raise ValueError(f"{name} must map keys of labels to In, NotIn, ..., got {given!r}")
    for key, wanted in given.items():
        if not isinstance(key, str):
            raise ValueError(f"the key of a label must be a str, got {key!r} in {name}")
        if not isinstance(wanted, (In, NotIn, Exists, DoesNotExist)):
            raise ValueError(
                f"{name} must say In(...), NotIn(...), Exists() or DoesNotExist() of {key!r}, "
                f"got {wanted!r}"
            )


def check_strategy(given: Any, needs: Mapping[str, float]) -> Any:
    """A strategy for something that needs that much; ``None`` if none was given.

    Raises `TypeError` or `ValueError` for what is none, or can never be met.
    """
    if given is None or given in NAMES:
        return given
    if isinstance(given, PlacementGroupSchedulingStrategy):
        _check_bundle(given, needs)
        return given
    if isinstance(given, (NodeAffinitySchedulingStrategy, NodeLabelSchedulingStrategy)):
        return given
    text = f"scheduling_strategy must be one of {NAMES} or an object of this module, got {given!r}"
    raise (ValueError if isinstance(given, str) else TypeError)(text)


def _check_bundle(strategy: PlacementGroupSchedulingStrategy, needs: Mapping[str, float]) -> None:
    group = strategy.placement_group
    if group is None:
        return
    if not isinstance(group, PlacementGroup):
        raise TypeError(f"placement_group must be a PlacementGroup, got {group!r}")
    index, bundles = strategy.placement_group_bundle_index, group.bundle_specs
    if not -1 <= index < len(bundles):
        raise ValueError(
            f"placement_group_bundle_index {index} is not one of 0..{len(bundles) - 1} or -1"
        )
    chosen = bundles if index < 0 else [bundles[index]]
    if not any(all(b.get(k, 0) >= v for k, v in needs.items()) for b in chosen):
        raise ValueError(f"a request for {dict(needs)} does not fit into a bundle of {chosen}")
