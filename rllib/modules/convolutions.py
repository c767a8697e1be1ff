"""Convolutions over images of bytes in bfloat16, by what was compiled at installation.

torch's library computes the same; what is compiled reads the bytes as they are, knows that there is
nothing between the layers but rectifiers, and takes half the time.

Legend: B rows, C channels, H x W pixels, D features.
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from rllib import kernels


class Convolutions:
    """Layers of an encoder of images, each with a rectifier after it.

    Args:
        layers: convolutions without padding.
        shape: of an image, [C, H, W] or [H, W, C].
        channels_last: whether it is the latter.

    Attributes:
        in_16_bits: whether they compute in bfloat16 even if nothing else does (``autocast``).
        num_threads: that they may have; the numbers are the same.
    """

    def __init__(
        self, layers: Sequence[nn.Conv2d], shape: tuple[int, ...], *, channels_last: bool
    ) -> None:
        self.layers, self.shape, self.channels_last = layers, shape, channels_last
        self.in_16_bits, self.num_threads = False, 1
        self._kernel: kernels.ConvKernel | None = None

    def can_do(self, images: Tensor) -> bool:
        """Whether these are for them, with the settings as they are."""
        return (
            images.dtype == torch.uint8
            and images.device.type == "cpu"
            and (self.in_16_bits or _is_autocast())
            and not torch.compiler.is_exporting()
            and len(self.layers) <= kernels.MOST_CONVS
            and kernels.has_conv()
        )

    def __call__(self, images: Tensor) -> Tensor:
        """[B, D] of [B, *shape]: what torch flattens of [B, O, height, width].

        It is in float32, of which each number is one that bfloat16 has, too.
        """
        parameters = [x for layer in self.layers for x in layer.parameters()]
        images, kernel = images.contiguous(), self._made()
        if torch.is_grad_enabled():
            out = _Convolve.apply(kernel, images, *parameters)  # type: ignore[no-untyped-call]
            return cast(Tensor, out)
        return torch.from_numpy(_forward(kernel, images, parameters, keep=False).features)

    def _made(self) -> kernels.ConvKernel:
        if self._kernel is None:
            layers = [_shape(each) for each in self.layers]
            self._kernel = kernels.ConvKernel(layers, self.shape, channels_last=self.channels_last)
        self._kernel.use_threads(self.num_threads)
        return self._kernel


def _is_autocast() -> bool:
    is_mixed = torch.is_autocast_enabled("cpu")
    return is_mixed and torch.get_autocast_dtype("cpu") == torch.bfloat16


def _shape(layer: nn.Conv2d) -> kernels.ConvLayer:
    height, width = layer.kernel_size
    return kernels.ConvLayer(
        layer.out_channels, (height, width), (layer.stride[0], layer.stride[1])
    )


def _forward(
    kernel: kernels.ConvKernel, images: Tensor, parameters: Iterable[Tensor], *, keep: bool
) -> kernels.ConvPass:
    arrays = [parameter.detach().contiguous().numpy() for parameter in parameters]
    pairs = zip(arrays[::2], arrays[1::2], strict=True)
    return kernel.forward(
        images.numpy(), [kernels.ConvParameters(*pair) for pair in pairs], keep=keep
    )


class _Kept:
    """What a graph has of a pass, until it is gone."""

    def __init__(self, kernel: kernels.ConvKernel, passed: kernels.ConvPass) -> None:
        self.kernel, self.passed = kernel, passed

    def __del__(self) -> None:
        if self.passed.results:
            self.kernel.give_back(self.passed)


class _Convolve(torch.autograd.Function):
    """The same with gradients of the parameters."""

    @staticmethod
    def forward(
        ctx: Any, kernel: kernels.ConvKernel, images: Tensor, *parameters: Tensor
    ) -> Tensor:
        passed = _forward(kernel, images, parameters, keep=any(ctx.needs_input_grad))
        ctx.kept = _Kept(kernel, passed)
        return torch.from_numpy(passed.features)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradients[0].contiguous().numpy()
        found = ctx.kept.kernel.backward(ctx.kept.passed, gradient)
        flat = [torch.from_numpy(array) for pair in found for array in pair]
        wanted = zip(flat, ctx.needs_input_grad[2:], strict=True)
        return None, None, *(x if is_wanted else None for x, is_wanted in wanted)
