"""Fully connected networks of some hundred units, forward and backward by hand.

Here it is the matrix products that take the time. By hand there are none that nobody needs, and
each is by the faster library (see ``rllib.modules.dense``) or in 16 bits, with little in between.

Legend: B rows, R of them with a gradient, I inputs, O outputs, K networks.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rllib.learning.dense_gradients import BACKWARD
from rllib.modules.critics import StackedCritics
from rllib.modules.dense import affine, product, write_product
from rllib.modules.networks import ACTIVATIONS, MLP


class Parameters(NamedTuple):
    """Of a layer, in float32: views of weights [O, I], biases [O] and their gradients; and the
    activation's name."""

    weight: Tensor
    bias: Tensor
    of_weight: Tensor
    of_bias: Tensor
    activation: str


class WideLayer:
    """A layer that computes in one number format.

    Args:
        parameters: stay where they are from here on.
        dtype: of what it reads and gives.

    Attributes:
        weight: [O, I] in that format; unless it is float32, as ``WideChain.refresh`` left it.
        bias: [O] likewise.
    """

    def __init__(self, parameters: Parameters, dtype: torch.dtype) -> None:
        self.weight, self.bias = parameters.weight.to(dtype), parameters.bias.to(dtype)
        self.of_weight, self.of_bias = parameters.of_weight, parameters.of_bias
        self.dtype, self.is_relu = dtype, parameters.activation == "relu"
        self.activate = ACTIVATIONS[parameters.activation]
        self.backward = BACKWARD[parameters.activation]

    def forward(self, x: Tensor) -> Tensor:
        """[B, O] of [B, I]."""
        y = affine(x, self.weight, self.bias, relu=self.is_relu)
        return y if self.is_relu else self.activate(y)

    def train(self, gradient: Tensor, x: Tensor) -> None:
        """Write the parameters' gradients, from that of the argument of the activation."""
        write_product(gradient.t(), x, self.of_weight)
        torch.sum(gradient, 0, dtype=torch.float32, out=self.of_bias)


class _ChainPass(NamedTuple):
    """What a way forward through layers leaves for the way back.

    Attributes:
        inputs: of each layer [B, I], in its format.
        outputs: of each [B, O]; the last ones are the network's.
    """

    layers: list[WideLayer]
    inputs: list[Tensor]
    outputs: list[Tensor]

    def backward(self, gradient: Tensor, num_trained: int) -> Tensor:
        """See ``WidePass``: of one network, from [R, O]."""
        num_rows = len(gradient)
        for i in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[i]
            outputs = self.outputs[i][:num_rows]
            gradient = layer.backward(_in(layer.dtype, gradient), outputs)
            layer.train(gradient[:num_trained], self.inputs[i][:num_trained])
            gradient = product(gradient if i else gradient[num_trained:], layer.weight)
        return gradient.float()


def _in(dtype: torch.dtype, x: Tensor) -> Tensor:
    return x if x.dtype == dtype else x.to(dtype)


class WideChain:
    """Layers, one after the other; the last one computes in float32.

    Args:
        layers: at least one.
        dtype: in which the others compute.
    """

    def __init__(self, layers: Iterable[Parameters], dtype: torch.dtype) -> None:
        *hidden, last = layers
        self.layers = [*(WideLayer(each, dtype) for each in hidden), WideLayer(last, torch.float32)]
        sources = [each for layer in hidden for each in (layer.weight, layer.bias)]
        copies = [each for layer in self.layers[:-1] for each in (layer.weight, layer.bias)]
        self._copies, self._sources = (copies, sources) if dtype != torch.float32 else ([], [])

    def refresh(self) -> None:
        """Look at the parameters anew, which an optimiser may have changed since."""
        if self._copies:
            torch._foreach_copy_(self._copies, self._sources)

    def forward(self, x: Tensor) -> _ChainPass:
        """Of [B, I]."""
        inputs, outputs = [], []
        for layer in self.layers:
            inputs.append(x := _in(layer.dtype, x))
            x = layer.forward(x)
            outputs.append(x)
        return _ChainPass(self.layers, inputs, outputs)


def actor_layers(stacks: Sequence[MLP], names: Sequence[str], last: nn.Linear) -> list[Parameters]:
    """Of stacks whose activations have these names, and of a linear one after them."""
    found = [
        _of_linear(layer, name)
        for stack, name in zip(stacks, names, strict=True)
        for layer in stack.layers
    ]
    return [*found, _of_linear(last, "linear")]


def _of_linear(layer: Any, activation: str) -> Parameters:
    weight, bias = layer.weight, layer.bias
    return Parameters(weight.detach(), bias.detach(), weight.grad, bias.grad, activation)


def critic_layers(critics: StackedCritics) -> list[list[Parameters]]:
    """Of each of the K critics; target networks, which are not trained, have no gradients."""
    each = zip(critics.weights, critics.biases, critics.activations, strict=True)
    stacks = [_of_stack(weight, bias, name) for weight, bias, name in each]
    return [list(layers) for layers in zip(*stacks, strict=True)]


def _of_stack(weights: nn.Parameter, biases: nn.Parameter, activation: str) -> list[Parameters]:
    of_weights = weights if weights.grad is None else weights.grad
    of_biases = biases if biases.grad is None else biases.grad
    parts = (weights.detach(), biases.detach()[:, 0], of_weights.detach(), of_biases.detach()[:, 0])
    return [Parameters(*part, activation) for part in zip(*parts, strict=True)]


class WidePass(NamedTuple):
    """What K networks made of the same rows.

    Attributes:
        outputs: [K, B, O].
    """

    outputs: Tensor
    passes: list[_ChainPass]

    def backward(self, gradient: Tensor, num_trained: int) -> Tensor:
        """From the gradient [K, R, O] of the outputs of the first R rows.

        Args:
            gradient: may be changed.
            num_trained: rows, the first ones, by which those of the parameters are overwritten.

        Returns:
            That of the inputs of the other rows, a sum over the networks: [R - num_trained, I] in
            float32.
        """
        first, *others = (
            each.backward(of_outputs, num_trained)
            for each, of_outputs in zip(self.passes, gradient, strict=True)
        )
        return sum(others, first)


class WideNetworks:
    """K networks, which read the same, one after the other.

    Args:
        layers: of each network; the last one computes in float32.
        dtype: in which the others compute.
    """

    def __init__(self, layers: Sequence[Sequence[Parameters]], dtype: torch.dtype) -> None:
        self.chains = [WideChain(each, dtype) for each in layers]

    def refresh(self) -> None:
        """Look at the parameters anew, which an optimiser may have changed since."""
        for chain in self.chains:
            chain.refresh()

    def forward(self, x: Tensor) -> WidePass:
        """Of [B, I]; valid until the next call."""
        passes = [chain.forward(x) for chain in self.chains]
        return WidePass(torch.stack([each.outputs[-1] for each in passes]), passes)
