"""The JSON schema of config files, by which editors complete and check them.

::

    algorithm: PPO        a name, which decides what may stand under "training"
    environment: {...}    one object per section, described once for all algorithms that agree
    stop: {...}           metric to number
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from rllib.config import AlgorithmConfig
from rllib.registry import algorithm_names, get_config_class
from rllib.runs.stopping import COMMON_METRICS

Schema = dict[str, Any]

DIALECT = "http://json-schema.org/draft-07/schema#"  # what editors understand
MODEL = "model_config"
GROUPED = {"type": "string", "pattern": r"^[-+]?[0-9]{1,3}(_[0-9]{3})+$"}
"""``500_000``: a number to us, and a string to YAML as editors read it."""


def schema_text(algorithm: str | None = None) -> str:
    """``file_schema`` as text."""
    return json.dumps(file_schema(algorithm), indent=0)  # lines, which versions are merged by


def file_schema(algorithm: str | None = None) -> Schema:
    """The schema of a config file.

    Args:
        algorithm: the only one it may name; by default any registered one.

    Raises:
        ConfigError: there is no such algorithm.
    """
    names = [algorithm] if algorithm else algorithm_names()
    shared = _sections(AlgorithmConfig)
    definitions = {MODEL: _model_schema(), **shared}
    cases = []
    for name in names:
        own = {
            section: schema
            for section, schema in _sections(get_config_class(name)).items()
            if schema != shared.get(section)
        }
        definitions |= {f"{name}.{section}": schema for section, schema in own.items()}
        cases.append(_case(name, shared | own, own))
    return {
        "$schema": DIALECT,
        "title": "rllib config",
        "type": "object",
        "required": ["algorithm"],
        "properties": {"algorithm": _names(names), **dict.fromkeys(shared, True), "stop": _STOP},
        "additionalProperties": False,
        "allOf": cases,
        "definitions": definitions,
    }


def _case(algorithm: str, sections: Mapping[str, Schema], own: Mapping[str, Schema]) -> Schema:
    """If this is the algorithm, then these are its sections."""
    places = {name: f"{algorithm}.{name}" if name in own else name for name in sections}
    return {
        "if": {"properties": {"algorithm": {"const": algorithm}}},
        "then": {
            "properties": {name: {"$ref": f"#/definitions/{at}"} for name, at in places.items()}
        },
    }


def _names(names: list[str]) -> Schema:
    by_path = {"type": "string", "pattern": ":", "description": "module:Class of another one"}
    return {"description": "Name of the algorithm.", "anyOf": [{"enum": names}, by_path]}


_STOP: Schema = {
    "description": "The run ends when one of these metrics of its results reaches the number.",
    "type": ["object", "null"],
    "properties": {metric: {"anyOf": [{"type": "number"}, GROUPED]} for metric in COMMON_METRICS},
    "additionalProperties": {"anyOf": [{"type": "number"}, GROUPED]},
}


def _sections(config_class: type[AlgorithmConfig]) -> dict[str, Schema]:
    settings = setting_schemas(config_class)
    return {
        section: {
            "type": ["object", "null"],
            "properties": {key: _for_editors(settings[key]) for key in keys},
            "additionalProperties": False,
        }
        for section, keys in config_class.section_keys().items()
    }


@cache
def setting_schemas(config_class: type[AlgorithmConfig]) -> dict[str, Schema]:
    """The schema of each setting by its public name; networks are a ``$ref``."""
    properties: dict[str, Schema] = config_class.model_json_schema()["properties"]
    return {key: _with_null(schema) for key, schema in properties.items()}


@cache
def model_schemas() -> dict[str, Schema]:
    """The schema of each setting of the networks."""
    definitions = AlgorithmConfig.model_json_schema()["$defs"]
    properties: dict[str, Schema] = definitions["ModelConfig"]["properties"]
    return properties


def _model_schema() -> Schema:
    """Of the networks; a module of one's own has settings of its own there."""
    settings = {key: _for_editors(schema) for key, schema in model_schemas().items()}
    return {"type": ["object", "null"], "properties": settings}


def _with_null(schema: Schema) -> Schema:
    """What is null by default may be null, though its type, made by hand, does not say so."""
    if schema.get("default", "") is not None:
        return schema
    kinds = schema.get("anyOf") or [{"type": schema["type"]}]
    if {"type": "null"} in kinds:
        return schema
    return {"anyOf": [*kinds, {"type": "null"}]} | _but(schema, "type", "anyOf")


def _for_editors(schema: Any) -> Any:
    """Without what only pydantic needs, and with numbers whose digits are grouped."""
    if isinstance(schema, list):
        return [_for_editors(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("$ref", "").endswith("ModelConfig"):
        schema = schema | {"$ref": f"#/definitions/{MODEL}"}
    if schema.get("type") in ("integer", "number"):
        about = {key: schema[key] for key in ("description", "default") if key in schema}
        return about | {"anyOf": [_but(schema, "title", *about), GROUPED]}
    return {
        _DRAFT_07.get(key, key): value if key == "default" else _for_editors(value)
        for key, value in _but(schema, "title").items()
    }


_DRAFT_07 = {"prefixItems": "items", "oneOf": "anyOf"}
"""Names of this dialect; a whole number written with a point is of two kinds, so any will do."""


def _but(schema: Schema, *names: str) -> Schema:
    return {key: value for key, value in schema.items() if key not in names}


# In words.


def in_words(schema: Schema) -> str:
    """The type and the limits of a setting: ``number >= 0, or a schedule of such``."""
    return " or ".join(dict.fromkeys(_kinds(schema)))


def _kinds(schema: Schema) -> Iterator[str]:
    for group in ("anyOf", "oneOf"):
        if group in schema:
            for part in schema[group]:
                yield from _kinds(part)
            return
    if "$ref" in schema:
        yield "mapping of network settings"
    elif "enum" in schema or "const" in schema:
        yield ", ".join(json.dumps(each) for each in schema.get("enum", [schema.get("const")]))
    elif schema.get("description") == "module:Name":
        yield "code as module:Name"
    elif schema.get("type") == "array":
        yield _list_in_words(schema)
    elif schema.get("type") in ("integer", "number"):
        yield " ".join([_NUMBERS[schema["type"]], *_limits(schema)])
    else:
        yield _OTHERS.get(schema.get("type", ""), "any value")


def _list_in_words(schema: Schema) -> str:
    if "prefixItems" in schema:
        return f"[{', '.join(in_words(part) for part in schema['prefixItems'])}]"
    items = schema.get("items", {})
    first = items.get("prefixItems", [{}])[0]
    if items.get("maxItems") == 2 and first.get("type") == "integer" and first.get("minimum") == 0:
        return "a schedule [[timestep, value], ...]"
    return f"list of {in_words(items)}" if items else "list"


def _limits(schema: Schema) -> Iterator[str]:
    for name, sign in _SIGNS.items():
        if name in schema:
            yield f"{sign} {schema[name]:g}"


_NUMBERS = {"integer": "whole number", "number": "number"}
_SIGNS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_OTHERS = {"string": "text", "boolean": "true, false", "object": "mapping", "null": "null"}
