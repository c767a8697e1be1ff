"""Choices: one of A actions, or one in each of D action dimensions.

Legend: ... leading dimensions, A actions, D action dimensions, n choices of the largest dimension.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, split
from torch.nn.functional import pad

from rllib.actions.masks import FORBIDDEN
from rllib.distributions.base import Distribution


class Categorical(Distribution):
    """One of A actions; inputs are logits [..., A], actions are int64 [...]."""

    def log_prob(self, inputs: Tensor, actions: Tensor) -> Tensor:
        """[...]; actions may be whole numbers of any type."""
        return inputs.log_softmax(-1).gather(-1, actions.long().unsqueeze(-1)).squeeze(-1)

    def entropy(self, inputs: Tensor) -> Tensor:
        """[...] between 0 and log A."""
        log_p = inputs.log_softmax(-1)
        return -(log_p.exp() * log_p).sum(-1)

    def kl(self, inputs: Tensor, other_inputs: Tensor) -> Tensor:
        """[...]."""
        log_p, log_q = inputs.log_softmax(-1), other_inputs.log_softmax(-1)
        return (log_p.exp() * (log_p - log_q)).sum(-1)

    def mode(self, inputs: Tensor) -> Tensor:
        """[...] the largest logit."""
        return inputs.argmax(-1)

    def draw_noise(self, inputs: Tensor) -> Tensor:
        """[...] uniform."""
        return torch.rand_like(inputs[..., 0])

    def sample(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """[...] by inverting the cumulative distribution."""
        edges = inputs.softmax(-1).cumsum(-1)
        # The last edge is left out: rounding must never yield the action after the last one.
        return (edges[..., :-1] <= noise.unsqueeze(-1) * edges[..., -1:]).sum(-1)


class MultiCategorical(Distribution):
    """An independent choice in each of D dimensions; inputs are their logits, one after the other.

    Args:
        sizes: [D] choices in each dimension.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = list(sizes)
        self._each = Categorical()

    def _table(self, inputs: Tensor) -> Tensor:
        """Logits [..., D, n]; what smaller dimensions do not have is forbidden."""
        n = max(self.sizes)
        if min(self.sizes) == n:
            return inputs.reshape(*inputs.shape[:-1], len(self.sizes), n)
        rows = [
            pad(part, (0, n - size), value=float(FORBIDDEN))
            for part, size in zip(split(inputs, self.sizes, -1), self.sizes, strict=True)
        ]
        return torch.stack(rows, -2)

    def log_prob(self, inputs: Tensor, actions: Tensor) -> Tensor:
        """[...] for actions [..., D]."""
        return self._each.log_prob(self._table(inputs), actions).sum(-1)

    def entropy(self, inputs: Tensor) -> Tensor:
        """[...]."""
        return self._each.entropy(self._table(inputs)).sum(-1)

    def kl(self, inputs: Tensor, other_inputs: Tensor) -> Tensor:
        """[...]."""
        return self._each.kl(self._table(inputs), self._table(other_inputs)).sum(-1)

    def mode(self, inputs: Tensor) -> Tensor:
        """[..., D] the largest logit of each dimension."""
        return self._each.mode(self._table(inputs))

    def draw_noise(self, inputs: Tensor) -> Tensor:
        """[..., D] uniform."""
        return torch.rand_like(inputs[..., : len(self.sizes)])

    def sample(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """[..., D]."""
        return self._each.sample(self._table(inputs), noise)
