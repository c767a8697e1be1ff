"""Fully connected networks of some hundred units, forward and backward by hand.

Here it is the matrix products that take the time. By hand there are none that nobody needs, each is
by the faster library (see ``rllib.modules.dense``) or in 16 bits, and there is little between them.

Legend: B rows, I inputs, O outputs, K critics.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rllib.modules.critics import StackedCritics
from rllib.modules.dense import dense
from rllib.modules.networks import ACTIVATIONS, MLP

Backward = Callable[[Tensor, Tensor], Tensor]

BACKWARD: dict[str, Backward] = {
    "linear": lambda d, _: d,
    "relu": lambda d, y: torch.ops.aten.threshold_backward(d, y, 0),
    "tanh": torch.ops.aten.tanh_backward,
}
"""By activation: from the gradient of its result, and the result, to that of its argument."""


class WideLayer(NamedTuple):
    """Views of weights [O, I], biases [O] and their gradients; and the activation's name."""

    weight: Tensor
    bias: Tensor
    of_weight: Tensor
    of_bias: Tensor
    activation: str

    def forward(self, x: Tensor) -> Tensor:
        """[B, O] of [B, I], computed in the number format of ``x``."""
        is_relu = self.activation == "relu"
        y = dense(x, self.weight.to(x.dtype), self.bias.to(x.dtype), relu=is_relu)
        return y if is_relu else ACTIVATIONS[self.activation](y)

    def train(self, gradient: Tensor, x: Tensor) -> None:
        """Write the parameters' gradients, from that of the argument of the activation."""
        self.of_weight.copy_(_product(gradient.t(), x))
        torch.sum(gradient, 0, dtype=torch.float32, out=self.of_bias)


def _product(left: Tensor, right: Tensor) -> Tensor:
    return dense(left, right.t(), None)


class WideChain:
    """Layers, one after the other; the last one computes in float32.

    Args:
        layers: at least one, whose parameters stay where they are from here on.
        dtype: in which the others compute.
    """

    def __init__(self, layers: Iterable[WideLayer], dtype: torch.dtype = torch.float32) -> None:
        self.layers = list(layers)
        self.dtypes = [dtype] * (len(self.layers) - 1) + [torch.float32]

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """[B, O] of [B, I]."""
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        for layer, dtype in zip(self.layers, self.dtypes, strict=True):
            self.inputs.append(x.to(dtype))
            x = layer.forward(self.inputs[-1])
            self.outputs.append(x)
        return x

    @torch.no_grad()
    def backward(self, gradient: Tensor, *, trains: bool = True) -> Tensor | None:
        """From that of the latest outputs [B, O] to those of the parameters, which are overwritten.

        Args:
            gradient: in float32.
            trains: otherwise to that of the inputs [B, I], which is returned, and no others.
        """
        for i in range(len(self.layers) - 1, -1, -1):
            layer, x = self.layers[i], self.inputs[i]
            gradient = BACKWARD[layer.activation](gradient.to(x.dtype), self.outputs[i])
            if trains:
                layer.train(gradient, x)
            if i or not trains:
                gradient = _product(gradient, layer.weight.to(x.dtype))
        return None if trains else gradient.float()


def actor_layers(stacks: Sequence[MLP], names: Sequence[str], last: nn.Linear) -> list[WideLayer]:
    """Of stacks whose activations have these names, and of a linear one after them."""
    found = [
        _of_linear(layer, name)
        for stack, name in zip(stacks, names, strict=True)
        for layer in stack.layers
    ]
    return [*found, _of_linear(last, "linear")]


def _of_linear(layer: Any, activation: str) -> WideLayer:
    weight, bias = layer.weight, layer.bias
    return WideLayer(weight.detach(), bias.detach(), weight.grad, bias.grad, activation)


def critic_layers(critics: StackedCritics) -> list[list[WideLayer]]:
    """Of each of the K critics; target networks, which are not trained, have no gradients."""
    each = zip(critics.weights, critics.biases, critics.activations, strict=True)
    stacks = [_of_stack(weight, bias, name) for weight, bias, name in each]
    return [list(layers) for layers in zip(*stacks, strict=True)]


def _of_stack(weights: nn.Parameter, biases: nn.Parameter, activation: str) -> list[WideLayer]:
    of_weights = weights if weights.grad is None else weights.grad
    of_biases = biases if biases.grad is None else biases.grad
    parts = (weights.detach(), biases.detach()[:, 0], of_weights.detach(), of_biases.detach()[:, 0])
    return [WideLayer(*part, activation) for part in zip(*parts, strict=True)]


class WideCritics:
    """K critics that read the same.

    Args:
        critics: with the weights.
        dtype: in which all layers but the last compute.
    """

    def __init__(self, critics: StackedCritics, dtype: torch.dtype) -> None:
        self.chains = [WideChain(layers, dtype) for layers in critic_layers(critics)]

    def forward(self, x: Tensor) -> Tensor:
        """[K, B] values of observations and actions [B, I]."""
        return torch.stack([chain.forward(x)[:, 0] for chain in self.chains])

    def train(self, of_values: Tensor) -> None:
        """From the gradient of the latest values [K, B] to those of the parameters."""
        for chain, gradient in zip(self.chains, of_values, strict=True):
            chain.backward(gradient[:, None])

    def of_inputs(self, of_values: Tensor) -> Tensor:
        """From the gradient of the latest values [K, B] to that of what was read [B, I]."""
        chains = zip(self.chains, of_values, strict=True)
        parts = [chain.backward(gradient[:, None], trains=False) for chain, gradient in chains]
        return torch.stack([part for part in parts if part is not None]).sum(0)
