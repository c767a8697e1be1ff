"""From the keywords of ``@remote(...)`` and ``.options(...)`` to checked option records."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from rllib.core.runtime import ActorOptions, TaskOptions

_RESOURCE_KEYS = ("num_cpus", "num_gpus", "memory", "resources")
_TASK_KEYS = (*_RESOURCE_KEYS, "num_returns", "max_retries", "name")
_ACTOR_KEYS = (*_RESOURCE_KEYS, "name", "namespace", "get_if_exists", "max_concurrency")
MAX_RETURNS = 65_535
"""What the wire format can count."""

_NOT_YET = (
    "accelerator_type",
    "concurrency_groups",
    "fallback_strategy",
    "label_selector",
    "lifetime",
    "max_calls",
    "max_pending_calls",
    "max_restarts",
    "max_task_retries",
    "retry_exceptions",
    "runtime_env",
    "scheduling_strategy",
)


def task_options(given: Mapping[str, Any]) -> TaskOptions:
    """Check the keywords of a remote function. Raises `ValueError` or `TypeError` naming one."""
    _check_names(given, _TASK_KEYS, "a remote function")
    _check_int(given, "num_returns", low=0, high=MAX_RETURNS)
    _check_int(given, "max_retries", low=-1)
    plain = {key: given[key] for key in ("num_returns", "max_retries", "name") if key in given}
    return TaskOptions(resources=_resources(given, default_cpus=1.0), **plain)


def actor_options(given: Mapping[str, Any]) -> ActorOptions:
    """Check the keywords of an actor class. Raises `ValueError` or `TypeError` naming one."""
    _check_names(given, _ACTOR_KEYS, "an actor")
    _check_int(given, "max_concurrency", low=1)
    if given.get("get_if_exists") and not given.get("name"):
        raise ValueError("get_if_exists needs a name to look for: add name=...")
    held = _resources(given, default_cpus=0.0)
    placement = held if given.get("num_cpus") is not None else {"CPU": 1.0, **held}
    keys = ("name", "namespace", "get_if_exists", "max_concurrency")
    plain = {key: given[key] for key in keys if given.get(key) is not None}
    return ActorOptions(resources=held, placement=placement, **plain)


def _check_names(given: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in given:
        if key in known:
            continue
        if key in _NOT_YET:
            raise ValueError(f"option {key!r} of {what} is not supported by rllib.core yet")
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
        raise ValueError(f"{key!r} is not an option of {what}{hint}")


def _check_int(given: Mapping[str, Any], key: str, low: int, high: int | None = None) -> None:
    value = given.get(key)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{key} must be an int, got {value!r}")
    if value < low:
        raise ValueError(f"{key} must be at least {low}, got {value}")
    if high is not None and value > high:
        raise ValueError(f"{key} must be at most {high}, got {value}")


def _resources(given: Mapping[str, Any], default_cpus: float) -> dict[str, float]:
    custom = given.get("resources") or {}
    for key, word in (("CPU", "num_cpus"), ("GPU", "num_gpus")):
        if key in custom:
            raise ValueError(f"{key!r} does not go into resources; use {word}=...")
    cpus = given.get("num_cpus")
    amounts = {
        "CPU": default_cpus if cpus is None else cpus,
        "GPU": given.get("num_gpus") or 0,
        "memory": given.get("memory") or 0,
        **custom,
    }
    return {name: _amount(name, value) for name, value in amounts.items() if value}


def _amount(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"the amount of {name} must be a number, got {value!r}")
    if value < 0 or (value > 0 and value < 1e-4):
        raise ValueError(f"the amount of {name} must be 0 or at least 0.0001, got {value}")
    return float(value)
