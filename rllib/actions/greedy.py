"""Acting by action values.

Legend: B rows, A actions.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.actions.base import ActionHead, Floats, Ints, Shape
from rllib.actions.masks import FORBIDDEN
from rllib.schedules import Points, value_at

TINY = float(np.finfo(np.float32).tiny)
"""An impossible action is given this probability, so that every logarithm is finite."""


@dataclass(frozen=True)
class EpsilonGreedyHead(ActionHead):
    """The action of the largest value or, with probability epsilon, any allowed one.

    Inputs are values [B, A], those of forbidden actions ``FORBIDDEN``; noise is uniform in [0, 1):
    whether to explore, and where to.

    Args:
        epsilon: may be a schedule, of which ``at`` takes the value; 0 is greedy.
    """

    space: gym.spaces.Discrete
    epsilon: float | Points = 0.0

    action_dtype = np.int64
    action_shape = ()
    noise_shape = (2,)

    @cached_property
    def num_inputs(self) -> int:
        """A."""
        return int(self.space.n)

    @cached_property
    def _epsilon(self) -> np.float32:
        return np.float32(self._value)

    @property
    def _value(self) -> float:
        return value_at(self.epsilon, 0)

    def at(self, timestep: int) -> "EpsilonGreedyHead":
        """The head with the epsilon of this timestep."""
        if isinstance(self.epsilon, float):
            return self
        present = value_at(self.epsilon, timestep)
        if self._at.epsilon != present:
            self.__dict__["_at"] = replace(self, epsilon=present)
        return self._at

    @cached_property
    def _at(self) -> "EpsilonGreedyHead":
        """What ``at`` gave last, which is asked for every fragment, while epsilon may stay."""
        return replace(self, epsilon=self._value)

    def draw_noise(self, rng: np.random.Generator, shape: Shape) -> Floats:
        """[*shape, 2] uniform."""
        return rng.random((*shape, 2), dtype=np.float32)

    def sample(self, inputs: Floats, noise: Floats) -> Ints:
        """[B]."""
        explores, best = noise[:, 0] < self._epsilon, self.mode(inputs)
        if not np.count_nonzero(explores):
            return best
        return np.where(explores, _choose_allowed(inputs, noise[:, 1]), best)

    def mode(self, inputs: Floats) -> Ints:
        """[B] the largest value."""
        actions: Ints = inputs.argmax(axis=-1)
        return actions

    def log_prob(self, inputs: Floats, actions: Ints) -> Floats:
        """[B]."""
        allowed = _allowed(inputs)
        rows = np.arange(len(inputs))
        explored = self._epsilon * allowed[rows, actions] / allowed.sum(axis=-1, dtype=np.float32)
        exploited = (1.0 - self._epsilon) * (inputs.argmax(axis=-1) == actions)
        log_prob: Floats = np.log(np.maximum(explored + exploited, TINY))
        return log_prob

    def to_env(self, actions: Ints) -> Ints:
        """Discrete spaces may start elsewhere than at 0."""
        return actions + self.space.start


def _allowed(values: Floats) -> NDArray[np.bool_]:
    return values > FORBIDDEN


def _choose_allowed(values: Floats, noise: Floats) -> Ints:
    """[B] any allowed action, each with the same probability."""
    counted = _allowed(values).cumsum(axis=-1)
    chosen: Ints = (counted[:, :-1] <= noise[:, None] * counted[:, -1:]).sum(axis=-1)
    return chosen
