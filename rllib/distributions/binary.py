"""Switches: each on or off on its own.

Legend: ... leading dimensions, A switches.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from rllib.distributions.base import Distribution


class Bernoulli(Distribution):
    """A independent switches; inputs are logits of "on" [..., A], actions 0 or 1 [..., A]."""

    def log_prob(self, inputs: Tensor, actions: Tensor) -> Tensor:
        """[...]."""
        return (inputs * actions - softplus(inputs)).sum(-1)

    def entropy(self, inputs: Tensor) -> Tensor:
        """[...] between 0 and A log 2."""
        return (softplus(inputs) - inputs * inputs.sigmoid()).sum(-1)

    def kl(self, inputs: Tensor, other_inputs: Tensor) -> Tensor:
        """[...]."""
        difference = inputs.sigmoid() * (inputs - other_inputs)
        return (difference - softplus(inputs) + softplus(other_inputs)).sum(-1)

    def mode(self, inputs: Tensor) -> Tensor:
        """[..., A] int8."""
        return (inputs > 0.0).to(torch.int8)

    def draw_noise(self, inputs: Tensor) -> Tensor:
        """[..., A] uniform."""
        return torch.rand_like(inputs)

    def sample(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """[..., A] int8."""
        return (noise < inputs.sigmoid()).to(torch.int8)
