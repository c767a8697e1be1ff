"""Code of third parties by name: entry points, ``module:Name``, and environments of this process.

A package adds to a group with two lines in its ``pyproject.toml``::

    [project.entry-points."rllib.envs"]
    MyEnv = "my_package.envs:MyEnv"

The groups are ``rllib.algorithms``, ``rllib.envs``, ``rllib.modules``, ``rllib.callbacks`` and
``rllib.loggers``.
Nothing is imported before it is asked for by name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from rllib.config.names import ABSENT_ALGORITHMS, nearest
from rllib.envs.makers import make_from
from rllib.errors import ConfigError

ALGORITHMS = "rllib.algorithms"
ENVS = "rllib.envs"
MODULES = "rllib.modules"
CALLBACKS = "rllib.callbacks"
LOGGERS = "rllib.loggers"

OURS: dict[str, dict[str, str]] = {
    ALGORITHMS: {
        "APPO": "rllib.algorithms.appo:APPO",
        "DQN": "rllib.algorithms.dqn:DQN",
        "IMPALA": "rllib.algorithms.impala:IMPALA",
        "PPO": "rllib.algorithms.ppo:PPO",
        "SAC": "rllib.algorithms.sac:SAC",
        "TD3": "rllib.algorithms.td3:TD3",
    },
    LOGGERS: {
        "csv": "rllib.runs.csv_logger:CSVLogger",
        "mlflow": "rllib.runs.mlflow_logger:MLflowLogger",
        "wandb": "rllib.runs.wandb_logger:WandbLogger",
    },
    ENVS: {"MultiAgentCartPole": "rllib.envs.multi_agent_cartpole:MultiAgentCartPole"},
}
"""What comes with this package: entry points are as old as the last installation, and a bare
checkout has none."""

EnvCreator = Callable[..., Any]
_registered: dict[str, EnvCreator] = {}


@dataclass(frozen=True)
class NamedEnv:
    """An environment that goes by a name of its own; it travels to actors as what makes it."""

    name: str
    creator: EnvCreator

    def __call__(self, env_config: dict[str, Any]) -> Any:
        """Make one environment."""
        return make_from(self.creator, env_config)


def register_env(name: str, env_creator: Any) -> None:
    """Let ``environment(name)`` mean what ``env_creator`` makes, in this program.

    Args:
        name: goes before gymnasium ids and entry points of the same name; a second registration
            replaces the first.
        env_creator: function that returns an environment, or a class: it gets ``env_config`` as a
            dict, or by keyword where its parameters are settings.

    Raises:
        ConfigError: ``env_creator`` cannot be called.
    """
    if not callable(env_creator):
        text = f"takes a class or a function that makes the environment, got {env_creator!r}"
        raise ConfigError(f"register_env({name!r}) {text}")
    _registered[name] = env_creator


def find_env(name: str) -> NamedEnv | None:
    """The environment of that name from ``register_env``, an entry point or a module; else None.

    Args:
        name: ``module:Name`` of a class or function counts, ``module:Id-v0`` is gymnasium's.

    Raises:
        ConfigError: there is such an entry point or module, but it cannot be loaded.
    """
    if name in _registered:
        return NamedEnv(name, _registered[name])
    if name in names(ENVS):
        return NamedEnv(name, load(name, ENVS))
    if not _is_code(name):
        return None
    creator = load(name)
    if not callable(creator):
        raise ConfigError(f"{name!r} is {creator!r}, which makes no environment")
    return NamedEnv(name, creator)


def _is_code(name: str) -> bool:
    """Whether it is ``module:Name``; ``module:Id`` imports the module that registers the id."""
    module, colon, attribute = name.partition(":")
    if not colon or not attribute.isidentifier():
        return False
    try:
        return hasattr(import_module(module), attribute)
    except (Exception, SystemExit):  # to be told when it is loaded
        return True


def names(group: str) -> list[str]:
    """Names of everything that there is in a group, sorted."""
    return sorted(_targets(group))


def load(name: str, group: str = "") -> Any:
    """Import what a name stands for.

    Args:
        name: ``module:Name``, or a name of the group.
        group: ours and entry points; without one, only ``module:Name`` is a name.

    Raises:
        ConfigError: there is nothing of that name, or it cannot be imported.
    """
    target = name if ":" in name else _target(name, group)
    module, _, path = target.partition(":")
    try:
        found: Any = import_module(module)
        for attribute in path.split("."):
            found = getattr(found, attribute)
    except (Exception, SystemExit) as error:  # a third party's module may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{_kind(group)}{name!r} cannot be loaded: {reason}") from error
    return found


def _target(name: str, group: str) -> str:
    if not group:
        raise ConfigError(f"{name!r} should be the name of code, 'module:Name'")
    found = _targets(group)
    if name in found:
        return found[name]
    if (group, name) == (LOGGERS, "tensorboard"):
        raise ConfigError("TensorBoard is a setting of its own: tensorboard: true, the default")
    absent = ABSENT_ALGORITHMS.get(name.upper().replace("-", "")) if group == ALGORITHMS else None
    guess = nearest(name, found)
    known = f"there are: {', '.join(sorted(found))}" if found else "write it as 'module:Name'"
    hint = absent or (f"did you mean {guess!r}?" if guess else known)
    raise ConfigError(f"unknown {_kind(group).removeprefix('the ')}{name!r}; {hint}")


def _targets(group: str) -> dict[str, str]:
    """``module:Name`` of everything in a group, by name."""
    return {entry.name: entry.value for entry in entry_points(group=group)} | OURS.get(group, {})


def _kind(group: str) -> str:
    """``the algorithm`` for ``rllib.algorithms``, with a space after it."""
    word = group.removeprefix("rllib.").removesuffix("s")
    return f"the {word} " if word else ""
