"""Normalisers of observations and rewards; all env runners share their statistics.

Legend: N environments.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.connectors.base import Connector, StateTree, with_observations
from rllib.connectors.rewards import with_rewards
from rllib.connectors.running_stats import Moments, SharedMoments
from rllib.envs.make import Spaces
from rllib.envs.vector import EnvStep
from rllib.errors import ConfigError

_EPSILON = 1e-8


class _Filter(Connector):
    """Shared statistics of a stream of values."""

    moments: SharedMoments

    def get_state(self) -> StateTree:
        """The statistics, and what was not shared yet."""
        return {"moments": self.moments.get_state()}

    def set_state(self, state: StateTree) -> None:
        """Go on from ``get_state``."""
        self.moments.set_state(state["moments"])

    def get_statistics(self) -> StateTree:
        """Moments of everything known."""
        return self.moments.total.get_state()

    def set_statistics(self, statistics: StateTree) -> None:
        """Take over the moments of all env runners."""
        self.moments.set(Moments.from_state(statistics))

    def take_news(self) -> StateTree:
        """Moments of what was seen since the last call."""
        return self.moments.take_news().get_state()

    def merge(self, news: StateTree) -> None:
        """Add another's news."""
        self.moments.set(self.moments.shared.merged(Moments.from_state(news)))


class MeanStdFilter(_Filter):
    """Observations shifted and scaled to mean 0 and standard deviation 1, element by element.

    Args:
        clip: the result is clipped to plus and minus this; ``None`` leaves it as it is.
    """

    is_rowwise = True

    def __init__(self, clip: float | None = 10.0) -> None:
        self.clip = clip

    def connect(self, spaces: Spaces, num_envs: int) -> Spaces:
        """A Box of float32 of the same shape."""
        space = spaces.observation
        if not isinstance(space, gym.spaces.Box):
            raise ConfigError(
                f"MeanStdFilter normalises Box observations, not {space}; put "
                "FlattenObservations before it"
            )
        self.moments = SharedMoments(space.shape)
        limit = np.inf if self.clip is None else self.clip
        return spaces._replace(observation=gym.spaces.Box(-limit, limit, space.shape, np.float32))

    def on_reset(self, obs: NDArray[Any]) -> NDArray[Any]:
        """Count and normalise first observations."""
        self._count(obs)
        return self._normalized(obs)

    def on_step(self, step: EnvStep, actions: NDArray[Any]) -> EnvStep:
        """Count and normalise the observations of one vector step."""
        self._count(step.obs)
        final_obs = None if step.final_obs is None else self._normalized(step.final_obs)
        return with_observations(step, self._normalized(step.obs), final_obs)

    def _count(self, obs: NDArray[Any]) -> None:
        if not self.is_frozen:
            self.moments.update(obs)

    def _normalized(self, obs: NDArray[Any]) -> NDArray[np.float32]:
        total = self.moments.total
        scaled = (obs - total.mean) / (total.std + _EPSILON)
        if self.clip is not None:
            scaled = np.clip(scaled, -self.clip, self.clip)
        return scaled.astype(np.float32)


class NormalizeRewards(_Filter):
    """Rewards divided by the standard deviation of the discounted return so far.

    As in "Implementation Matters in Deep Policy Gradients" (Engstrom et al. 2020): the mean stays,
    so that no reward changes its sign.

    Args:
        gamma: of the discounted return.
        clip: the result is clipped to plus and minus this; ``None`` leaves it as it is.
    """

    def __init__(self, gamma: float = 0.99, clip: float | None = 10.0) -> None:
        self.gamma, self.clip = gamma, clip

    def connect(self, spaces: Spaces, num_envs: int) -> Spaces:
        """The spaces as they are."""
        self.moments = SharedMoments(())
        self.returns = np.zeros(num_envs)
        return spaces

    def on_reset(self, obs: NDArray[Any]) -> NDArray[Any]:
        """Begin all returns at 0."""
        self.returns = np.zeros(len(obs))
        return obs

    def on_step(self, step: EnvStep, actions: NDArray[Any]) -> EnvStep:
        """Count the returns, and scale the rewards of one vector step."""
        self.returns = self.returns * self.gamma + step.reward
        if not self.is_frozen:
            self.moments.update(self.returns[~step.is_reset_row])
        self.returns[step.terminated | step.truncated] = 0.0
        scaled = step.reward / (self.moments.total.std + _EPSILON)
        if self.clip is not None:
            scaled = np.clip(scaled, -self.clip, self.clip)
        return with_rewards(step, scaled.astype(np.float32))

    def get_state(self) -> StateTree:
        """The statistics, and the returns of the episodes under way."""
        return super().get_state() | {"returns": self.returns.copy()}

    def set_state(self, state: StateTree) -> None:
        """Go on from ``get_state``."""
        super().set_state(state)
        self.returns = np.array(state["returns"])
