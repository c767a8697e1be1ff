"""Action values Q(s, a) by several networks at once, of which the smallest is believed.

Networks of fully connected layers are stacked: one operation per layer computes them all.

Legend: B rows, D features, A numbers in an action, K critics, O outputs of a critic.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rllib.config.model import ModelConfig
from rllib.modules.dense import dense, is_worth
from rllib.modules.networks import ACTIVATIONS, MLP, Encoder, in_float32, is_chain, output
from rllib.modules.observations import FEATURES, ObservationEncoder
from rllib.tensors import Tree


def make_critics(
    observations: ObservationEncoder,
    model: ModelConfig,
    num_actions: int,
    num_outputs: int,
    num_critics: int,
) -> "StackedCritics | SeparateCritics":
    """K critics that differ by their weights.

    Args:
        observations: what they read.
        model: the shape of each; those of ``head_fcnet`` come after those of ``fcnet``.
        num_actions: A; 0 for critics that value each action by an output of its own.
        num_outputs: O.
        num_critics: K.
    """
    each = [Critic(observations, model, num_actions, num_outputs) for _ in range(num_critics)]
    is_fused = bool(num_actions) and model.fusionnet_hiddens is not None
    if observations.images or is_fused or not is_chain(model):
        return SeparateCritics(each)
    return StackedCritics(each, model)


class Critic(nn.Module):
    """One of them: encoder of observations and actions, hidden layers, outputs."""

    def __init__(
        self,
        observations: ObservationEncoder,
        model: ModelConfig,
        num_actions: int,
        num_outputs: int,
    ) -> None:
        super().__init__()
        fuses = bool(num_actions) and model.fusionnet_hiddens is not None
        self.encoder = (Streams if fuses else Beside)(observations, model, num_actions)
        self.hidden = MLP(self.encoder.size, model, "head_fcnet")
        self.out = output(self.hidden.size, num_outputs)

    def forward(self, obs: Tree, actions: Tensor | None) -> Tensor:
        """[B, O]."""
        values: Tensor = self.out(self.hidden(self.encoder(obs, actions)))
        return values


class Beside(Encoder):
    """Actions are read beside the features of observations."""

    def forward(self, obs: Tree, actions: Tensor | None = None) -> Tensor:
        """[B, size]."""
        return super().forward(with_actions(obs, actions))


class Streams(nn.Module):
    """Layers for observations, layers for actions, and layers that join the two."""

    def __init__(
        self, observations: ObservationEncoder, model: ModelConfig, num_actions: int
    ) -> None:
        super().__init__()
        self.obs = Encoder(observations, model)
        self.actions = MLP(num_actions, model, "fcnet")
        self.fusion = MLP(self.obs.size + self.actions.size, model, "fusionnet")
        self.size = self.fusion.size

    def forward(self, obs: Tree, actions: Tensor) -> Tensor:
        """[B, size]."""
        joined: Tensor = self.fusion(torch.cat([self.obs(obs), self.actions(actions)], -1))
        return joined


class SeparateCritics(nn.Module):
    """One after the other."""

    def __init__(self, each: list[Critic]) -> None:
        super().__init__()
        self.each = nn.ModuleList(each)

    def forward(self, obs: Tree, actions: Tensor | None, *, fixed: bool = False) -> Tensor:
        """[K, B, O]."""
        return torch.stack([critic(obs, actions) for critic in self.each])

    def first(self, obs: Tree, actions: Tensor | None) -> Tensor:
        """[B, O] of the first alone."""
        values: Tensor = self.each[0](obs, actions)
        return values


class StackedCritics(nn.Module):
    """All at once.

    Args:
        each: critics of fully connected layers, whose weights are taken over.
        model: their shape.
    """

    def __init__(self, each: list[Critic], model: ModelConfig) -> None:
        super().__init__()
        stacks = [*zip(*map(_chain, each), strict=True)]
        self.weights = nn.ParameterList([_stack(stack, "weight") for stack in stacks])
        self.biases = nn.ParameterList([_stack(stack, "bias").unsqueeze(1) for stack in stacks])
        first, later = len(model.fcnet_hiddens), len(model.head_fcnet_hiddens)
        names = [model.fcnet_activation] * first + [model.head_fcnet_activation] * later
        self.activations = [*names, "linear"]

    def forward(self, obs: Tree, actions: Tensor | None, *, fixed: bool = False) -> Tensor:
        """[K, B, O].

        Args:
            obs: as encoded.
            actions: [B, A].
            fixed: only actions are to get gradients, not weights; saves the time for those.
        """
        return self._values(obs, actions, len(self.biases[0]), fixed)

    def first(self, obs: Tree, actions: Tensor | None) -> Tensor:
        """[B, O] of the first alone, whose weights get no gradients."""
        return self._values(obs, actions, 1, True)[0]

    def _values(self, obs: Tree, actions: Tensor | None, count: int, fixed: bool) -> Tensor:
        """Of the first ``count``."""
        inputs = with_actions(obs, actions)
        inputs = inputs if isinstance(inputs, Tensor) else inputs[FEATURES]
        layers = [
            Layer(weight.detach(), bias.detach(), name) if fixed else Layer(weight, bias, name)
            for weight, bias, name in zip(self.weights, self.biases, self.activations, strict=True)
        ]
        widest = max(weight.shape[1] * weight.shape[2] for weight in self.weights)
        forward = _apart if is_worth(inputs, widest) else _together
        hidden = forward(inputs.expand(count, *inputs.shape), layers[:-1])
        return in_float32(lambda x: _together(x, layers[-1:]), hidden)


class Layer(NamedTuple):
    """Of K critics: weights [K, O, I], biases [K, 1, O], and the activation after them."""

    weight: Tensor
    bias: Tensor
    activation: str


def _together(x: Tensor, layers: Sequence[Layer]) -> Tensor:
    """[K, B, O] of [K, B, I], by one operation per layer: costs little where they are small."""
    count = len(x)
    for weight, bias, name in layers:
        x = torch.baddbmm(bias[:count], x, weight[:count].transpose(1, 2))
        x = ACTIVATIONS[name](x)
    return x


def _apart(x: Tensor, layers: Sequence[Layer]) -> Tensor:
    """[K, B, O] of [K, B, I], by the faster operation for single layers."""
    xs = [*x.unbind(0)]
    for weight, bias, name in layers:
        # Taken apart at once, so that their gradients are put together at once.
        parts = zip(weight.unbind(0), bias.squeeze(1).unbind(0), strict=True)
        is_relu = name == "relu"
        xs = [dense(x, *part, relu=is_relu) for x, part in zip(xs, parts, strict=False)]
        xs = xs if is_relu else [ACTIVATIONS[name](x) for x in xs]
    return torch.stack(xs)


def _chain(critic: Critic) -> list[Any]:
    """Its layers, in their order."""
    assert isinstance(critic.encoder, Beside), "others have more than one chain"
    return [*critic.encoder.mlp.layers, *critic.hidden.layers, critic.out]


def _stack(layers: tuple[nn.Linear, ...], name: str) -> Tensor:
    return torch.stack([getattr(layer, name).detach() for layer in layers])


def with_actions(obs: Tree, actions: Tensor | None) -> Any:
    """Observations, as encoded, and actions as further features."""
    if actions is None:
        return obs
    if isinstance(obs, Tensor):
        return torch.cat([obs, actions], -1)
    features = torch.cat([obs[FEATURES], actions], -1) if FEATURES in obs else actions
    return {**obs, FEATURES: features}
