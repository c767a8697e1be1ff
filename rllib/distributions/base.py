"""What every distribution can do.

Legend: ... leading dimensions, mostly [B] rows.
"""

from abc import ABC, abstractmethod

from torch import Tensor


class Distribution(ABC):
    """A distribution over actions; everything is a function of its inputs [..., num_inputs]."""

    @abstractmethod
    def log_prob(self, inputs: Tensor, actions: Tensor) -> Tensor:
        """[...] log probability (density) of the actions."""

    @abstractmethod
    def entropy(self, inputs: Tensor) -> Tensor:
        """[...] entropy in nats."""

    @abstractmethod
    def kl(self, inputs: Tensor, other_inputs: Tensor) -> Tensor:
        """[...] KL(inputs || other_inputs) in nats."""

    @abstractmethod
    def mode(self, inputs: Tensor) -> Tensor:
        """The most likely actions."""

    @abstractmethod
    def draw_noise(self, inputs: Tensor) -> Tensor:
        """Noise for one action of each row, from torch's generator of the inputs' device."""

    @abstractmethod
    def sample(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """Actions: those that the numpy twin makes of the same noise.

        Where actions are real numbers, their gradients go back to ``inputs``.
        """
