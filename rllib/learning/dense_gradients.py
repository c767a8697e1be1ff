"""Small fully connected networks, forward and backward by hand.

For layers of some dozen units autograd takes longer than the arithmetic: it keeps a node for every
operation, and each one makes its result anew. Here a layer is one matrix product forward and two
backward, into buffers that stay.

Legend: B rows, I inputs, O outputs, A actions or action dimensions.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rllib.modules.actor_critic import ActorCriticModule
from rllib.modules.dense import WORTH
from rllib.modules.networks import ACTIVATIONS, MLP

Floats = NDArray[np.float32]
Backward = Callable[[Tensor, Tensor], object]

_BACKWARD: dict[Any, Backward | None] = {
    ACTIVATIONS["linear"]: None,
    ACTIVATIONS["tanh"]: lambda d, y: torch.ops.aten.tanh_backward.grad_input(d, y, grad_input=d),
    ACTIVATIONS["relu"]: lambda d, y: torch.ops.aten.threshold_backward.grad_input(
        d, y, 0, grad_input=d
    ),
}
"""By activation: from the gradient of its result to that of its argument, in place."""


def _tanh_(x: Tensor) -> None:
    """By numpy, which takes a sixth of torch's time for it and errs by as little (6e-8)."""
    np.tanh(x.numpy(), out=x.numpy())


_IN_PLACE: dict[Any, Callable[[Tensor], object]] = {
    ACTIVATIONS["tanh"]: _tanh_,
    ACTIVATIONS["relu"]: torch.relu_,
}


class DenseChain:
    """Layers of a module, one after the other; gradients go to their parameters' ``grad``.

    Args:
        layers: at least one.
        activations: what follows each of them: functions out of ``networks.ACTIVATIONS``.
    """

    def __init__(self, layers: Sequence[nn.Linear], activations: Sequence[Any]) -> None:
        self.layers, self.activations = list(layers), list(activations)
        self.inputs = torch.empty(0, layers[0].in_features)
        self._reserve(0)

    def _reserve(self, num_rows: int) -> None:
        widths = [layer.out_features for layer in self.layers]
        self.outputs = [torch.empty(num_rows, width) for width in widths]
        self.gradients = [torch.empty(num_rows, width) for width in widths[:-1]]

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """[B, O] of [B, I]; valid until the next call."""
        if len(x) > len(self.outputs[0]):
            self._reserve(len(x))
        self.inputs = x
        for layer, activation, buffer in zip(
            self.layers, self.activations, self.outputs, strict=True
        ):
            x = torch.addmm(layer.bias, x, layer.weight.t(), out=buffer[: len(x)])
            if activation in _IN_PLACE:
                _IN_PLACE[activation](x)
        return x

    @torch.no_grad()
    def backward(self, gradient: Tensor, *, of_inputs: bool = False) -> Tensor | None:
        """From that of the outputs [B, O] to those of the parameters; all are overwritten.

        Returns:
            That of the inputs [B, I], if ``of_inputs``.
        """
        num_rows = len(gradient)
        xs = [self.inputs, *(each[:num_rows] for each in self.outputs)]
        for i in range(len(self.layers) - 1, -1, -1):
            layer, backward = self.layers[i], _BACKWARD[self.activations[i]]
            if backward is not None:
                backward(gradient, xs[i + 1])
            assert layer.weight.grad is not None
            assert layer.bias.grad is not None
            torch.mm(gradient.t(), xs[i], out=layer.weight.grad)
            torch.sum(gradient, 0, out=layer.bias.grad)
            if i:
                gradient = torch.mm(gradient, layer.weight, out=self.gradients[i - 1][:num_rows])
        return torch.mm(gradient, self.layers[0].weight) if of_inputs else None


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
        values: Floats = self.critic.forward(features).numpy()[:, 0]
        return self.forward_policy(features), values

    def forward_policy(self, features: Tensor) -> Floats:
        """The distribution inputs alone."""
        out: Floats = self.policy.forward(features).numpy()
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
        self.policy.backward(torch.from_numpy(np.ascontiguousarray(of_inputs)))
        self.critic.backward(torch.from_numpy(of_values[:, None]))

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
        and max(parameter.numel() for parameter in parameters) * num_rows < WORTH
    )


def _is_trained_here(parameter: nn.Parameter) -> bool:
    return parameter.grad is not None and parameter.device.type == "cpu"


def chain(stacks: Sequence[MLP], last: nn.Linear) -> DenseChain:
    """The layers of some stacks, and a linear one."""
    pairs = [(layer, stack.activation) for stack in stacks for layer in stack.layers]
    layers, activations = zip(*pairs, (last, ACTIVATIONS["linear"]), strict=True)
    return DenseChain(layers, activations)
