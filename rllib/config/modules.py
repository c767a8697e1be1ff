"""Specs of modules as plain data: ``{module_class: "my_module:MyModule", model_config: {...}}``.

This is apart from the specs themselves because they bring torch along, which a config does not need
before it names a module.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from rllib import plugins
from rllib.config.multi_agent import check_module_id
from rllib.config.spaces import read_space
from rllib.config.types import CODE

_CLASSES = ("module_class", "multi_rl_module_class")


def read_module_spec(value: Any) -> Any:
    """The spec that plain data stands for; a spec, or None, is returned as it is.

    Raises:
        ValueError: it is neither; says what is wrong.
        ConfigError: a class that it names cannot be loaded.
    """
    if value is None:
        return None
    from rllib.modules.spec import MultiRLModuleSpec, RLModuleSpec

    if isinstance(value, RLModuleSpec | MultiRLModuleSpec):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"should be a RLModuleSpec or MultiRLModuleSpec, got {value!r}")
    fields = {name: _read_field(name, part) for name, part in value.items()}
    try:
        return (MultiRLModuleSpec if "rl_module_specs" in fields else RLModuleSpec)(**fields)
    except TypeError as error:
        raise ValueError(f"no spec of a module can be made of {value!r}: {error}") from error


def _read_field(name: str, value: Any) -> Any:
    if name == "rl_module_specs":
        return {check_module_id(module): read_module_spec(spec) for module, spec in value.items()}
    if name in ("observation_space", "action_space"):
        return read_space(value)
    if name in _CLASSES and isinstance(value, str):
        return plugins.load(value, plugins.MODULES)
    return value


ModuleSpec = Annotated[Any, BeforeValidator(read_module_spec), CODE]
"""A ``RLModuleSpec`` or ``MultiRLModuleSpec``; in a file, a mapping with their fields."""
