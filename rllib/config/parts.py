"""Single parts of an algorithm as a config makes them: RLlib's ``build_...`` and ``get_...``.

An algorithm makes its parts by itself; these are for looking at one alone.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rllib.envs.make import Spaces
from rllib.errors import ConfigError, Problem
from rllib.interface import Interface, MultiAgentInterface, interface_of
from rllib.learning.learner_group import LearnerGroup
from rllib.modules.spec import MultiRLModuleSpec, RLModuleSpec

if TYPE_CHECKING:
    from rllib.config import AlgorithmConfig
    from rllib.connectors.base import Pipeline
    from rllib.learning.learner import Learner


def interface_for(config: "AlgorithmConfig", env: Any = None, spaces: Any = None) -> Interface:
    """What lies between environments and modules.

    Args:
        config: the settings; their environment is made for its spaces if nothing else names them.
        env: an environment that has them.
        spaces: (observation space, action space), or those by module id.

    Raises:
        ConfigError: there is no environment.
    """
    pair = _pair_of(env, spaces, config.policy_ids[0])
    settings = config.copy()
    if pair is not None and not config.is_multi_agent:
        settings.observation_space, settings.action_space = pair
    if settings.env is None and pair is None:
        raise ConfigError(Problem("missing; or give env=... or spaces=...", "env"))
    if settings.env is None:
        return _OfSpaces(settings)
    return interface_of(settings.resolved())


class _OfSpaces(Interface):
    """Of spaces alone, without an environment."""

    def _probe(self, config: "AlgorithmConfig") -> None:
        from rllib.connectors.build import build_pipeline

        self.env_spaces = Spaces(config.observation_space, config.action_space)
        self.pipeline = build_pipeline(config)
        self.spaces = self.pipeline.connect(self.env_spaces, 1)


def _pair_of(env: Any, spaces: Any, module_id: str) -> tuple[Any, Any] | None:
    if isinstance(spaces, Mapping):
        spaces = spaces.get(module_id) or next(iter(spaces.values()))
    if spaces is not None:
        return tuple(spaces)
    if env is None:
        return None
    names = ("single_observation_space", "single_action_space")
    observation = getattr(env, names[0], None) or env.observation_space
    return observation, getattr(env, names[1], None) or env.action_space


def multi_rl_module_spec(
    config: "AlgorithmConfig", interface: Interface, inference_only: bool
) -> MultiRLModuleSpec:
    """Complete specs of all modules."""
    specs = {}
    for module_id in interface.module_ids:
        own = interface.config_of(config, module_id)
        full = own.get_rl_module_spec(interface.spaces_of(module_id))
        specs[module_id] = RLModuleSpec(
            full.module_class,
            full.observation_space,
            full.action_space,
            inference_only,
            model_config=full.model_config,
            load_state_path=full.load_state_path,
        )
    return MultiRLModuleSpec(specs, inference_only)


def build_learner(config: "AlgorithmConfig", interface: Interface) -> "Learner[Any]":
    """A learner in this process, which is complete at once."""
    learner: Learner[Any] = _learner_class(config, interface)(config.resolved(), interface.spaces)
    return learner


def build_learner_group(config: "AlgorithmConfig", interface: Interface) -> LearnerGroup:
    """All learners; ``shutdown()`` ends them."""
    return LearnerGroup(_learner_class(config, interface), config.resolved(), interface.spaces)


def _learner_class(config: "AlgorithmConfig", interface: Interface) -> type[Any]:
    own: Any = config.learner_class or config.algo_class.learner_class
    return interface.learner_class(own)


def env_to_module(interface: Interface) -> "Pipeline | dict[str, Pipeline]":
    """The connectors of the only module, or of each of several by its id."""
    pipelines = {name: interface.pipeline_of(name) for name in interface.module_ids}
    if isinstance(interface, MultiAgentInterface):
        return pipelines
    return next(iter(pipelines.values()))
