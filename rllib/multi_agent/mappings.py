"""Ready-made ``policy_mapping_fn``: which policy acts for an agent."""

from typing import Any


def even_or_odd(agent_id: Any, episode: Any = None, **kwargs: Any) -> str:
    """``"even"`` or ``"odd"``, by an agent's number."""
    return ("even", "odd")[int(agent_id) % 2]


def by_agent(agent_id: Any, episode: Any = None, **kwargs: Any) -> str:
    """A policy for each agent, of the same name."""
    return str(agent_id)
