"""An actor and critics that value its actions: what SAC and TD3 train.

    obs -> actor -> action_dist_inputs
    obs, actions -> critics [K, B]            Discrete: obs -> critics [K, B, A]

With memory all of them read what that makes of the observations, instead of these:

    obs -> encoder -> memory -> embeddings [B, L, D]

The critics' loss trains it, as that of an encoder of images that is shared (Yarats et al. 2021,
arXiv 1910.01741), and the actor takes it as it is. So there is one memory, whose states are stored
and trained on as they were while acting.

Legend: B rows, L steps of sequences, D features, A actions, K critics.
"""

from collections.abc import Mapping
from copy import deepcopy
from functools import cached_property
from math import log
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from rllib.actions import ActionHead, Kind, action_head
from rllib.columns import Columns
from rllib.config.model import ModelConfig
from rllib.config.types import PositiveFloat, ScheduleOr
from rllib.distributions import Distribution, distribution_for
from rllib.errors import ConfigError
from rllib.modules.critics import make_critics
from rllib.modules.networks import (
    MLP,
    Encoder,
    Memory,
    as_encoded,
    encoded_tensors,
    is_chain,
    output,
)
from rllib.modules.observations import ObservationEncoder
from rllib.modules.rl_module import Batch, RLModule
from rllib.policies.mlp_policy import Layer, MLPPolicy, layers_of
from rllib.policies.policy import Policy
from rllib.tensors import Tree

TARGET_EMBEDDINGS = "target_embeddings"
"""What the target network of the memory makes of observations."""


class ActorQConfig(ModelConfig):
    """The shape of actor and critics, and how is acted."""

    twin_q: bool = True
    """Whether there are two critics."""
    initial_alpha: PositiveFloat = 1.0
    """SAC: weight of the entropy at first."""
    exploration_noise: ScheduleOr[NonNegativeFloat] = 0.1
    """TD3: standard deviation of the noise to explore with, in units of half the space's width."""


def actor_q_shape(model_config: ModelConfig | Mapping[str, Any]) -> ActorQConfig:
    """Any settings of networks as those of actor and critics."""
    return ActorQConfig().updated(model_config)


class Past(nn.Module):
    """Encoder and memory: what has been observed so far."""

    def __init__(self, observations: ObservationEncoder, model: ModelConfig) -> None:
        super().__init__()
        self.encoder = Encoder(observations, model)
        self.memory = Memory(self.encoder.size, model)
        self.size = self.memory.size

    def forward(self, batch: Batch) -> Batch:
        """Embeddings [B, L, D] of observations [B, L, ...], and the memory's next state."""
        hidden = self.encoder(batch[Columns.OBS])
        embeddings, state = self.memory(hidden, batch[Columns.STATE_IN])
        return {Columns.EMBEDDINGS: embeddings.float(), Columns.STATE_OUT: state}


class Actor(nn.Module):
    """Encoder, hidden layers, inputs of the action distribution."""

    def __init__(
        self, observations: ObservationEncoder, model: ModelConfig, num_outputs: int
    ) -> None:
        super().__init__()
        self.encoder = Encoder(observations, model)
        self.hidden = MLP(self.encoder.size, model, "head_fcnet")
        self.out = output(self.hidden.size, num_outputs, gain=0.01)

    def forward(self, obs: Tree) -> Tensor:
        """[B, inputs]."""
        inputs: Tensor = self.out(self.hidden(self.encoder(obs)))
        return inputs


