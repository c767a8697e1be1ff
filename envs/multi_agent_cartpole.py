"""Several agents with a CartPole each; gone when their pole has fallen."""

from typing import Any

import gymnasium as gym

from rllib.envs.multi_agent import Replicated


class MultiAgentCartPole(Replicated):
    """Copies of CartPole, one for each agent.

    Args:
        config: ``"num_agents"`` (4); the rest goes to ``gymnasium.make``.
    """

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        rest = dict(config or {})
        num_agents = int(rest.pop("num_agents", 4))
        super().__init__(lambda: gym.make("CartPole-v1", **rest), num_agents)
