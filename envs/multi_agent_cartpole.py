"""Several agents with a CartPole each; gone when their pole has fallen."""

from collections.abc import Mapping
from typing import Any

from rllib.envs.multi_agent import Replicated


class MultiAgentCartPole(Replicated):
    """Copies of CartPole, one for each agent.

    Args:
        config: ``"num_agents"`` (4); the rest goes to ``gymnasium.make``.
    """

    source = "CartPole-v1"

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__({"num_agents": 4} | dict(config or {}))
