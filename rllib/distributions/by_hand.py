"""Derivatives of distributions by hand, in numpy: what autograd finds out of ``log_prob``.

For a few numbers per row the arithmetic is a small part of what autograd takes.

Legend: B rows, A actions or action dimensions.
"""

from functools import cached_property
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
        old_logp: [B] the same by the distributions that were given as the old ones.
        entropy: [B] in nats.
        kl: [B] from the old distributions, in nats.
    """

    logp: Floats
    entropy: Floats

    @property
    def old_logp(self) -> Floats:
        """Worked out when it is asked for, as is the next one."""

    @property
    def kl(self) -> Floats:
        """See above."""

    def gradient(self, of_logp: Floats, of_entropy: float, of_kl: float) -> Floats:
        """[B, num_inputs] of a sum over rows, from [B] of ``logp`` and one for all rows each."""


class CategoricalTerms:
    """Of one of A actions: logits [B, A], actions [B]."""

    def __init__(self, inputs: Floats, actions: NDArray[Any], old_inputs: Floats) -> None:
        self.rows = np.arange(len(inputs))
        self.actions, self.old_inputs = actions, old_inputs
        self.log_p = log_softmax(inputs)
        self.p = np.exp(self.log_p)
        self.logp: Floats = self.log_p[self.rows, actions]
        self.entropy: Floats = -(self.p * self.log_p).sum(-1)

    @cached_property
    def _log_old(self) -> Floats:
        return log_softmax(self.old_inputs)

    @cached_property
    def _p_old(self) -> Floats:
        p_old: Floats = np.exp(self._log_old)
        return p_old

    @property
    def old_logp(self) -> Floats:
        """[B]."""
        logp: Floats = self._log_old[self.rows, self.actions]
        return logp

    @cached_property
    def kl(self) -> Floats:
        """[B]."""
        kl: Floats = (self._p_old * (self._log_old - self.log_p)).sum(-1)
        return kl

    def gradient(self, of_logp: Floats, of_entropy: float, of_kl: float) -> Floats:
        """[B, A]."""
        gradient: Floats = self.p * -of_logp[:, None]
        gradient[self.rows, self.actions] += of_logp
        if of_entropy:
            gradient -= np.float32(of_entropy) * self.p * (self.log_p + self.entropy[:, None])
        if of_kl:
            gradient += np.float32(of_kl) * (self.p - self._p_old)
        return gradient


class GaussianTerms:
    """Of A independent normals: means and log standard deviations [B, 2A], actions [B, A]."""

    def __init__(self, inputs: Floats, actions: NDArray[Any], old_inputs: Floats) -> None:
        self.mean, self.log_std = np.split(inputs, 2, axis=-1)
        self.old_mean, self.old_log_std = np.split(old_inputs, 2, axis=-1)
        self.actions = actions
        self.precision = np.exp(-self.log_std)
        self.z = (actions - self.mean) * self.precision
        self.logp: Floats = _normal_logp(self.z, self.log_std)
        self.entropy: Floats = (self.log_std + _CONSTANT + np.float32(0.5)).sum(-1)

    @property
    def old_logp(self) -> Floats:
        """[B]."""
        z = (self.actions - self.old_mean) * np.exp(-self.old_log_std)
        return _normal_logp(z, self.old_log_std)

    @cached_property
    def _shift(self) -> Floats:
        shift: Floats = (self.mean - self.old_mean) * self.precision
        return shift

    @cached_property
    def _spread(self) -> Floats:
        spread: Floats = np.exp(2 * (self.old_log_std - self.log_std)) + self._shift**2
        return spread

    @cached_property
    def kl(self) -> Floats:
        """[B]."""
        kl: Floats = (self.log_std - self.old_log_std + 0.5 * (self._spread - 1)).sum(-1)
        return kl

    def gradient(self, of_logp: Floats, of_entropy: float, of_kl: float) -> Floats:
        """[B, 2A]."""
        of_mean = of_logp[:, None] * self.z * self.precision
        of_log_std = of_logp[:, None] * (self.z**2 - 1) + np.float32(of_entropy)
        if of_kl:
            of_mean += np.float32(of_kl) * self._shift * self.precision
            of_log_std += np.float32(of_kl) * (1 - self._spread)
        gradient: Floats = np.concatenate([of_mean, of_log_std], -1)
        return gradient


_CONSTANT = np.float32(0.5 * LOG_2PI)


def _normal_logp(z: Floats, log_std: Floats) -> Floats:
    """[B] of standardised actions [B, A]."""
    logp: Floats = -(0.5 * z**2 + log_std + _CONSTANT).sum(-1)
    return logp


TERMS: dict[type[Distribution], type[CategoricalTerms] | type[GaussianTerms]] = {
    Categorical: CategoricalTerms,
    DiagGaussian: GaussianTerms,
}
"""By distribution, as far as there are any."""
