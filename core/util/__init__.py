"""Conveniences on top of the public API, under Ray's names."""

from rllib.core.util import state
from rllib.core.util.actor_pool import ActorPool
from rllib.core.util.helpers import as_completed, map_unordered
from rllib.core.util.named_actors import list_named_actors
from rllib.core.util.placement_group import (
    PlacementGroup,
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from rllib.core.util.serialization import (
    deregister_serializer,
    inspect_serializability,
    register_serializer,
)

__all__ = [
    "ActorPool",
    "PlacementGroup",
    "as_completed",
    "deregister_serializer",
    "get_current_placement_group",
    "get_placement_group",
    "inspect_serializability",
    "list_named_actors",
    "map_unordered",
    "placement_group",
    "placement_group_table",
    "register_serializer",
    "remove_placement_group",
    "state",
]
