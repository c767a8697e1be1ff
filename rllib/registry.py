"""Algorithms by name: entry points of the group ``rllib.algorithms``, or ``module:Class``.

A package of a third party adds an algorithm with two lines in its ``pyproject.toml``::

    [project.entry-points."rllib.algorithms"]
    MyAlgo = "my_package.my_algo:MyAlgo"

Nothing is imported before it is asked for by name.
"""

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, cast

from rllib.config import AlgorithmConfig
from rllib.config_names import nearest
from rllib.errors import ConfigError

if TYPE_CHECKING:
    from rllib.algorithm import Algorithm

GROUP = "rllib.algorithms"


def algorithm_names() -> list[str]:
    """Names of all installed algorithms, sorted."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def get_algorithm_class(name: str) -> "type[Algorithm]":
    """The algorithm's class.

    Args:
        name: a registered name (``PPO``), or ``module:Class`` to import one from anywhere.

    Raises:
        ConfigError: if there is none of that name, or if it cannot be imported.
    """
    target = name if ":" in name else _registered(name)
    module, _, attribute = target.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (Exception, SystemExit) as error:  # a third party's module may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"the algorithm {name!r} cannot be loaded: {reason}") from error
    config_class = getattr(found, "config_class", None)
    if not (isinstance(config_class, type) and issubclass(config_class, AlgorithmConfig)):
        raise ConfigError(f"{name!r} is no algorithm: it has no config_class of AlgorithmConfig")
    return cast("type[Algorithm]", found)


def get_config_class(name: str) -> type[AlgorithmConfig]:
    """The config class of the algorithm; errors as ``get_algorithm_class``."""
    return get_algorithm_class(name).config_class


def default_config(name: str) -> AlgorithmConfig:
    """A config of the algorithm with nothing but defaults; it remembers ``name``."""
    config = get_config_class(name)()
    config._algo_name = name
    return config


def _registered(name: str) -> str:
    found: dict[str, EntryPoint] = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name in found:
        return found[name].value
    guess = nearest(name, found)
    hint = f"did you mean {guess!r}?" if guess else f"there are: {', '.join(sorted(found))}"
    raise ConfigError(f"unknown algorithm {name!r}; {hint}")
