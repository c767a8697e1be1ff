"""Conveniences on top of the public API, under Ray's names."""

from rllib.core.util.actor_pool import ActorPool
from rllib.core.util.helpers import as_completed, map_unordered

__all__ = ["ActorPool", "as_completed", "map_unordered"]
