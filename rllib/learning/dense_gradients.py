"""Small fully connected networks, forward and backward by hand.

For layers of some dozen units autograd takes longer than the arithmetic: it keeps a node for every
operation, and each one makes its result anew.

Legend: B rows, I inputs, O outputs, A actions or action dimensions.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rllib import kernels
from rllib.modules.actor_critic import ActorCriticModule
from rllib.modules.dense import WORTH
from rllib.modules.networks import ACTIVATIONS, MLP

WIDE = 1 << 26
"""Multiplications of 1,024 rows through a layer of 256 x 256: up to there what is compiled is the
faster one by a third or more, where vectors are wide and torch has a single thread."""

Floats = NDArray[np.float32]
Backward = Callable[[Tensor, Tensor], Tensor]
InPlace = Callable[[Tensor], object]

_NAMES = {ACTIVATIONS[name]: name for name in kernels.ACTIVATIONS}

BACKWARD: dict[str, Backward] = {
    "linear": lambda d, _: d,
    "tanh": lambda d, y: torch.ops.aten.tanh_backward.grad_input(d, y, grad_input=d),
    "relu": lambda d, y: torch.ops.aten.threshold_backward.grad_input(d, y, 0, grad_input=d),
}
"""By activation: from the gradient of its result, and the result, to that of its argument, in
its place."""
_BACKWARD = {ACTIVATIONS[name]: backward for name, backward in BACKWARD.items()}


def _tanh_(x: Tensor) -> None:
    """By numpy, which takes a sixth of torch's time for it and errs by as little (6e-8)."""
    np.tanh(x.numpy(), out=x.numpy())


_IN_PLACE: dict[Any, InPlace] = {
    ACTIVATIONS["tanh"]: _tanh_,
    ACTIVATIONS["relu"]: torch.relu_,
}


class DenseChain(Protocol):
    """Layers of a module, one after the other; gradients go to their parameters' ``grad``.

    Parameters must stay where they are from here on, as they do once an optimiser, or a target
    network, has made them views of its vector.
    """

    def forward(self, x: Floats) -> Floats:
        """[B, O] of [B, I]; valid until the next call."""

    def backward(self, gradient: Floats, *, of_inputs: bool = False) -> Floats | None:
        """From that of the latest outputs [B, O] to those of the parameters; all are overwritten.

        Returns:
            That of the inputs [B, I], if ``of_inputs``; valid until the next call.
        """


def dense_chain(layers: Sequence[nn.Linear], activations: Sequence[Any]) -> DenseChain:
    """The faster of those that there are on this machine.

    Args:
        layers: at least one.
        activations: what follows each of them: functions out of ``networks.ACTIVATIONS``.
    """
    return (CompiledChain if kernels.library() else TorchChain)(layers, activations)


class CompiledChain:
    """By what was compiled at installation: see ``rllib.kernels``."""

    def __init__(self, layers: Sequence[nn.Linear], activations: Sequence[Any]) -> None:
        pairs = zip(layers, activations, strict=True)
        self.kernel = kernels.DenseKernel([_compiled(*pair) for pair in pairs])

    def forward(self, x: Floats) -> Floats:
        """See ``DenseChain``."""
        self.kernel.load()
        return self.kernel.forward(x)

    def backward(self, gradient: Floats, *, of_inputs: bool = False) -> Floats | None:
        """See ``DenseChain``."""
        return self.kernel.backward(gradient, of_inputs=of_inputs)


def _compiled(layer: nn.Linear, activation: Any) -> kernels.DenseLayer:
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    if layer.weight.grad is None or layer.bias.grad is None:
        return kernels.DenseLayer(weight, bias, _NAMES[activation])
    of_weight, of_bias = layer.weight.grad.numpy(), layer.bias.grad.numpy()
    return kernels.DenseLayer(weight, bias, _NAMES[activation], of_weight, of_bias)


class _Layer(NamedTuple):
    """Views of a layer's parameters and of their gradients, all where the optimiser has them."""

    weight: Tensor
    transposed: Tensor
    bias: Tensor
    of_weight: Tensor
    of_bias: Tensor
    activate: InPlace | None
    backward: Backward


def _layer(layer: nn.Linear, activation: Any) -> _Layer:
    weight, bias = layer.weight, layer.bias
    of_weight = torch.empty(0) if weight.grad is None else weight.grad
    of_bias = torch.empty(0) if bias.grad is None else bias.grad
    data = weight.detach()
    passes = _IN_PLACE.get(activation), _BACKWARD[activation]
    return _Layer(data, data.t(), bias.detach(), of_weight, of_bias, *passes)


class _Buffers(NamedTuple):
    """For so many rows: what layers give [B, O], and gradients of what the later ones take."""

    outputs: list[Tensor]
    gradients: list[Tensor]


