"""Every setting, once: builder, YAML, command line and checkpoints are views of one schema.

    file, yaml_tree    a config as it was written; every key knows its line
    plan               ... checked, and all that is wrong with it
    sections           the settings, one small class per section
    algorithm_config   ... put together: ``AlgorithmConfig``, with methods to build from it
    types, model, ...  what values there are

Reading a config file must not pay for the schema: ``AlgorithmConfig`` is loaded on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rllib.config.algorithm_config import AlgorithmConfig

__all__ = ["AlgorithmConfig"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'rllib.config' has no attribute {name!r}")
    return getattr(import_module("rllib.config.algorithm_config"), name)


def __dir__() -> list[str]:
    return __all__