class ActorQModule(RLModule):
    """An actor, its critics, and their target networks; for Box of floats, or Discrete.

    Attributes:
        kind: how the actor acts.
        has_target_actor: whether there is a target network of the actor as well.
    """

    has_model_config = True

    kind: ClassVar[Kind]
    has_target_actor: ClassVar[bool]

    @cached_property
    def shape(self) -> ActorQConfig:
        """The settings of the networks."""
        return actor_q_shape(self.model_config)

    @classmethod
    def _head(cls, action_space: gym.Space[Any], shape: ActorQConfig) -> ActionHead:
        is_float = isinstance(action_space, gym.spaces.Box) and action_space.dtype.kind == "f"
        takes_choices = cls.kind != "deterministic"
        if not (is_float or (takes_choices and isinstance(action_space, gym.spaces.Discrete))):
            wanted = "a Box of floats" + (", or Discrete" if takes_choices else "")
            raise ConfigError(
                f"action space {action_space} is not supported by critics, which need {wanted}. "
                "Wrap the environment so that it has one of these."
            )
        return action_head(action_space, cls.kind, noise_std=shape.exploration_noise)

    def make_head(self) -> ActionHead:
        """As ``kind`` says."""
        return self._head(self.action_space, self.shape)

    def make_distribution(self) -> Distribution:
        """The same in torch."""
        return distribution_for(self.action_space, self.kind)

    def setup(self) -> None:
        """Make the networks; target networks begin as copies."""
        shape = self.shape
        self.observations = self.reads = ObservationEncoder(self.observation_space, shape)
        self.is_discrete = isinstance(self.action_space, gym.spaces.Discrete)
        self.past: Past | None = None
        if shape.has_memory:
            self.past = Past(self.observations, shape)
            self.reads = ObservationEncoder(_embeddings_space(self.past), shape)
            shape = shape.model_copy(update={"use_lstm": False, "use_gru": False})
        self.pi = Actor(self.reads, shape, self.head.num_inputs)
        if not self.inference_only:
            self._make_critics(shape)

    def _make_critics(self, shape: ActorQConfig) -> None:
        num_actions = 0 if self.is_discrete else self.head.action_shape[0]
        num_outputs = self.head.num_inputs if self.is_discrete else 1
        num_critics = 2 if shape.twin_q else 1
        self.critics = make_critics(self.reads, shape, num_actions, num_outputs, num_critics)
        self.target_past = deepcopy(self.past)
        self.target_critics = deepcopy(self.critics)
        self.target_pi = deepcopy(self.pi) if self.has_target_actor else None
        self.log_alpha = nn.Parameter(torch.tensor([log(shape.initial_alpha)]))

    def encode(self, obs: NDArray[Any]) -> Tree:
        """Features [..., D], or a dict of features, images and action mask.

        For a subclass with a forward of its own observations as they are, by part.
        """
        if not self._is_read_as(ActorQModule):
            return super().encode(obs)
        return encoded_tensors(self.observations, obs)

    def get_initial_state(self) -> dict[str, Tensor]:
        """Zeros for every part of the memory's state."""
        past = self.get_past()
        return {} if past is None else past.memory.initial_state()

    def get_past(self, *, of_target: bool = False) -> Past | None:
        """The memory and what is before it, or its target network; also of a subclass that makes
        networks of its own and knows of none."""
        found: Past | None = getattr(self, "target_past" if of_target else "past", None)
        return found

    def policy_state(self) -> dict[str, Tensor]:
        """The actor and the memory."""
        state = self.state_dict()
        return {name: part for name, part in state.items() if name.startswith(("pi.", "past."))}

    def _forward(self, batch: Batch, **kwargs: Any) -> Batch:
        past = self.get_past()
        if past is None:
            return {Columns.ACTION_DIST_INPUTS: self.pi(batch[Columns.OBS])}
        found = batch if Columns.EMBEDDINGS in batch else past(batch)
        output = {Columns.ACTION_DIST_INPUTS: self.pi(found[Columns.EMBEDDINGS].detach())}
        return output if found is batch else output | {Columns.STATE_OUT: found[Columns.STATE_OUT]}

    def forward_target(self, batch: Batch) -> Batch:
        """The same by the actor's target network; with memory, of ``TARGET_EMBEDDINGS``."""
        assert self.target_pi is not None, "only with has_target_actor there is one"
        of = Columns.OBS if self.get_past() is None else TARGET_EMBEDDINGS
        output = {Columns.ACTION_DIST_INPUTS: self.target_pi(batch[of])}
        return self._masked(self._mask_of(batch), output)

    def compute_q(
        self, batch: Batch, actions: Tensor | None = None, *, fixed: bool = False
    ) -> Tensor:
        """[K, B] values of actions [B, A]; of Discrete ones, without any, [K, B, A] of all.

        Args:
            batch: inputs; with memory, rows of ``EMBEDDINGS`` are among them.
            actions: of Box spaces.
            fixed: only actions are to get gradients, not the critics' weights.
        """
        return self._of_actions(self.critics(self._features(batch), actions, fixed=fixed))

    def compute_first_q(self, batch: Batch, actions: Tensor) -> Tensor:
        """[B] by the first critic alone."""
        return self._of_actions(self.critics.first(self._features(batch), actions))

    def compute_target_q(self, batch: Batch, actions: Tensor | None = None) -> Tensor:
        """As ``compute_q``, by the target networks; with memory, of ``TARGET_EMBEDDINGS``."""
        features = self._features(batch, TARGET_EMBEDDINGS)
        return self._of_actions(self.target_critics(features, actions))

    def _features(self, batch: Batch, embeddings: str = Columns.EMBEDDINGS) -> Tree:
        if self.get_past() is None:
            return as_encoded(self.observations, batch[Columns.OBS])
        return as_encoded(self.reads, batch[embeddings])

    def _of_actions(self, outputs: Tensor) -> Tensor:
        return outputs if self.is_discrete else outputs.squeeze(-1)

    @classmethod
    def make_policy(
        cls,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        model_config: ModelConfig | Mapping[str, Any],
    ) -> Policy:
        """In numpy where there are only fully connected layers, else in torch."""
        shape = actor_q_shape(model_config)
        observations = ObservationEncoder(observation_space, shape)
        is_own = cls not in (SACModule, TD3Module)
        if is_own or observations.images or not is_chain(shape):
            return super().make_policy(observation_space, action_space, model_config)
        return MLPPolicy(
            observations,
            cls._head(action_space, shape),
            [
                *layers_of("pi.encoder.mlp", shape.fcnet_hiddens, shape.fcnet_activation),
                *layers_of("pi.hidden", shape.head_fcnet_hiddens, shape.head_fcnet_activation),
                Layer("pi.out", "linear"),
            ],
        )


def _embeddings_space(past: Past) -> gym.Space[Any]:
    return gym.spaces.Box(-np.inf, np.inf, (past.size,), np.float32)


class SACModule(ActorQModule):
    """The actor is stochastic: a normal squashed into the bounds, or probabilities."""

    kind = "squashed"
    has_target_actor = False


class TD3Module(ActorQModule):
    """The actor is deterministic, and explores by noise."""

    kind = "deterministic"
    has_target_actor = True
