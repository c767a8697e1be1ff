"""CartPole without velocities: who does not remember cannot balance the pole.

Importing this module registers ``StatelessCartPole-v0``.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv, CartPoleVectorEnv
from numpy.typing import NDArray

Floats = NDArray[np.float32]

POSITIONS = [0, 2]
"""Of CartPole's observation: the cart's position and the pole's angle."""


def _without_velocities(space: gym.Space[Any]) -> gym.spaces.Box:
    assert isinstance(space, gym.spaces.Box)
    return gym.spaces.Box(space.low[..., POSITIONS], space.high[..., POSITIONS], dtype=np.float32)


class StatelessCartPole(CartPoleEnv):
    """Observes position and angle alone; see ``gymnasium``'s CartPole for the rest."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.observation_space = _without_velocities(self.observation_space)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """Begin an episode."""
        obs, info = super().reset(seed=seed, options=options)
        return obs[POSITIONS], info

    def step(self, action: Any) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Push the cart to the left (0) or to the right (1)."""
        obs, reward, terminated, truncated, info = super().step(action)  # type: ignore[no-untyped-call]
        return obs[POSITIONS], float(reward), terminated, truncated, info


class StatelessCartPoleVector(CartPoleVectorEnv):
    """N of them at once, as fast as gymnasium's own."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.single_observation_space = _without_velocities(self.single_observation_space)
        self.observation_space = gym.vector.utils.batch_space(
            self.single_observation_space, self.num_envs
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """Begin episodes everywhere."""
        obs, info = super().reset(seed=seed, options=options)
        return obs[:, POSITIONS], info

    def step(self, action: Any) -> tuple[Floats, Any, Any, Any, dict[str, Any]]:
        """Push every cart."""
        obs, reward, terminated, truncated, info = super().step(action)
        return obs[:, POSITIONS], reward, terminated, truncated, info


gym.register(
    "StatelessCartPole-v0",
    entry_point=StatelessCartPole,
    vector_entry_point=StatelessCartPoleVector,
    max_episode_steps=500,
    reward_threshold=475.0,
)
