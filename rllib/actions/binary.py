"""Switches: each on or off on its own.

Legend: B rows, A switches.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.actions.base import ActionHead, Floats, Shape

Switches = NDArray[np.int8]


@dataclass(frozen=True)
class BernoulliHead(ActionHead):
    """A independent switches; inputs are logits of "on" [B, A], noise is uniform in [0, 1)."""

    space: gym.spaces.MultiBinary

    action_dtype = np.int8

    @cached_property
    def num_inputs(self) -> int:
        """A."""
        return int(np.prod(self.space.shape))

    @property
    def action_shape(self) -> Shape:
        """A."""
        return (self.num_inputs,)

    @property
    def noise_shape(self) -> Shape:
        """A."""
        return (self.num_inputs,)

    def draw_noise(self, rng: np.random.Generator, shape: Shape) -> Floats:
        """[*shape, A] uniform."""
        return rng.random((*shape, self.num_inputs), dtype=np.float32)

    def sample(self, inputs: Floats, noise: Floats) -> Switches:
        """[B, A]."""
        # The logistic function, by the form of it that never overflows.
        actions: Switches = (noise < 0.5 * np.tanh(0.5 * inputs) + 0.5).astype(np.int8)
        return actions

    def mode(self, inputs: Floats) -> Switches:
        """[B, A]."""
        return (inputs > 0.0).astype(np.int8)

    def log_prob(self, inputs: Floats, actions: Switches) -> Floats:
        """[B]."""
        log_prob: Floats = (inputs * actions - np.logaddexp(0.0, inputs)).sum(axis=-1)
        return log_prob

    def to_env(self, actions: Switches) -> NDArray[Any]:
        """[B, *space.shape]."""
        return actions.reshape(-1, *self.space.shape)
