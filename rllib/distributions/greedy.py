"""Acting by action values.

Legend: ... leading dimensions, A actions.
"""

import torch
from torch import Tensor

from rllib.actions.greedy import TINY
from rllib.actions.masks import FORBIDDEN
from rllib.distributions.base import Distribution


class EpsilonGreedy(Distribution):
    """The action of the largest value or, with probability epsilon, any allowed one.

    Inputs are values [..., A], those of forbidden actions ``FORBIDDEN``. Nothing here has a
    gradient: values are trained by their own errors.

    Args:
        epsilon: 0 is greedy.
    """

    def __init__(self, epsilon: float = 0.0) -> None:
        self.epsilon = epsilon

    def probabilities(self, inputs: Tensor) -> Tensor:
        """[..., A]."""
        allowed = (inputs > float(FORBIDDEN)).to(inputs.dtype)
        best = torch.zeros_like(inputs).scatter(-1, inputs.argmax(-1, keepdim=True), 1.0)
        return self.epsilon * allowed / allowed.sum(-1, keepdim=True) + (1.0 - self.epsilon) * best

    def log_prob(self, inputs: Tensor, actions: Tensor) -> Tensor:
        """[...]; finite also for what is impossible."""
        return self._logs(inputs).gather(-1, actions.long().unsqueeze(-1)).squeeze(-1)

    def entropy(self, inputs: Tensor) -> Tensor:
        """[...]."""
        return -(self.probabilities(inputs) * self._logs(inputs)).sum(-1)

    def kl(self, inputs: Tensor, other_inputs: Tensor) -> Tensor:
        """[...]; finite also where the other never does what this one does."""
        difference = self._logs(inputs) - self._logs(other_inputs)
        return (self.probabilities(inputs) * difference).sum(-1)

    def mode(self, inputs: Tensor) -> Tensor:
        """[...] the largest value."""
        return inputs.argmax(-1)

    def draw_noise(self, inputs: Tensor) -> Tensor:
        """[..., 2] uniform: whether to explore, and where to."""
        return torch.rand(*inputs.shape[:-1], 2, dtype=inputs.dtype, device=inputs.device)

    def sample(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """[...]."""
        counted = (inputs > float(FORBIDDEN)).cumsum(-1)
        allowed = (counted[..., :-1] <= noise[..., 1:] * counted[..., -1:]).sum(-1)
        return torch.where(noise[..., 0] < self.epsilon, allowed, inputs.argmax(-1))

    def _logs(self, inputs: Tensor) -> Tensor:
        return self.probabilities(inputs).clamp(min=TINY).log()
