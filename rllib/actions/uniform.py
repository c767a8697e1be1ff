"""Acting at random: what an off-policy algorithm does before it has anything to learn from.

Legend: B rows, A action dimensions.
"""

from dataclasses import dataclass, replace
from math import log

import gymnasium as gym
import numpy as np

from rllib.actions.base import ActionHead, Floats, Shape
from rllib.actions.box import BoxHead
from rllib.actions.categorical import CategoricalHead
from rllib.actions.greedy import EpsilonGreedyHead
from rllib.errors import ConfigError

LOG_2 = log(2.0)


def uniform_head(head: ActionHead) -> ActionHead:
    """A head over the same actions by which all that are allowed are equally likely.

    Raises:
        ConfigError: there is none, because the actions have no bounds or several parts.
    """
    match head:
        case EpsilonGreedyHead():
            return replace(head, epsilon=1.0)
        case CategoricalHead():
            return EpsilonGreedyHead(head.space, epsilon=1.0)
        case BoxHead():
            return UniformBoxHead(_bounded(head.space), head.num_inputs)
    raise ConfigError(
        f"actions of {type(head).__name__} cannot be drawn uniformly; only those of Discrete and "
        "of Box of floats can be"
    )


def _bounded(space: gym.spaces.Box) -> gym.spaces.Box:
    if not (space.bounded_below & space.bounded_above).all():
        raise ConfigError(
            f"action space {space} has no bounds between which random actions could lie; give it "
            "finite ones, for example with gymnasium.wrappers.TransformAction"
        )
    return space


@dataclass(frozen=True)
class UniformBoxHead(BoxHead):
    """Any action within the bounds of the space; noise is uniform in [-1, 1).

    Args:
        width: of the network's output, which is not looked at.
    """

    width: int

    @property
    def num_inputs(self) -> int:
        """Those of the head that this one stands in for."""
        return self.width

    def draw_noise(self, rng: np.random.Generator, shape: Shape) -> Floats:
        """[*shape, A] uniform."""
        return 2.0 * rng.random((*shape, self.num_actions), dtype=np.float32) - 1.0

    def sample(self, inputs: Floats, noise: Floats) -> Floats:
        """[B, A] in [-1, 1)."""
        return noise

    def mode(self, inputs: Floats) -> Floats:
        """[B, A] the middle of the bounds."""
        return np.zeros((len(inputs), self.num_actions), np.float32)

    def log_prob(self, inputs: Floats, actions: Floats) -> Floats:
        """[B]."""
        return np.full(len(inputs), -LOG_2 * self.num_actions, np.float32)
