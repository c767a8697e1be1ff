"""Action values Q(s, a) by several networks at once, of which the smallest is believed.

Networks of fully connected layers are stacked: one operation per layer computes them all.

Legend: B rows, D features, A numbers in an action, K critics, O outputs of a critic.
"""

from typing import Any

import torch
from torch import Tensor, nn

from rllib.config_model import ModelConfig
from rllib.networks import ACTIVATIONS, MLP, Encoder, is_chain, output
from rllib.observations import FEATURES, ObservationEncoder
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
    if observations.images or not is_chain(model):
        return SeparateCritics(each)
    return StackedCritics(each, model)


class Critic(nn.Module):
    """One of them: encoder, hidden layers, outputs; actions are read beside the observations."""

    def __init__(
        self,
        observations: ObservationEncoder,
        model: ModelConfig,
        num_actions: int,
        num_outputs: int,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(observations, model, num_actions)
        self.hidden = MLP(self.encoder.size, model, "head_fcnet")
        self.out = output(self.hidden.size, num_outputs)

    def forward(self, obs: Tree, actions: Tensor | None) -> Tensor:
        """[B, O]."""
        values: Tensor = self.out(self.hidden(self.encoder(with_actions(obs, actions))))
        return values


class SeparateCritics(nn.Module):
    """One after the other."""

    def __init__(self, each: list[Critic]) -> None:
        super().__init__()
        self.each = nn.ModuleList(each)

    def forward(self, obs: Tree, actions: Tensor | None) -> Tensor:
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
        layers: list[list[nn.Linear]] = [
            [*critic.encoder.mlp.layers, *critic.hidden.layers, critic.out] for critic in each
        ]
        stacks = [*zip(*layers, strict=True)]
        self.weights = nn.ParameterList([_stack(s, "weight").transpose(1, 2) for s in stacks])
        self.biases = nn.ParameterList([_stack(s, "bias").unsqueeze(1) for s in stacks])
        first, later = len(model.fcnet_hiddens), len(model.head_fcnet_hiddens)
        names = [model.fcnet_activation] * first + [model.head_fcnet_activation] * later
        self.activations = [ACTIVATIONS[name] for name in [*names, "linear"]]

    def forward(self, obs: Tree, actions: Tensor | None) -> Tensor:
        """[K, B, O]."""
        return self._values(obs, actions, len(self.biases[0]))

    def first(self, obs: Tree, actions: Tensor | None) -> Tensor:
        """[B, O] of the first alone."""
        return self._values(obs, actions, 1)[0]

    def _values(self, obs: Tree, actions: Tensor | None, count: int) -> Tensor:
        """Of the first ``count``."""
        inputs = with_actions(obs, actions)
        inputs = inputs if isinstance(inputs, Tensor) else inputs[FEATURES]
        x = inputs.expand(count, *inputs.shape)
        layers = zip(self.weights, self.biases, self.activations, strict=True)
        for weight, bias, activation in layers:
            x = activation(torch.baddbmm(bias[:count], x, weight[:count]))
        return x


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
