"""Action values of discrete actions: what DQN and its extensions train.

    obs -> encoder -> [memory] -> advantages [A, M] -.
                               '-> values [M] --------+-> values [A], or distributions of M atoms

Legend: ... leading dimensions: [B] rows, or [B, L] steps of sequences; A actions, M atoms of a
distribution of returns (1 where there is none).
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import gymnasium as gym
import torch
from numpy.typing import NDArray
from pydantic import PositiveInt
from torch import Tensor, nn

from rllib.actions import ActionHead, action_head
from rllib.columns import Columns
from rllib.config.model import ModelConfig
from rllib.config.types import Fraction, PositiveFloat, ScheduleOr, Sizes
from rllib.distributions import Distribution, distribution_for
from rllib.estimators.action_values import dueling, mean_return, support
from rllib.modules.networks import (
    ACTIVATIONS,
    MLP,
    Encoder,
    encoded_tensors,
    in_float32,
    is_chain,
    memory_for,
    output,
)
from rllib.modules.noisy import NoisyLinear, noise_like
from rllib.modules.observations import ObservationEncoder
from rllib.modules.rl_module import Batch, RLModule
from rllib.policies.mlp_policy import Layer, layers_of
from rllib.policies.policy import Policy
from rllib.policies.q_policy import QPolicy
from rllib.tensors import Tree


class QModelConfig(ModelConfig):
    """The shape of a Q-network, and how it is acted by."""

    dueling: bool = True
    """Whether state values and advantages have layers of their own."""
    hiddens: Sizes = (256,)
    """Widths of those layers, where ``head_fcnet_hiddens`` says nothing."""
    num_atoms: PositiveInt = 1
    """Atoms of the distributions of returns; 1 learns their means alone."""
    v_min: float = -10.0
    """The return that the first atom stands for."""
    v_max: float = 10.0
    """The return that the last atom stands for."""
    noisy: bool = False
    """Whether these layers are noisy."""
    sigma0: PositiveFloat = 0.5
    """How noisy they are at first."""
    epsilon: ScheduleOr[Fraction] = 0.0
    """Probability of an action at random while exploring."""


def q_shape(model_config: ModelConfig | Mapping[str, Any]) -> QModelConfig:
    """Any settings of networks as those of a Q-network, with the widths of both streams."""
    shape = QModelConfig().updated(model_config)
    hiddens = shape.head_fcnet_hiddens or shape.hiddens
    return shape.model_copy(update={"head_fcnet_hiddens": hiddens})


class Stream(nn.Module):
    """Layers from the features to outputs.

    Args:
        fan_in: width of the features.
        fan_out: of the outputs.
        shape: of the layers between.

    Attributes:
        noise_sizes: random numbers that each layer takes.
    """

    noise_sizes: Sequence[int] = ()

    def __init__(self, fan_in: int, fan_out: int, shape: QModelConfig) -> None:
        super().__init__()
        self.hidden = MLP(fan_in, shape, "head_fcnet")
        self.out = output(self.hidden.size, fan_out, gain=0.1)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """[..., fan_in] -> [..., fan_out]."""
        out: Tensor = self.out(self.hidden(x))
        return out


class NoisyStream(nn.Module):
    """The same of noisy layers."""

    def __init__(self, fan_in: int, fan_out: int, shape: QModelConfig) -> None:
        super().__init__()
        sizes = [*pairwise((fan_in, *shape.head_fcnet_hiddens, fan_out))]
        self.layers = nn.ModuleList([NoisyLinear(*size, shape.sigma0) for size in sizes])
        self.activation = ACTIVATIONS[shape.head_fcnet_activation]
        self.noise_sizes = [sum(size) for size in sizes]

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """[..., fan_in] -> [..., fan_out], with noise [..., sum of noise_sizes] if there is any."""
        parts: Sequence[Tensor | None] = [None] * len(self.layers)
        if noise is not None:
            parts = torch.split(noise, self.noise_sizes, -1)
        *hidden, (out, last) = zip(self.layers, parts, strict=True)
        for layer, part in hidden:
            x = self.activation(layer(x, part))
        return in_float32(lambda features: out(features, last), x)


class QNetwork(nn.Module):
    """Encoder, memory, and one or two streams.

    Args:
        observations: what it reads.
        shape: of the layers.
        num_actions: A.
    """

    def __init__(
        self, observations: ObservationEncoder, shape: QModelConfig, num_actions: int
    ) -> None:
        super().__init__()
        self.encoder = Encoder(observations, shape)
        self.memory = memory_for(self.encoder.size, shape)
        width = self.encoder.size if self.memory is None else self.memory.size
        self.outputs = (num_actions, shape.num_atoms)
        kind = NoisyStream if shape.noisy else Stream
        self.advantages = kind(width, num_actions * shape.num_atoms, shape)
        self.values = kind(width, shape.num_atoms, shape) if shape.dueling else None
        streams = [self.advantages] + ([self.values] if self.values else [])
        self.noise_sizes = [sum(stream.noise_sizes) for stream in streams]

    def forward(
        self, obs: Tree, state: dict[str, Tensor] | None, noise: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """[..., A, M] and the memory's next state.

        Args:
            obs: what the observation encoder made, as tensors.
            state: of the memory, if there is one.
            noise: [..., sum of noise_sizes].
        """
        hidden, after = self.encoder(obs), {}
        if self.memory is not None:
            assert state is not None, "a module with memory is given its state"
            hidden, after = self.memory(hidden, state)
        parts = [None, None] if noise is None else torch.split(noise, self.noise_sizes, -1)
        outputs = self.advantages(hidden, parts[0])
        if self.values is not None:
            rows = outputs.reshape(-1, *self.outputs)
            values = self.values(hidden, parts[1]).reshape(rows.shape[0], -1)
            outputs = dueling(values, rows)
        return outputs.reshape(*hidden.shape[:-1], *self.outputs), after


class QModule(RLModule):
    """A Q-network and its target network, for Discrete actions.

    Forwards give ``action_dist_inputs`` [..., A], the action values, of which those that the
    observation's mask forbids are very small; and ``qf_logits`` [..., A, M] where returns have
    distributions.
    """

    has_model_config = True

    atoms: Tensor

    @cached_property
    def shape(self) -> QModelConfig:
        """The settings of the networks."""
        return q_shape(self.model_config)

    def make_head(self) -> ActionHead:
        """By the largest value, or at random."""
        return action_head(self.action_space, "epsilon_greedy", epsilon=self.shape.epsilon)

    def make_distribution(self) -> Distribution:
        """The same in torch."""
        return distribution_for(self.action_space, "epsilon_greedy", epsilon=self.shape.epsilon)

    def setup(self) -> None:
        """Make the networks; the target network begins as a copy."""
        shape = self.shape
        self.observations = ObservationEncoder(self.observation_space, shape)
        self.q = QNetwork(self.observations, shape, self.head.num_inputs)
        self.target_q = None if self.inference_only else deepcopy(self.q)
        atoms = support(shape.v_min, shape.v_max, shape.num_atoms)
        self.register_buffer("atoms", atoms, persistent=False)

    @property
    def num_noise(self) -> int:
        """Random numbers per row that the noisy layers take."""
        return sum(self.q.noise_sizes)

    def encode(self, obs: NDArray[Any]) -> Tree:
        """Features [..., D], or a dict of features, images and action mask.

        For a subclass with a forward of its own observations as they are, by part.
        """
        if not self._is_read_as(QModule):
            return super().encode(obs)
        return encoded_tensors(self.observations, obs)

    def get_initial_state(self) -> dict[str, Tensor]:
        """Zeros for every part of the memory's state."""
        return {} if self.q.memory is None else self.q.memory.initial_state()

    def policy_state(self) -> dict[str, Tensor]:
        """Everything but the target network."""
        state = self.state_dict()
        return {name: part for name, part in state.items() if name.startswith("q.")}

    def _forward(self, batch: Batch, **kwargs: Any) -> Batch:
        return self._outputs(self.q, batch, batch.get(Columns.NOISE))

    def _forward_train(self, batch: Batch, **kwargs: Any) -> Batch:
        return self._outputs(self.q, batch, self._fresh_noise())

    def forward_target(self, batch: Batch) -> Batch:
        """The same by the target network."""
        assert self.target_q is not None, "a module made to act has no target network"
        mask = self._mask_of(batch)
        return self._masked(mask, self._outputs(self.target_q, batch, self._fresh_noise()))

    def _fresh_noise(self) -> Tensor | None:
        """New noise for every forward in training, the same for all its rows."""
        return noise_like(self.atoms, self.num_noise) if self.num_noise else None

    def _outputs(self, network: QNetwork, batch: Batch, noise: Tensor | None) -> Batch:
        outputs, state = network(batch[Columns.OBS], batch.get(Columns.STATE_IN), noise)
        found = {Columns.STATE_OUT: state} if state else {}
        if self.shape.num_atoms == 1:
            return found | {Columns.ACTION_DIST_INPUTS: outputs.squeeze(-1)}
        values = mean_return(outputs, self.atoms)
        return found | {Columns.ACTION_DIST_INPUTS: values, Columns.QF_LOGITS: outputs}

    @classmethod
    def make_policy(
        cls,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        model_config: ModelConfig | Mapping[str, Any],
    ) -> Policy:
        """In numpy where there are only fully connected layers, else in torch."""
        shape = q_shape(model_config)
        observations = ObservationEncoder(observation_space, shape)
        if cls is not QModule or observations.images or not is_chain(shape):
            return super().make_policy(observation_space, action_space, model_config)
        return QPolicy(
            observations,
            action_head(action_space, "epsilon_greedy", epsilon=shape.epsilon),
            layers_of("q.encoder.mlp", shape.fcnet_hiddens, shape.fcnet_activation),
            _stream_layers("q.advantages", shape),
            _stream_layers("q.values", shape) if shape.dueling else None,
            support(shape.v_min, shape.v_max, shape.num_atoms).numpy(),
        )


class Predicted(NamedTuple):
    """Action values [..., A], and the logits [..., A, M] of their distributions or ``None``."""

    values: Tensor
    logits: Tensor | None

    def at(self, *index: Tensor) -> "Predicted":
        """Some of the leading places."""
        return Predicted(self.values[index], None if self.logits is None else self.logits[index])


def predicted(output: Batch) -> Predicted:
    """What a forward of a Q-module says."""
    return Predicted(output[Columns.ACTION_DIST_INPUTS], output.get(Columns.QF_LOGITS))


def _stream_layers(name: str, shape: QModelConfig) -> list[Layer]:
    """The layers of the stream that is called ``name`` in its module."""
    widths, activation = shape.head_fcnet_hiddens, shape.head_fcnet_activation
    if not shape.noisy:
        return [*layers_of(f"{name}.hidden", widths, activation), Layer(f"{name}.out", "linear")]
    return [*layers_of(name, widths, activation), Layer(f"{name}.layers.{len(widths)}", "linear")]
