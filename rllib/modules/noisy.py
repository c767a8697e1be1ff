"""Noisy networks: exploration that is learnt (Fortunato et al. 2018, arXiv 1706.10295).

Every weight varies at random around a learnt mean by a learnt amount. The noise is factorised: a
layer takes one number per input and one per output, and all layers of a network take theirs, one
after the other, from one vector.

Legend: ... leading dimensions, I inputs and O outputs of a layer.
"""

from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear

Floats = NDArray[np.float32]


def draw_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Noise in numpy, to act by: ``sign(x) sqrt(|x|)`` of normal numbers."""
    x = rng.standard_normal(shape, dtype=np.float32)
    noise: Floats = np.copysign(np.sqrt(np.abs(x)), x)
    return noise


def noise_like(x: Tensor, width: int) -> Tensor:
    """The same [width] in torch, from its generator, of the dtype and on the device of ``x``."""
    normal = torch.randn(width, dtype=x.dtype, device=x.device)
    return normal.abs().sqrt_().copysign_(normal)


class NoisyLinear(nn.Module):
    """A layer ``y = (w + sigma_w * e_out e_in^T) x + b + sigma_b * e_out`` (sections 3 and 3.2).

    Args:
        fan_in: I.
        fan_out: O.
        sigma0: how much the weights vary at first; divided by sqrt(I).
    """

    def __init__(self, fan_in: int, fan_out: int, sigma0: float) -> None:
        super().__init__()
        bound = 1.0 / sqrt(fan_in)
        self.sizes = [fan_in, fan_out]
        self.weight = nn.Parameter(torch.empty(fan_out, fan_in).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(fan_out).uniform_(-bound, bound))
        self.weight_sigma = nn.Parameter(torch.full((fan_out, fan_in), sigma0 * bound))
        self.bias_sigma = nn.Parameter(torch.full((fan_out,), sigma0 * bound))

    @property
    def num_noise(self) -> int:
        """Random numbers that it takes: I + O."""
        return sum(self.sizes)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """[..., I] -> [..., O].

        Args:
            x: inputs.
            noise: [I + O] the same for all rows, or [..., I + O]; ``None`` takes the mean weights.
        """
        y: Tensor = linear(x, self.weight, self.bias)
        if noise is None:
            return y
        inner, outer = torch.split(noise, self.sizes, -1)
        return y + linear(x * inner, self.weight_sigma, self.bias_sigma) * outer
