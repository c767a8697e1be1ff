"""Actions of several parts: Dict and Tuple spaces, nested as they may be.

Legend: ... leading dimensions, W numbers in an action.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rllib.actions.composite import Columns
from rllib.distributions.base import Distribution


class Part(NamedTuple):
    """The distribution of one leaf, and its places in inputs, actions and noise."""

    distribution: Distribution
    inputs: slice
    actions: Columns
    noise: Columns


class Composite(Distribution):
    """Independent parts, whose actions are one row [..., W] of floats.

    Args:
        parts: in gymnasium's order.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = list(parts)

    def log_prob(self, inputs: Tensor, actions: Tensor) -> Tensor:
        """[...] sum over the parts."""
        return _sum(
            [
                part.distribution.log_prob(inputs[..., part.inputs], actions[..., part.actions])
                for part in self.parts
            ]
        )

    def entropy(self, inputs: Tensor) -> Tensor:
        """[...] sum over the parts."""
        return _sum([part.distribution.entropy(inputs[..., part.inputs]) for part in self.parts])

    def kl(self, inputs: Tensor, other_inputs: Tensor) -> Tensor:
        """[...] sum over the parts."""
        return _sum(
            [
                part.distribution.kl(inputs[..., part.inputs], other_inputs[..., part.inputs])
                for part in self.parts
            ]
        )

    def mode(self, inputs: Tensor) -> Tensor:
        """[..., W]."""
        modes = [part.distribution.mode(inputs[..., part.inputs]) for part in self.parts]
        return _row(modes, inputs)

    def draw_noise(self, inputs: Tensor) -> Tensor:
        """[..., noise of all parts]."""
        noises = [part.distribution.draw_noise(inputs[..., part.inputs]) for part in self.parts]
        return _row(noises, inputs)

    def sample(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """[..., W]."""
        samples = [
            part.distribution.sample(inputs[..., part.inputs], noise[..., part.noise])
            for part in self.parts
        ]
        return _row(samples, inputs)


def _sum(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts).sum(0)


def _row(parts: list[Tensor], like: Tensor) -> Tensor:
    """The parts' numbers, one after the other, as floats of the type of ``like``."""
    lead = like.shape[:-1]
    return torch.cat([part.reshape(*lead, -1).to(like.dtype) for part in parts], -1)
