"""Fully connected layers on a CPU, by the faster of its two libraries.

torch multiplies float32 matrices by MKL, which leaves half of what AMD's processors can do unused.
oneDNN, which torch brings along for convolutions and other number formats, does not; and it applies
the activation on the way. Small layers stay with torch: calling costs more than computing there.

Legend: ... leading dimensions, B rows, I inputs, O outputs.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import linear

WORTH = 1 << 22
"""Multiplications from which on it pays: those of 64 rows through a layer of 256 x 256."""

_ONEDNN: Callable[..., Tensor] | None = (
    torch.ops.mkldnn._linear_pointwise if hasattr(torch.ops.mkldnn, "_linear_pointwise") else None
)


def is_worth(x: Tensor, num_weights: int) -> bool:
    """Whether ``dense`` is faster than torch's own layer of I x O weights for inputs [..., I]."""
    return (
        not torch.compiler.is_exporting()  # a graph is to be right for any number of rows
        and x.numel() // x.shape[-1] * num_weights >= WORTH
        and _ONEDNN is not None
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
    assert _ONEDNN is not None, "asked only where there is oneDNN"
    return _ONEDNN(x, weight, bias, "relu" if relu else "none", [], "")


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
