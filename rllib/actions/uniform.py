"""Acting at random: what an off-policy algorithm does before it has anything to learn from.

Legend: B rows, A action dimensions.
"""

from dataclasses import dataclass, replace

import gymnasium as gym
import numpy as np

from rllib.actions.base import ActionHead, Floats, Shape
from rllib.actions.box import BoxHead
from rllib.actions.categorical import CategoricalHead
from rllib.actions.greedy import EpsilonGreedyHead
from rllib.errors import ConfigError


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
            return UniformBoxHead(_bounded(head.space), head.num_inputs, fit=head.fit)
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
        space: of the actions.
        width: of the network's output, which is not looked at.
        fit: where actions are not stretched to the bounds later, they are drawn between them.
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
        """[B, A] in [-1, 1), or between the bounds."""
        return noise if self.fit == "stretch" else noise * self.stretch[0] + self.stretch[1]

    def mode(self, inputs: Floats) -> Floats:
        """[B, A] the middle of the bounds."""
        return self.sample(inputs, np.zeros((len(inputs), self.num_actions), np.float32))

    def log_prob(self, inputs: Floats, actions: Floats) -> Floats:
        """[B]."""
        widths = 2.0 if self.fit == "stretch" else 2.0 * self.stretch[0]
        density = -np.log(np.broadcast_to(widths, self.num_actions)).sum()
        return np.full(len(inputs), density, np.float32)
