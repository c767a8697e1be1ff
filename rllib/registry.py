"""Algorithms by name: ours, entry points of the group ``rllib.algorithms``, ``module:Class``.

A package of a third party adds an algorithm with two lines in its ``pyproject.toml``::

    [project.entry-points."rllib.algorithms"]
    MyAlgo = "my_package.my_algo:MyAlgo"

Nothing is imported before it is asked for by name.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

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


def trainer_of(config_class: type[AlgorithmConfig]) -> "type[Algorithm] | None":
    """The algorithm of this program that has a class as its ``config_class``, if it needs looking
    for: the name of the class without ``Config`` may be that of a registered one."""
    name = plain_name_of(config_class)
    if name in plugins.OURS[plugins.ALGORITHMS] or name in algorithm_names():
        return None
    from rllib.algorithm import Algorithm

    own = (each for each in _subclasses(Algorithm) if _config_of(each) is config_class)
    return next(own, None)


def plain_name_of(config_class: type[AlgorithmConfig]) -> str:
    """``PPO`` of ``PPOConfig``."""
    return config_class.__name__.removesuffix("Config")


def name_of_trainer(config_class: type[AlgorithmConfig]) -> str:
    """Name of the algorithm that a config class is of, as ``get_algorithm_class`` takes it."""
    found = trainer_of(config_class)
    return f"{found.__module__}:{found.__qualname__}" if found else plain_name_of(config_class)


def _config_of(algorithm: type[Any]) -> Any:
    """The class that it names itself, rather than one that it has inherited."""
    return vars(algorithm).get("config_class")


def _subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    for each in cls.__subclasses__():
        yield each
        yield from _subclasses(each)


def get_config_class(name: str) -> type[AlgorithmConfig]:
    """The config class of the algorithm; errors as ``get_algorithm_class``."""
    return get_algorithm_class(name).config_class


def default_config(name: str) -> AlgorithmConfig:
    """A config of the algorithm with nothing but defaults; it remembers ``name``."""
    config = get_config_class(name)()
    config._algo_name = name
    return config
