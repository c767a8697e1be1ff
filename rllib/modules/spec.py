"""How a module is made: its class, its shape, and where it is to be used."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym

from rllib.actions import Fit
from rllib.config.model import ModelConfig
from rllib.envs.make import Spaces
from rllib.errors import ConfigError
from rllib.modules.rl_module import RLModule, max_seq_len_of
from rllib.policies.policy import Policy


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

    def completed(
        self,
        default: type[RLModule],
        spaces: Spaces,
        model: ModelConfig,
        action_fit: Fit = "stretch",
    ) -> "FullSpec":
        """The same with everything that was left open.

        Args:
            default: the class where none is named; its ``model_config`` is ``model`` with what is
                said here. That of a class of one's own is what is said here, and nothing else.
            spaces: where none are named.
            model: the networks' shape where nothing is said of it.
            action_fit: how continuous actions are fitted to their space.
        """
        shape: ModelConfig | Mapping[str, Any] = model
        if self.model_config is not None:
            shape = self.model_config if self.module_class else model.updated(self.model_config)
        return FullSpec(
            self.module_class or default,
            self.observation_space or spaces.observation,
            self.action_space or spaces.action,
            shape,
            action_fit,
        )


@dataclass
class MultiRLModuleSpec:
    """Modules that are still to be made, by their ids.

    Attributes:
        rl_module_specs: of the modules; a single one is for all ids.
        inference_only: made to act with.
        model_config: the networks' shape where a module's own spec does not say it.

    Raises:
        ConfigError: there is no module.
    """

    rl_module_specs: Mapping[str, RLModuleSpec] | RLModuleSpec
    inference_only: bool = False
    model_config: ModelConfig | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.rl_module_specs:
            raise ConfigError("MultiRLModuleSpec(rl_module_specs=...) names no module")

    def spec_for(self, module_id: str) -> RLModuleSpec:
        """The spec of one module, or one that leaves everything open."""
        specs = self.rl_module_specs
        spec = specs if isinstance(specs, RLModuleSpec) else specs.get(module_id, RLModuleSpec())
        return spec if spec.model_config else replace(spec, model_config=self.model_config)


@dataclass(frozen=True)
class FullSpec:
    """A module of which everything is known."""

    module_class: type[RLModule]
    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    model_config: ModelConfig | Mapping[str, Any]
    action_fit: Fit = "stretch"

    @property
    def max_seq_len(self) -> int:
        """Steps of the longest sequence that the module is trained on, if it has a memory."""
        return max_seq_len_of(self.model_config)

    def build(self, *, inference_only: bool = False) -> RLModule:
        """Make the module; its weights are drawn from torch's random numbers."""
        module = self.module_class(
            observation_space=self.observation_space,
            action_space=self.action_space,
            inference_only=inference_only,
            model_config=self.model_config,
        )
        module.head = module.head.fitted(self.action_fit)
        return module

    def make_policy(self) -> Policy:
        """What an env runner acts by."""
        policy = self.module_class.make_policy(
            self.observation_space, self.action_space, self.model_config
        )
        policy.head = policy.head.fitted(self.action_fit)
        return policy
