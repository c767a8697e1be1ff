"""The networks: a torch module with one forward for each of RLlib's three purposes.

Legend: B rows, D features of an encoded observation (``rllib.observations``).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import pairwise
from math import sqrt
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rllib.actions import action_head
from rllib.config_sections import ModelConfig
from rllib.distributions import distribution_for
from rllib.observations import observation_encoder

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "silu": nn.functional.silu,
    "linear": lambda x: x,
}


class ModuleOutput(NamedTuple):
    """What training needs of one forward: distribution inputs [B, inputs] and values [B]."""

    action_dist_inputs: Tensor
    values: Tensor


class RLModule(nn.Module, ABC):
    """Policy and value function over encoded observations.

    Args:
        observation_space: of a single environment.
        action_space: of a single environment.
        model: the networks' shape.
    """

    def __init__(
        self, observation_space: gym.Space[Any], action_space: gym.Space[Any], model: ModelConfig
    ) -> None:
        super().__init__()
        self.encoder_fn = observation_encoder(observation_space)
        self.head = action_head(action_space)
        self.distribution = distribution_for(action_space)

    @abstractmethod
    def forward_train(self, features: Tensor) -> ModuleOutput:
        """Distribution inputs and values for features [B, D], with gradients."""

    @abstractmethod
    def forward_inference(self, features: Tensor) -> Tensor:
        """Distribution inputs [B, inputs] to act greedily by."""

    def forward_exploration(self, features: Tensor) -> Tensor:
        """Distribution inputs [B, inputs] to sample from; by default those of inference."""
        return self.forward_inference(features)

    @abstractmethod
    def compute_values(self, features: Tensor) -> Tensor:
        """Values [B] alone."""

    @abstractmethod
    def policy_state(self) -> dict[str, Tensor]:
        """The part of the state dict that acting needs."""

    def encode(self, obs: NDArray[Any]) -> Tensor:
        """Features [B, D] of observations [B, ...] as environments return them."""
        return torch.from_numpy(np.ascontiguousarray(self.encoder_fn.encode(obs)))

    @torch.no_grad()
    def act(
        self, obs: NDArray[Any], rng: np.random.Generator | None = None, *, explore: bool = False
    ) -> NDArray[Any]:
        """Actions as the environment wants them, for observations [B, ...].

        Args:
            obs: observations as environments return them.
            rng: where the random numbers come from; needed to explore.
            explore: sample from the policy, instead of taking its most likely action.

        Raises:
            ValueError: exploring without ``rng``.
        """
        features = self.encode(obs)
        if not explore:
            return self.head.to_env(self.head.mode(self.forward_inference(features).numpy()))
        if rng is None:
            raise ValueError("act(explore=True) draws random numbers; pass rng=Generator")
        noise = self.head.draw_noise(rng, (len(obs),))
        inputs = self.forward_exploration(features).numpy()
        return self.head.to_env(self.head.sample(inputs, noise))


class MLPModule(RLModule):
    """Fully connected layers; ``rllib.policy.MLPPolicy`` is its policy half in numpy.

    Weights are orthogonal with gain sqrt(2), the policy's output 0.01, the value's 1, biases 0, as
    in "The 37 Implementation Details of PPO" (Huang et al. 2022).
    """

    def __init__(
        self, observation_space: gym.Space[Any], action_space: gym.Space[Any], model: ModelConfig
    ) -> None:
        super().__init__(observation_space, action_space, model)
        widths = (self.encoder_fn.size, *model.fcnet_hiddens)
        self.activation = ACTIVATIONS[model.fcnet_activation]
        self.log_std_limit = model.log_std_clip_param
        self.continuous = isinstance(action_space, gym.spaces.Box)
        free_log_std = self.continuous and model.free_log_std
        num_outputs = self.head.num_inputs // 2 if free_log_std else self.head.num_inputs
        self.encoder = _layers(widths)
        self.critic_encoder = None if model.vf_share_layers else _layers(widths)
        self.pi = _linear(widths[-1], num_outputs, gain=0.01)
        self.vf = _linear(widths[-1], 1, gain=1.0)
        self.log_std = nn.Parameter(torch.zeros(num_outputs)) if free_log_std else None

    def forward_train(self, features: Tensor) -> ModuleOutput:
        """Distribution inputs and values for features [B, D], with gradients."""
        hidden = self._encode(self.encoder, features)
        critic = hidden if self.critic_encoder is None else None
        return ModuleOutput(self._dist_inputs(hidden), self._values(features, critic))

    def forward_inference(self, features: Tensor) -> Tensor:
        """Distribution inputs [B, inputs]."""
        return self._dist_inputs(self._encode(self.encoder, features))

    def compute_values(self, features: Tensor) -> Tensor:
        """Values [B] alone."""
        return self._values(features, None)

    def policy_state(self) -> dict[str, Tensor]:
        """Everything but the value function."""
        return {
            name: tensor
            for name, tensor in self.state_dict().items()
            if not name.startswith(("vf.", "critic_encoder."))
        }

    def _encode(self, layers: nn.ModuleList, x: Tensor) -> Tensor:
        for layer in layers:
            x = self.activation(layer(x))
        return x

    def _values(self, features: Tensor, hidden: Tensor | None) -> Tensor:
        if hidden is None:
            hidden = self._encode(self.critic_encoder or self.encoder, features)
        values: Tensor = self.vf(hidden)
        return values.squeeze(-1)

    def _dist_inputs(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.pi(hidden)
        if not self.continuous:
            return out
        if self.log_std is not None:
            log_std = self.log_std.expand_as(out)
        else:
            out, log_std = out.chunk(2, -1)
        return torch.cat([out, log_std.clamp(-self.log_std_limit, self.log_std_limit)], -1)


def _layers(widths: tuple[int, ...]) -> nn.ModuleList:
    return nn.ModuleList([_linear(a, b, gain=sqrt(2)) for a, b in pairwise(widths)])


def _linear(fan_in: int, fan_out: int, gain: float) -> nn.Linear:
    layer = nn.Linear(fan_in, fan_out)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
