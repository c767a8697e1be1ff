"""Action distributions in torch, as pure functions of the network's outputs: for training.

The twin of ``rllib.actions``, which acts with the same distributions in numpy. Written out rather
than taken from ``torch.distributions``, whose objects cost more than the arithmetic on small nets.

Legend: B rows, A actions or action dimensions.
"""

from abc import ABC, abstractmethod
from math import log, pi

import gymnasium as gym
from torch import Tensor

from rllib.errors import ConfigError

_LOG_2PI = log(2.0 * pi)


class Distribution(ABC):
    """A distribution over actions; everything is a function of its inputs [B, num_inputs]."""

    @abstractmethod
    def log_prob(self, inputs: Tensor, actions: Tensor) -> Tensor:
        """[B] log probability (density) of the actions."""

    @abstractmethod
    def entropy(self, inputs: Tensor) -> Tensor:
        """[B] entropy in nats."""

    @abstractmethod
    def kl(self, inputs: Tensor, other_inputs: Tensor) -> Tensor:
        """[B] KL(inputs || other_inputs) in nats."""


class Categorical(Distribution):
    """One of A actions; inputs are logits [B, A], actions are int64 [B]."""

    def log_prob(self, inputs: Tensor, actions: Tensor) -> Tensor:
        """[B]."""
        return inputs.log_softmax(-1).gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def entropy(self, inputs: Tensor) -> Tensor:
        """[B] between 0 and log A."""
        log_p = inputs.log_softmax(-1)
        return -(log_p.exp() * log_p).sum(-1)

    def kl(self, inputs: Tensor, other_inputs: Tensor) -> Tensor:
        """[B]."""
        log_p, log_q = inputs.log_softmax(-1), other_inputs.log_softmax(-1)
        return (log_p.exp() * (log_p - log_q)).sum(-1)


class DiagGaussian(Distribution):
    """A independent normals; inputs are means and log standard deviations [B, 2A]."""

    def log_prob(self, inputs: Tensor, actions: Tensor) -> Tensor:
        """[B] for actions [B, A]."""
        mean, log_std = inputs.chunk(2, -1)
        z = (actions - mean) * (-log_std).exp()
        return (-0.5 * z**2 - log_std - 0.5 * _LOG_2PI).sum(-1)

    def entropy(self, inputs: Tensor) -> Tensor:
        """[B]; may be negative, as densities go."""
        _, log_std = inputs.chunk(2, -1)
        return (log_std + 0.5 * (1.0 + _LOG_2PI)).sum(-1)

    def kl(self, inputs: Tensor, other_inputs: Tensor) -> Tensor:
        """[B]."""
        mean_p, log_p = inputs.chunk(2, -1)
        mean_q, log_q = other_inputs.chunk(2, -1)
        squares = ((2 * log_p).exp() + (mean_p - mean_q) ** 2) * (-2 * log_q).exp()
        return (log_q - log_p + 0.5 * (squares - 1.0)).sum(-1)


def distribution_for(space: "gym.Space[object]") -> Distribution:
    """The distribution for an action space; which spaces there are is up to ``action_head``.

    Raises:
        ConfigError: no distribution for this kind of space.
    """
    if isinstance(space, gym.spaces.Discrete):
        return Categorical()
    if isinstance(space, gym.spaces.Box):
        return DiagGaussian()
    raise ConfigError(f"action space {space} is not supported; use Discrete or Box")
