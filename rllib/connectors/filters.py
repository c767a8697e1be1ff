"""Normalisers of observations and rewards; all env runners share their statistics.

Legend: N environments.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.connectors.base import Connector, Memory, StateTree, is_number, with_observations
from rllib.connectors.rewards import with_rewards
from rllib.connectors.running_stats import Moments, SharedMoments
from rllib.envs.make import Spaces
from rllib.envs.packing import Leaf, Packer, packed_dtype, with_parts
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

    Of a Dict or Tuple those of every Box; choices and an action mask stay as they are.

    Args:
        clip: the result is clipped to plus and minus this; ``None`` leaves it as it is.
    """

    is_rowwise = True

    def __init__(self, clip: float | None = 10.0) -> None:
        self.clip = clip

    def connect(self, spaces: Spaces, num_envs: int) -> Spaces:
        """A Box of float32 of the same shape, for each that is normalised.

        Raises:
            ConfigError: there is none.
        """
        space = spaces.observation
        self.before = Packer(space)
        boxes = [leaf for leaf in self.before.leaves if is_number(leaf)]
        if not boxes:
            raise ConfigError(
                f"MeanStdFilter normalises the Boxes of observations; {space} has none. Put "
                "FlattenObservations before it, or leave it out"
            )
        normalized = with_parts(space, self._normalized_space)
        self.dtype, _ = packed_dtype(normalized)
        self.moments = SharedMoments(_shape_of(boxes))
        return spaces._replace(observation=normalized)

    def _normalized_space(self, leaf: Leaf) -> gym.Space[Any]:
        limit = np.inf if self.clip is None else self.clip
        if not is_number(leaf):
            return leaf.space
        return gym.spaces.Box(-limit, limit, leaf.space.shape, np.float32)

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
            self.moments.update(self._numbers(obs))

    def _numbers(self, obs: NDArray[Any]) -> NDArray[Any]:
        """[N, ...] what is normalised, of several parts in one row."""
        if not self.before.is_composite:
            return obs
        boxes = [leaf.of(obs) for leaf in self.before.leaves if is_number(leaf)]
        return np.concatenate([part.reshape(len(obs), -1) for part in boxes], 1)

    def _normalized(self, obs: NDArray[Any]) -> NDArray[Any]:
        scaled = self._scaled(self._numbers(obs))
        if not self.before.is_composite:
            return scaled
        result = np.zeros(len(obs), self.dtype)
        done = 0
        for leaf in self.before.leaves:
            part = leaf.of(result)
            if is_number(leaf):
                width = prod(part.shape[1:])
                part[...] = scaled[:, done : done + width].reshape(part.shape)
                done += width
            else:
                part[...] = leaf.of(obs)
        return result

    def _scaled(self, numbers: NDArray[Any]) -> NDArray[np.float32]:
        total = self.moments.total
        scaled = (numbers - total.mean) / (total.std + _EPSILON)
        if self.clip is not None:
            scaled = np.clip(scaled, -self.clip, self.clip)
        return scaled.astype(np.float32)


def _shape_of(boxes: Sequence[Leaf]) -> tuple[int, ...]:
    """Of what is normalised: the shape of a Box alone, or the width of a row of several."""
    if not boxes[0].keys:
        return boxes[0].space.shape or ()
    return (sum(prod(leaf.space.shape or ()) for leaf in boxes),)


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
        self.returns[step.terminated | step.truncated | step.is_reset_row] = 0.0
        scaled = step.reward / (self.moments.total.std + _EPSILON)
        if self.clip is not None:
            scaled = np.clip(scaled, -self.clip, self.clip)
        return with_rewards(step, scaled.astype(np.float32))

    def get_memory(self) -> Memory:
        """The returns so far."""
        return {"returns": self.returns}

    def set_memory(self, memory: Memory) -> None:
        """Go on with those of other episodes."""
        self.returns = memory["returns"]

    def get_state(self) -> StateTree:
        """The statistics, and the returns of the episodes under way."""
        return super().get_state() | {"returns": self.returns.copy()}

    def set_state(self, state: StateTree) -> None:
        """Go on from ``get_state``."""
        super().set_state(state)
        self.returns = np.array(state["returns"])
