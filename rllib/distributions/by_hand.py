"""Derivatives of distributions by hand, in numpy: what autograd finds out of ``log_prob``.

For a few numbers per row the arithmetic is a small part of what autograd takes.

Legend: B rows, A actions or action dimensions.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rllib.actions.box import LOG_2PI
from rllib.actions.categorical import log_softmax
from rllib.distributions.base import Distribution
from rllib.distributions.box import DiagGaussian
from rllib.distributions.categorical import Categorical

Floats = NDArray[np.float32]


class Terms(Protocol):
    """What a loss reads of a batch, and the way back.

    Attributes:
        logp: [B] log probability (density) of the actions.
        entropy: [B] in nats.
        kl: [B] from the distributions by which the actions were chosen, in nats.
    """

    logp: Floats
    entropy: Floats
    kl: Floats

    def gradient(self, of_logp: Floats, of_entropy: float, of_kl: float) -> Floats:
        """[B, num_inputs] of a sum over rows, from [B] of ``logp`` and one for all rows each."""


class CategoricalTerms:
    """Of one of A actions: logits [B, A], actions [B]."""

    def __init__(self, inputs: Floats, actions: NDArray[Any], old_inputs: Floats) -> None:
        self.rows = np.arange(len(inputs))
        self.actions = actions
        log_p, log_old = log_softmax(inputs), log_softmax(old_inputs)
        self.log_p, self.p, self.p_old = log_p, np.exp(log_p), np.exp(log_old)
        self.logp: Floats = log_p[self.rows, actions]
        self.entropy: Floats = -(self.p * log_p).sum(-1)
        self.kl: Floats = (self.p_old * (log_old - log_p)).sum(-1)

    def gradient(self, of_logp: Floats, of_entropy: float, of_kl: float) -> Floats:
        """[B, A]."""
        gradient: Floats = self.p * -of_logp[:, None]
        gradient[self.rows, self.actions] += of_logp
        if of_entropy:
            gradient -= np.float32(of_entropy) * self.p * (self.log_p + self.entropy[:, None])
        if of_kl:
            gradient += np.float32(of_kl) * (self.p - self.p_old)
        return gradient


class GaussianTerms:
    """Of A independent normals: means and log standard deviations [B, 2A], actions [B, A]."""

    def __init__(self, inputs: Floats, actions: NDArray[Any], old_inputs: Floats) -> None:
        mean, log_std = np.split(inputs, 2, axis=-1)
        old_mean, old_log_std = np.split(old_inputs, 2, axis=-1)
        self.precision = np.exp(-log_std)
        self.z = (actions - mean) * self.precision
        self.shift = (mean - old_mean) * self.precision
        self.spread = np.exp(2 * (old_log_std - log_std)) + self.shift**2
        constant = np.float32(0.5 * LOG_2PI)
        self.logp: Floats = -(0.5 * self.z**2 + log_std + constant).sum(-1)
        self.entropy: Floats = (log_std + constant + np.float32(0.5)).sum(-1)
        self.kl: Floats = (log_std - old_log_std + 0.5 * (self.spread - 1)).sum(-1)

    def gradient(self, of_logp: Floats, of_entropy: float, of_kl: float) -> Floats:
        """[B, 2A]."""
        of_mean = of_logp[:, None] * self.z * self.precision
        of_log_std = of_logp[:, None] * (self.z**2 - 1) + np.float32(of_entropy)
        if of_kl:
            of_mean += np.float32(of_kl) * self.shift * self.precision
            of_log_std += np.float32(of_kl) * (1 - self.spread)
        gradient: Floats = np.concatenate([of_mean, of_log_std], -1)
        return gradient


TERMS: dict[type[Distribution], type[CategoricalTerms] | type[GaussianTerms]] = {
    Categorical: CategoricalTerms,
    DiagGaussian: GaussianTerms,
}
"""By distribution, as far as there are any."""