class TorchChain:
    """One matrix product a layer forward and two backward, into buffers that stay."""

    def __init__(self, layers: Sequence[nn.Linear], activations: Sequence[Any]) -> None:
        self.layers = [_layer(*each) for each in zip(layers, activations, strict=True)]
        self.inputs = torch.empty(0, layers[0].in_features)
        self._largest = self._new_buffers(0)
        self._buffers: dict[int, _Buffers] = {}

    def _new_buffers(self, num_rows: int) -> _Buffers:
        outputs = [torch.empty(num_rows, len(layer.bias)) for layer in self.layers]
        return _Buffers(outputs, [torch.empty_like(each) for each in outputs[:-1]])

    def _sized(self, num_rows: int) -> _Buffers:
        """Parts of the largest ones there have been, so that no two sizes are kept."""
        if num_rows > len(self._largest.outputs[0]):
            self._largest, self._buffers = self._new_buffers(num_rows), {}
        parts = _Buffers(*([each[:num_rows] for each in part] for part in self._largest))
        return self._buffers.setdefault(num_rows, parts)

    def forward(self, x: Floats) -> Floats:
        """See ``DenseChain``."""
        y = self.inputs = torch.from_numpy(x)
        self.buffers = self._buffers.get(len(x)) or self._sized(len(x))
        for layer, buffer in zip(self.layers, self.buffers.outputs, strict=True):
            torch.addmm(layer.bias, y, layer.transposed, out=buffer)
            if layer.activate is not None:
                layer.activate(buffer)
            y = buffer
        out: Floats = y.numpy()
        return out

    def backward(self, gradient: Floats, *, of_inputs: bool = False) -> Floats | None:
        """See ``DenseChain``."""
        outputs, gradients = self.buffers
        d = torch.from_numpy(np.ascontiguousarray(gradient))
        for i in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[i]
            layer.backward(d, outputs[i])
            torch.mm(d.t(), outputs[i - 1] if i else self.inputs, out=layer.of_weight)
            torch.sum(d, 0, out=layer.of_bias)
            if i:
                d = torch.mm(d, layer.weight, out=gradients[i - 1])
        return torch.mm(d, self.layers[0].weight).numpy() if of_inputs else None


class DenseActorCritic:
    """Policy and value function of an ``ActorCriticModule`` with layers of their own.

    Args:
        module: one for which ``is_dense`` says that it can be done.
    """

    def __init__(self, module: ActorCriticModule) -> None:
        critic = module.critic_encoder
        assert critic is not None, "is_dense has looked"
        self.policy = chain([module.encoder.mlp, module.pi_layers], module.pi)
        self.critic = chain([critic.mlp, module.vf_layers], module.vf)
        self.log_std, limits = module.log_std, module.limits
        self.limits = None if limits is None else limits.numpy()

    def forward(self, features: Tensor) -> tuple[Floats, Floats]:
        """Distribution inputs [B, num_inputs] and values [B]; valid until the next call."""
        values = self.critic.forward(features.numpy())[:, 0]
        return self.forward_policy(features), values

    def forward_policy(self, features: Tensor) -> Floats:
        """The distribution inputs alone."""
        out = self.policy.forward(features.numpy())
        if self.log_std is not None:
            out = np.concatenate([out, np.broadcast_to(self._own_log_std(), out.shape)], -1)
        self.raw = out
        return out if self.limits is None else np.clip(out, -self.limits, self.limits)

    @property
    def num_outputs(self) -> int:
        """Rows of the latest ``forward``."""
        return len(self.raw)

    def backward(self, of_inputs: Floats, of_values: Floats) -> None:
        """Of all parameters, from gradients of what ``forward`` gave."""
        if self.limits is not None:
            of_inputs = np.where(np.abs(self.raw) <= self.limits, of_inputs, np.float32(0.0))
        if self.log_std is not None:
            assert self.log_std.grad is not None, "is_dense has looked"
            of_inputs, of_log_std = np.split(of_inputs, 2, axis=-1)
            np.sum(of_log_std, axis=0, out=self.log_std.grad.numpy())
        self.policy.backward(of_inputs)
        self.critic.backward(of_values[:, None])

    def kernel_log_std(self) -> kernels.LogStd:
        """Of normal distributions, for a kernel."""
        limit = np.inf if self.limits is None else float(self.limits[-1])
        if self.log_std is None:
            return kernels.LogStd(limit)
        assert self.log_std.grad is not None, "is_dense has looked"
        return kernels.LogStd(limit, self._own_log_std(), self.log_std.grad.numpy())

    def _own_log_std(self) -> Floats:
        assert self.log_std is not None, "asked only where there is one"
        own: Floats = self.log_std.detach().numpy()
        return own


def is_dense(module: nn.Module, num_rows: int) -> bool:
    """Whether this is for a ``DenseActorCritic``, which is the faster one for so many rows."""
    if type(module) is not ActorCriticModule or module.critic_encoder is None:
        return False
    encoders = (module.encoder, module.critic_encoder)
    stacks = [*(each.mlp for each in encoders), module.pi_layers, module.vf_layers]
    return module.observations.is_flat and are_small(stacks, module, num_rows)


def are_small(stacks: Iterable[MLP], trained: nn.Module, num_rows: int) -> bool:
    """Whether layers can be done by hand, and are so small that it pays for so many rows."""
    parameters = list(trained.parameters())
    return (
        all(stack.activation in _BACKWARD and not stack.norms for stack in stacks)
        and all(_is_trained_here(parameter) for parameter in parameters)
        and max(parameter.numel() for parameter in parameters) * num_rows < _most()
    )


def _most() -> int:
    """Multiplications in a layer from which on autograd is the faster one."""
    return WIDE if kernels.is_wide() and torch.get_num_threads() == 1 else WORTH


def _is_trained_here(parameter: nn.Parameter) -> bool:
    return parameter.grad is not None and parameter.device.type == "cpu"


def chain(stacks: Sequence[MLP], last: nn.Linear) -> DenseChain:
    """The layers of some stacks, and a linear one."""
    pairs = [(layer, stack.activation) for stack in stacks for layer in stack.layers]
    layers, activations = zip(*pairs, (last, ACTIVATIONS["linear"]), strict=True)
    return dense_chain(layers, activations)
