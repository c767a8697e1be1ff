"""What is done to rewards; returns that are reported stay the environment's own."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib.connectors.base import Connector, Memory
from rllib.envs.vector import EnvStep


class ClipRewards(Connector):
    """Rewards within limits, or their sign alone, as DQN did for Atari (Mnih et al. 2015).

    Args:
        limit: rewards are clipped to plus and minus this; ``None`` leaves the sign of each.
    """

    def __init__(self, limit: float | None = None) -> None:
        self.limit = limit

    def on_step(self, step: EnvStep, actions: NDArray[Any]) -> EnvStep:
        """Clip the rewards of one vector step."""
        if self.limit is None:
            return with_rewards(step, np.sign(step.reward))
        limit = np.float32(self.limit)
        return with_rewards(step, np.clip(step.reward, -limit, limit))

    def get_memory(self) -> Memory:
        """Nothing: each reward is taken by itself."""
        return {}


def with_rewards(step: EnvStep, rewards: NDArray[np.float32]) -> EnvStep:
    """The same step with other rewards, and the environment's own kept beside."""
    raw = step.reward if step.raw_reward is None else step.raw_reward
    return replace(step, reward=rewards, raw_reward=raw)
