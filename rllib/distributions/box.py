"""Real numbers: normal, normal squashed into bounds, and deterministic with noise.

Legend: ... leading dimensions, A action dimensions.
"""

from math import inf, log
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from rllib.actions.box import INSIDE, LOG_2PI, LOG_STD_RANGE
from rllib.distributions.base import Distribution


class DiagGaussian(Distribution):
    """A independent normals; inputs are means and log standard deviations [..., 2A]."""

    def log_prob(self, inputs: Tensor, actions: Tensor) -> Tensor:
        """[...] for actions [..., A]."""
        mean, log_std = inputs.chunk(2, -1)
        return _normal_log_prob(log_std, (actions - mean) * (-log_std).exp()).sum(-1)

    def entropy(self, inputs: Tensor) -> Tensor:
        """[...]; may be negative, as densities go."""
        _, log_std = inputs.chunk(2, -1)
        return (log_std + 0.5 * (1.0 + LOG_2PI)).sum(-1)

    def kl(self, inputs: Tensor, other_inputs: Tensor) -> Tensor:
        """[...]."""
        mean_p, log_p = inputs.chunk(2, -1)
        mean_q, log_q = other_inputs.chunk(2, -1)
        squares = ((2 * log_p).exp() + (mean_p - mean_q) ** 2) * (-2 * log_q).exp()
        return (log_q - log_p + 0.5 * (squares - 1.0)).sum(-1)

    def mode(self, inputs: Tensor) -> Tensor:
        """[..., A] the means."""
        return inputs.chunk(2, -1)[0]

    def draw_noise(self, inputs: Tensor) -> Tensor:
        """[..., A] normal."""
        return torch.randn_like(inputs.chunk(2, -1)[0])

    def sample(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """[..., A]."""
        mean, log_std = inputs.chunk(2, -1)
        return mean + log_std.exp() * noise


class Sampled(NamedTuple):
    """Actions [..., A] and their log density [...], both with gradients."""

    actions: Tensor
    log_prob: Tensor


class SquashedGaussian(Distribution):
    """tanh of A independent normals (Haarnoja et al. 2018, arXiv 1812.05905, appendix C).

    Inputs are means and log standard deviations [..., 2A] of the normals, the latter clipped to
    ``LOG_STD_RANGE``; actions lie in [-1, 1].
    """

    def __init__(self) -> None:
        self._normal = DiagGaussian()

    def rsample(self, inputs: Tensor, noise: Tensor) -> Sampled:
        """Actions and their log density, exact however near to the bounds they come.

        Args:
            inputs: [..., 2A].
            noise: [..., A] normal.
        """
        mean, log_std = _clipped(inputs).chunk(2, -1)
        raw = mean + log_std.exp() * noise
        log_prob = _normal_log_prob(log_std, noise) - _log_slope(raw)
        return Sampled(raw.tanh(), log_prob.sum(-1))

    def log_prob(self, inputs: Tensor, actions: Tensor) -> Tensor:
        """[...]; of actions nearer to the bounds than float32 can tell, a limit."""
        raw = actions.clamp(-INSIDE, INSIDE).atanh()
        return self._normal.log_prob(_clipped(inputs), raw) - _log_slope(raw).sum(-1)

    def entropy(self, inputs: Tensor, noise: Tensor | None = None) -> Tensor:
        """[...] of one sample: it has no closed form, but the right mean and gradient."""
        noise = self.draw_noise(inputs) if noise is None else noise
        return -self.rsample(inputs, noise).log_prob

    def kl(self, inputs: Tensor, other_inputs: Tensor) -> Tensor:
        """[...] that of the normals: squashing both in the same way changes nothing."""
        return self._normal.kl(_clipped(inputs), _clipped(other_inputs))

    def mode(self, inputs: Tensor) -> Tensor:
        """[..., A] the squashed means: the medians, as everybody takes them."""
        return self._normal.mode(inputs).tanh()

    def draw_noise(self, inputs: Tensor) -> Tensor:
        """[..., A] normal."""
        return self._normal.draw_noise(inputs)

    def sample(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """[..., A] in [-1, 1]."""
        return self.rsample(inputs, noise).actions


class Deterministic(Distribution):
    """tanh of the inputs [..., A], with clipped normal noise (Fujimoto et al. 2018, TD3).

    Args:
        noise_std: of the noise, in units of half the space's width.
        noise_clip: noise beyond plus and minus this is cut.
    """

    def __init__(self, noise_std: float = 0.1, noise_clip: float = inf) -> None:
        self.noise_std, self.noise_clip = noise_std, noise_clip

    def log_prob(self, inputs: Tensor, actions: Tensor) -> Tensor:
        """[...] zeros: there is no density, and whoever acts like this is trained without one."""
        return torch.zeros_like(inputs[..., 0])

    def entropy(self, inputs: Tensor) -> Tensor:
        """[...] zeros: there is no choice."""
        return torch.zeros_like(inputs[..., 0])

    def kl(self, inputs: Tensor, other_inputs: Tensor) -> Tensor:
        """There is none.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            "deterministic actions have no KL divergence; turn the KL penalty off (use_kl_loss), "
            "or train a stochastic policy"
        )

    def mode(self, inputs: Tensor) -> Tensor:
        """[..., A] without noise."""
        return inputs.tanh()

    def draw_noise(self, inputs: Tensor) -> Tensor:
        """[..., A] normal."""
        return torch.randn_like(inputs)

    def sample(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """[..., A] in [-1, 1]: TD3's smoothed target actions, with their own std and clip."""
        limit = self.noise_clip
        return (inputs.tanh() + (self.noise_std * noise).clamp(-limit, limit)).clamp(-1.0, 1.0)


def _clipped(inputs: Tensor) -> Tensor:
    mean, log_std = inputs.chunk(2, -1)
    return torch.cat([mean, log_std.clamp(*LOG_STD_RANGE)], -1)


def _normal_log_prob(log_std: Tensor, z: Tensor) -> Tensor:
    """Log density of the normal where it is ``z`` standard deviations from its mean."""
    return -0.5 * z**2 - log_std - 0.5 * LOG_2PI


def _log_slope(raw: Tensor) -> Tensor:
    """``log(1 - tanh(raw)**2)``, which by its own formula is ``log 0`` from 10 on."""
    return 2.0 * (log(2.0) - raw - softplus(-2.0 * raw))
