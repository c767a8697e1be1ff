"""What lies between the environments of an algorithm and its modules."""

from typing import Any, cast

from rllib.config import AlgorithmConfig
from rllib.connectors.base import Pipeline
from rllib.connectors.build import build_pipeline
from rllib.envs.make import HasAgentsError, Spaces, probe_spaces
from rllib.envs.multi_agent import MultiAgentEnv
from rllib.errors import ConfigError
from rllib.given_spaces import agreed_spaces
from rllib.learning.bystander import learner_for
from rllib.sampling.env_runner import EnvRunner


class Interface:
    """Spaces, connectors and env runner of an environment with one agent.

    Args:
        config: the algorithm's configuration.

    Attributes:
        env_spaces: of a single environment.
        spaces: what the module sees and does.
        pipeline: the connectors, with the statistics that all env runners share.
        runner_class: what steps environments of this kind.
        module_ids: of all modules.

    Raises:
        EnvSetupError: the environment cannot be made.
        ConfigError: the connectors do not fit its spaces.
    """

    runner_class: type[Any] = EnvRunner
    env_spaces: Any
    spaces: Any
    pipeline: Any

    def __init__(self, config: AlgorithmConfig) -> None:
        self.config, self.module_ids = config, config.policy_ids
        self._probe(config)
        if config.env_runner_cls is not None:
            self.runner_class = cast(type[Any], config.env_runner_cls)

    def _probe(self, config: AlgorithmConfig) -> None:
        probed = probe_spaces(
            config.env or "",
            config.env_config,
            config.gym_env_vectorize_mode,
            is_checked=not config.disable_env_checking,
        )
        self.env_spaces = agreed_spaces(config, probed)
        self.pipeline = build_pipeline(config)
        self.spaces = self.pipeline.connect(self.env_spaces, 1)

    def learner_class(self, algorithm_learner: type[Any]) -> type[Any]:
        """What updates the modules."""
        return learner_for(self.config, self.spaces, algorithm_learner)

    def spaces_of(self, module_id: str) -> Spaces:
        """What a module sees and does."""
        self._check(module_id)
        spaces: Spaces = self.spaces
        return spaces

    def config_of(self, config: AlgorithmConfig, module_id: str) -> AlgorithmConfig:
        """The settings that a module goes by."""
        return config

    def of_module(self, by_module: Any, module_id: str) -> Any:
        """A module's part of what the learners return: with one module, everything."""
        self._check(module_id)
        return by_module

    def by_module(self, learned: Any) -> dict[str, Any]:
        """What the learners return, by module id."""
        return {self.module_ids[0]: learned}

    def of_modules(self, by_module: dict[str, Any]) -> Any:
        """What the learners take, from what is by module id: the reverse of ``by_module``."""
        return by_module[self.module_ids[0]]

    def env_spaces_of(self, module_id: str) -> Spaces:
        """What environments give to a module's connectors, and take from them."""
        spaces: Spaces = self.env_spaces
        return spaces

    def pipeline_of(self, module_id: str) -> Pipeline:
        """The connectors of a module."""
        pipeline: Pipeline = self.pipeline
        return pipeline

    def _check(self, module_id: str) -> None:
        if module_id not in self.module_ids:
            known = ", ".join(self.module_ids)
            raise ConfigError(f"there is no module {module_id!r}; there are: {known}")


class MultiAgentInterface(Interface):
    """The same of an environment with several agents; everything is by module id."""

    def _probe(self, config: AlgorithmConfig) -> None:
        from rllib.multi_agent.env_runner import MultiAgentEnvRunner
        from rllib.multi_agent.modules import Pipelines, probe_module_spaces

        self.runner_class = MultiAgentEnvRunner
        self.env_spaces = probe_module_spaces(config)
        self.pipeline = Pipelines(config, self.env_spaces)
        self.spaces = self.pipeline.spaces

    def learner_class(self, algorithm_learner: type[Any]) -> type[Any]:
        """One of the algorithm's learners for each module."""
        from rllib.multi_agent.learner import MultiLearner

        return MultiLearner

    def spaces_of(self, module_id: str) -> Spaces:
        """What a module sees and does."""
        self._check(module_id)
        spaces: Spaces = self.spaces[module_id]
        return spaces

    def config_of(self, config: AlgorithmConfig, module_id: str) -> AlgorithmConfig:
        """The settings that a module goes by."""
        from rllib.multi_agent.modules import module_config

        return module_config(config, module_id)

    def of_module(self, by_module: Any, module_id: str) -> Any:
        """A module's part of what the learners return."""
        self._check(module_id)
        return by_module[module_id]

    def by_module(self, learned: Any) -> dict[str, Any]:
        """What the learners return is by module id already."""
        parts: dict[str, Any] = learned
        return parts

    def of_modules(self, by_module: dict[str, Any]) -> Any:
        """What the learners take is by module id already."""
        return by_module

    def env_spaces_of(self, module_id: str) -> Spaces:
        """What agents give to a module's connectors, and take from them."""
        spaces: Spaces = self.env_spaces[module_id]
        return spaces

    def pipeline_of(self, module_id: str) -> Pipeline:
        """The connectors of a module."""
        pipeline: Pipeline = self.pipeline.by_module[module_id]
        return pipeline


def interface_of(config: AlgorithmConfig) -> Interface:
    """The one for this configuration's environment."""
    env = config.env
    if config.is_multi_agent or (isinstance(env, type) and issubclass(env, MultiAgentEnv)):
        return MultiAgentInterface(config)
    try:
        return Interface(config)
    except HasAgentsError:  # of functions and registered names it shows when they are called
        return MultiAgentInterface(config)
