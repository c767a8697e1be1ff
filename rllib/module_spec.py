"""How a module is made: its class, its shape, and where it is to be used."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from rllib.config_sections import ModelConfig
from rllib.envs.make import Spaces
from rllib.policy import Policy
from rllib.rl_module import RLModule, max_seq_len_of


@dataclass
class RLModuleSpec:
    """A module that is still to be made; what is ``None`` comes from algorithm and environment.

    Attributes:
        module_class: a subclass of ``RLModule``.
        observation_space: of a single environment.
        action_space: of a single environment.
        inference_only: made to act with.
        learner_only: made to train with, never to act with.
        model_config: the networks' shape.
    """

    module_class: type[RLModule] | None = None
    observation_space: gym.Space[Any] | None = None
    action_space: gym.Space[Any] | None = None
    inference_only: bool = False
    learner_only: bool = False
    model_config: ModelConfig | Mapping[str, Any] | None = None

    def completed(self, default: type[RLModule], spaces: Spaces, model: ModelConfig) -> "FullSpec":
        """The same with everything that was left open."""
        return FullSpec(
            self.module_class or default,
            self.observation_space or spaces.observation,
            self.action_space or spaces.action,
            model if self.model_config is None else self.model_config,
        )


@dataclass(frozen=True)
class FullSpec:
    """A module of which everything is known."""

    module_class: type[RLModule]
    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    model_config: ModelConfig | Mapping[str, Any]

    @property
    def max_seq_len(self) -> int:
        """Steps of the longest sequence that the module is trained on, if it has a memory."""
        return max_seq_len_of(self.model_config)

    def build(self, *, inference_only: bool = False) -> RLModule:
        """Make the module; its weights are drawn from torch's random numbers."""
        return self.module_class(
            self.observation_space,
            self.action_space,
            inference_only=inference_only,
            model_config=self.model_config,
        )

    def make_policy(self) -> Policy:
        """What an env runner acts by."""
        return self.module_class.make_policy(
            self.observation_space, self.action_space, self.model_config
        )
