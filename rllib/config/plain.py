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
from rllib.config.types import CODE, Mark
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


FieldOf = Callable[[str], FieldInfo | None]
"""The field behind a key, by whatever name settings are taken."""


def beyond_data(
    settings: Mapping[str, Any], field_of: FieldOf, path: str = ""
) -> Iterator[Problem]:
    """Settings of a checkpoint that would do more than be read, within others, too.

    Args:
        settings: plain data.
        field_of: of the schema.
        path: of the keys, for the message.
    """
    for key, value in settings.items():
        field, place = field_of(key), f"{path}{key}"
        if field is not None:
            yield from _powers(key, value, field, place)
        # Where settings are by a policy's id, say, what is no setting has them below it.
        if field is None or _has(field, Mark.SETTINGS):
            yield from _within(value, field_of, place)


def _within(value: Any, field_of: FieldOf, place: str) -> Iterator[Problem]:
    if isinstance(value, Mapping):
        yield from beyond_data(value, field_of, f"{place}.")
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _within(part, field_of, place)


def _powers(key: str, value: Any, field: FieldInfo, place: str) -> Iterator[Problem]:
    way_out = "pass the config that it was written with: from_checkpoint(path, config=...)"
    if _has(field, Mark.ENVIRON) and value:
        text = "a checkpoint sets no environment variables, by which code could be loaded"
        yield Problem(f"{text}; {way_out}", place)
    if _has(field, CODE) or key == "env":
        for name in _names_in(value):
            if ":" in name and not _is_registered(key, name):
                text = f"{name!r} would have to be imported, and a checkpoint imports nothing"
                yield Problem(f"{text}; {way_out}", place)


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


def _has(field: FieldInfo, mark: object) -> bool:
    return _mentions(field.annotation, mark) or any(item is mark for item in field.metadata)


def _mentions(annotation: Any, mark: object) -> bool:
    return annotation is mark or any(_mentions(part, mark) for part in get_args(annotation))


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
