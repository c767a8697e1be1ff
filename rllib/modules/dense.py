"""Fully connected layers on a CPU, by the faster of its two libraries.

torch multiplies float32 matrices by MKL, which is the fastest on Intel's processors, and leaves
half of what AMD's can do unused. oneDNN, which torch brings along for convolutions and other number
formats, does not; and it applies the activation on the way. Small layers stay with torch: calling
costs more than computing there.

Legend: ... leading dimensions, B rows, I inputs, O outputs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import linear

WORTH = 1 << 22
"""Multiplications from which on it pays: those of 64 rows through a layer of 256 x 256."""

ONEDNN: Callable[..., Tensor] | None = (
    torch.ops.mkldnn._linear_pointwise.default
    if hasattr(torch.ops.mkldnn, "_linear_pointwise")
    else None
)


def _is_of_intel() -> bool:
    """Whether the processor is; not known anywhere but on Linux."""
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text()[:1000]
    except OSError:
        return False


# By the maker and not by a measurement, so that a run is the same whenever it is made.
_FOR_FLOAT32 = None if _is_of_intel() else ONEDNN


def is_worth(x: Tensor, num_weights: int) -> bool:
    """Whether ``dense`` is faster than torch's own layer of I x O weights for inputs [..., I]."""
    return (
        not torch.compiler.is_exporting()  # a graph is to be right for any number of rows
        and x.numel() // x.shape[-1] * num_weights >= WORTH
        and _FOR_FLOAT32 is not None
        and bool(torch.backends.mkldnn.enabled)
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
    )


def dense(x: Tensor, weight: Tensor, bias: Tensor | None, *, relu: bool = False) -> Tensor:
    """``x weight^T + bias``, and nothing below 0 with ``relu``.

    Args:
        x: [..., I].
        weight: [O, I].
        bias: [O]; None for none, which has no gradients.
        relu: whether the rectifier follows.
    """
    if not is_worth(x, weight.numel()):
        y = linear(x, weight, bias)
        return y.relu() if relu else y
    rows = x.reshape(-1, x.shape[-1])
    if torch.is_grad_enabled() and bias is not None:
        out = cast(Tensor, _Dense.apply(rows, weight, bias, relu))  # type: ignore[no-untyped-call]
    else:
        out = _multiply(rows, weight, bias, relu)
    return out.reshape(*x.shape[:-1], len(weight))


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool = False) -> Tensor:
    """[B, O] of x [B, I] and weight [O, I]."""
    assert ONEDNN is not None, "asked only where there is oneDNN"
    return ONEDNN(x, weight, bias, "relu" if relu else "none", [], "")


def affine(x: Tensor, weight: Tensor, bias: Tensor, *, relu: bool) -> Tensor:
    """``dense`` of x [B, I] without gradients, where all are in one format and there is no
    autocast."""
    if _is_onednns(x, weight) or (relu and ONEDNN and x.dtype == torch.bfloat16):
        return _multiply(x, weight, bias, relu)
    y = torch.addmm(bias, x, weight.t())
    return y.relu_() if relu else y


def product(left: Tensor, right: Tensor) -> Tensor:
    """[B, O] of [B, I] and [I, O], likewise."""
    return _multiply(left, right.t(), None) if _is_onednns(left, right) else torch.mm(left, right)


def write_product(left: Tensor, right: Tensor, out: Tensor) -> None:
    """The same to where it belongs, in float32; at once where the library can."""
    if left.dtype == out.dtype and not _is_onednns(left, right):
        torch.mm(left, right, out=out)
    else:
        out.copy_(product(left, right))


def _is_onednns(left: Tensor, right: Tensor) -> bool:
    return (
        _FOR_FLOAT32 is not None
        and left.dtype == torch.float32
        and len(left) * right.numel() >= WORTH
    )


class _Dense(torch.autograd.Function):
    """The same with gradients: three products instead of one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
        y = _multiply(x, weight, bias, relu)
        ctx.save_for_backward(x, weight, y if relu else None)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        (gradient,), (x, weight, y) = gradients, ctx.saved_tensors
        if y is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, y, 0)
        wants_x, wants_weight, wants_bias, _ = ctx.needs_input_grad
        return (
            _multiply(gradient, weight.t(), None) if wants_x else None,
            _multiply(gradient.t(), x.t(), None) if wants_weight else None,
            gradient.sum(0) if wants_bias else None,
            None,
        )
