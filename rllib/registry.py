"""Algorithms by name: ours, entry points of the group ``rllib.algorithms``, ``module:Class``.

A package of a third party adds an algorithm with two lines in its ``pyproject.toml``::

    [project.entry-points."rllib.algorithms"]
    MyAlgo = "my_package.my_algo:MyAlgo"

Nothing is imported before it is asked for by name.
"""

from typing import TYPE_CHECKING, cast

from rllib import plugins
from rllib.config import AlgorithmConfig
from rllib.errors import ConfigError

if TYPE_CHECKING:
    from rllib.algorithm import Algorithm


def algorithm_names() -> list[str]:
    """Names of all algorithms, ours and installed ones, sorted."""
    return plugins.names(plugins.ALGORITHMS)


def get_algorithm_class(name: str) -> "type[Algorithm]":
    """The algorithm's class.

    Args:
        name: a registered name (``PPO``), or ``module:Class`` to import one from anywhere.

    Raises:
        ConfigError: if there is none of that name, or if it cannot be imported.
    """
    found = plugins.load(name, plugins.ALGORITHMS)
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
