"""Settings as plain data: what stands in YAML, JSON and checkpoints."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, get_args

import gymnasium as gym
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rllib.config.multi_agent import PolicySpec
from rllib.config.spaces import write_space
from rllib.config.types import CODE
from rllib.errors import Problem
from rllib.plugins import NamedEnv


def plain(value: Any) -> Any:
    """JSON scalars, lists and dicts; a class or function as ``module:Name``.

    What none of this can express, which is nothing that the schema knows, stays as it is.
    """
    match value:
        case NamedEnv():
            return value.name
        case BaseModel():
            extra = value.model_extra or {}
            names = [*type(value).model_fields, *extra]
            return {name: plain(getattr(value, name)) for name in names}
        case PolicySpec():
            return plain(value.to_dict())
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        case gym.Space():
            return write_space(value)
        case Enum():
            return plain(value.value)
        case Mapping():
            return {key: plain(part) for key, part in value.items()}
        case list() | tuple():
            return [plain(part) for part in value]
        case set() | frozenset():
            return sorted(map(plain, value))
        case _ if callable(value):
            return code_name(value)
    return value


def code_name(code: Callable[..., Any]) -> str:
    """``module:Name`` of a class or function; of an object that can be called, of its class."""
    named = code if hasattr(code, "__qualname__") else type(code)
    return f"{named.__module__}:{named.__qualname__}"


def code_in(settings: Mapping[str, Any], schema: Mapping[str, FieldInfo]) -> Iterator[Problem]:
    """Settings of a checkpoint that could only be read by importing what they name.

    Args:
        settings: plain data.
        schema: the fields, by public name.
    """
    for key, value in settings.items():
        field = schema.get(key)
        if field is None or not (_takes_code(field) or key == "env"):
            continue
        for name in _names_in(value):
            if ":" in name and not _is_registered(key, name):
                text = f"{name!r} would have to be imported, and a checkpoint imports nothing"
                yield Problem(f"{text}; pass the config that it was written with", key)


def _names_in(value: Any) -> Iterator[str]:
    """The text itself, those in a list, and those of classes in the spec of a module."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _names_in(part)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if key.endswith("_class") or isinstance(part, Mapping):
                yield from _names_in(part)


def _takes_code(field: FieldInfo) -> bool:
    return _mentions(field.annotation) or any(item is CODE for item in field.metadata)


def _mentions(annotation: Any) -> bool:
    return annotation is CODE or any(map(_mentions, get_args(annotation)))


def _is_registered(key: str, name: str) -> bool:
    """An environment that the program has imported and registered needs no import any more."""
    module, _, env_id = name.rpartition(":")
    return key == "env" and module in sys.modules and env_id in gym.registry


def differences(before: Any, now: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """What differs between nested mappings: path of the key, value of the one and of the other."""
    if before == now:
        return
    if isinstance(before, dict) and isinstance(now, dict) and before:
        for key in dict.fromkeys([*before, *now]):
            inner = f"{path}.{key}" if path else key
            yield from differences(before.get(key), now.get(key), inner)
    else:
        yield path, before, now
