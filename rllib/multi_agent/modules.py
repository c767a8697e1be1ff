"""The modules of several agents: their spaces, and the settings that each goes by."""

from typing import Any

from rllib.config import AlgorithmConfig
from rllib.connectors.base import Pipeline
from rllib.connectors.build import build_pipeline
from rllib.envs.faults import close_env
from rllib.envs.make import EnvSource, Spaces
from rllib.envs.multi_agent_vector import make_multi_agent_env
from rllib.envs.packing import packed_dtype
from rllib.errors import ConfigError, Problem
from rllib.modules.spec import MultiRLModuleSpec
from rllib.seeding import Role, derive_seed

ModuleSpaces = dict[str, Spaces]
"""Spaces of the agents for whom each module acts, by module id."""


def probe_module_spaces(config: AlgorithmConfig) -> ModuleSpaces:
    """The spaces of every module, from an environment that is made and closed at once.

    Raises:
        EnvSetupError: the environment cannot be made, or is none of several agents.
        ConfigError: the spaces of a module are unknown, its agents have different ones, or vectors
            are to be made in a way, or steps have a limit, that is for environments of one agent.
    """
    _check_mode(config)
    _check_timeout(config)
    env = make_multi_agent_env(multi_agent_creator(config), config.env_config)
    try:
        specs, _ = config.get_multi_agent_setup(env=env)
    finally:
        close_env(env)
    for spec in specs.values():
        packed_dtype(spec.observation_space)  # names what cannot be packed
    return {
        module_id: Spaces(spec.observation_space, spec.action_space)
        for module_id, spec in specs.items()
    }


def _check_mode(config: AlgorithmConfig) -> None:
    if config.gym_env_vectorize_mode in ("auto", "sync"):
        return
    text = (
        f"{config.gym_env_vectorize_mode!r} is for environments of one agent; those of several are "
        "stepped one after the other in their env runner. Leave it out; more processes are more "
        "num_env_runners"
    )
    raise ConfigError(Problem(text, "gym_env_vectorize_mode"))


def _check_timeout(config: AlgorithmConfig) -> None:
    name = "sub_environment_timeout_s"
    if getattr(config, name) == type(config).model_fields[name].default:
        return
    text = (
        "is for environments of one agent in processes of their own; those of several are stepped "
        "in their env runner. Leave it out; sample_timeout_s is for one that does not come back"
    )
    raise ConfigError(Problem(text, name))


def multi_agent_creator(config: AlgorithmConfig) -> Any:
    """What makes the environment.

    Raises:
        ConfigError: the environment is a gymnasium id, behind which only single agents are.
    """
    env: EnvSource = config.env or ""
    if isinstance(env, str):
        text = (
            f"{env!r} is an environment of a single agent; with policies, env is a MultiAgentEnv "
            "class, or a function or registered name that makes one (make_multi_agent)"
        )
        raise ConfigError(Problem(text, "env"))
    return env


def module_config(config: AlgorithmConfig, module_id: str) -> AlgorithmConfig:
    """The settings that one module is trained by; its seed is its own."""
    own = config.get_config_for_module(module_id).copy()
    own.seed = derive_seed(config.seed, Role.MODULE, config.policy_ids.index(module_id))
    if isinstance(own.rl_module_spec, MultiRLModuleSpec):
        own.rl_module_spec = own.rl_module_spec.spec_for(module_id)
    return own.freeze()


def connected_pipeline(config: AlgorithmConfig, spaces: Spaces) -> tuple[Pipeline, Spaces]:
    """The connectors of one module, ready for rows of agents who come and go, and what it sees.

    Raises:
        ConfigError: a connector does not fit the spaces, or tell what it remembers of a row.
    """
    pipeline = build_pipeline(config)
    seen = pipeline.connect(spaces, 1)
    for connector in pipeline:
        if connector.get_memory() is None:
            raise ConfigError(
                f"{type(connector).__name__} may remember what each environment of a vector did "
                "before; with several agents, who come and go, it tells that by get_memory() and "
                "takes it by set_memory(memory), arrays with a row for each agent; or it says "
                "is_rowwise = True, if it takes every row by itself"
            )
    return pipeline, seen


class Pipelines:
    """The connectors of all modules, as the algorithm keeps their statistics.

    Args:
        config: the algorithm's configuration.
        spaces: of the agents of each module.

    Attributes:
        spaces: what each module sees.
    """

    def __init__(self, config: AlgorithmConfig, spaces: ModuleSpaces) -> None:
        made = {
            module_id: connected_pipeline(module_config(config, module_id), each)
            for module_id, each in spaces.items()
        }
        self.by_module = {module_id: pipeline for module_id, (pipeline, _) in made.items()}
        self.spaces = {module_id: seen for module_id, (_, seen) in made.items()}

    def merge(self, news: dict[str, Any]) -> None:
        """Merge the news of an env runner, by module id."""
        for module_id, each in news.items():
            self.by_module[module_id].merge(each)

    def get_statistics(self) -> dict[str, Any]:
        """Shared statistics, by module id; those without any are left out."""
        found = {name: pipeline.get_statistics() for name, pipeline in self.by_module.items()}
        return {name: each for name, each in found.items() if each}

    def set_statistics(self, statistics: dict[str, Any]) -> None:
        """Take over shared statistics, by module id."""
        for module_id, each in statistics.items():
            self.by_module[module_id].set_statistics(each)
