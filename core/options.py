"""From the keywords of ``@remote(...)``, ``@method(...)`` and ``.options(...)`` to option records.

Every keyword is checked here, with the text that the user sees; what comes out is typed and
complete. ``None`` always means the default.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from rllib.core.records import STREAMING, ActorOptions, CallOptions, RetryOn, TaskOptions

_RESOURCE_KEYS = ("num_cpus", "num_gpus", "memory", "resources")
_LASTING_KEYS = ("num_cpus", "num_gpus", "resources", "accelerator_type")
"""An actor that is given one of these holds a CPU for as long as it lives, unless ``num_cpus`` says
otherwise; any other needs one to be constructed, and none later."""
_CALL_KEYS = (
    "num_returns",
    "name",
    "retry_exceptions",
    "_generator_backpressure_num_objects",
    "enable_task_events",
)
_PLACE_KEYS = (
    "scheduling_strategy",
    "runtime_env",
    "accelerator_type",
    "label_selector",
    "fallback_strategy",
)
_TASK_KEYS = (*_RESOURCE_KEYS, *_CALL_KEYS, "max_retries", "max_calls", *_PLACE_KEYS)
_METHOD_KEYS = (*_CALL_KEYS, "max_task_retries", "concurrency_group")
_ACTOR_KEYS = (
    *_RESOURCE_KEYS,
    "name",
    "namespace",
    "get_if_exists",
    "max_concurrency",
    "concurrency_groups",
    "max_pending_calls",
    "max_task_retries",
    "max_restarts",
    "lifetime",
    "enable_task_events",
    *_PLACE_KEYS,
)
MAX_RETURNS = 65_535
"""What the wire format can count."""

_ACCELERATOR_SHARE = 0.001
"""Of the resource that says that a machine has such GPUs; small, so that it never runs out."""

Given = Mapping[str, Any]


def task_options(given: Given, *, is_generator: bool = False) -> TaskOptions:
    """Check the keywords of a remote function. Raises `ValueError` or `TypeError` naming one."""
    _check_names(given, _TASK_KEYS, "a remote function")
    gpus = given.get("num_gpus") or 0
    resources = _resources(given, default_cpus=1.0)
    return TaskOptions(
        num_returns=_num_returns(given, is_generator),
        resources=resources,
        max_retries=_int(given, "max_retries", 3, low=-1),
        retry_exceptions=_retry_on(given),
        # A process that has used a GPU keeps memory of it for as long as it lives.
        max_calls=_int(given, "max_calls", 1 if gpus else 0, low=0),
        name=_text(given, "name"),
        backpressure=_backpressure(given),
        task_events=_flag(given, "enable_task_events", True),
        strategy=_strategy(given, resources),
        label_selector=_selector(given),
        fallback_strategy=_fallbacks(given),
        runtime_env=_runtime_env(given),
    )


def call_options(given: Given, defaults: CallOptions) -> CallOptions:
    """Check the keywords of a method call. Raises `ValueError` or `TypeError` naming one."""
    _check_names(given, _METHOD_KEYS, "an actor's method")
    asked, generator = given.get("num_returns") is not None, defaults.is_generator
    return CallOptions(
        num_returns=_num_returns(given, generator) if asked else defaults.num_returns,
        is_generator=generator,
        max_task_retries=_int(given, "max_task_retries", defaults.max_task_retries, low=-1),
        retry_exceptions=_retry_on(given) or defaults.retry_exceptions,
        concurrency_group=_text(given, "concurrency_group") or defaults.concurrency_group,
        name=_text(given, "name") or defaults.name,
        backpressure=_backpressure(given, defaults.backpressure),
        task_events=_flag(given, "enable_task_events", defaults.task_events),
    )


def actor_options(given: Given) -> ActorOptions:
    """Check the keywords of an actor class. Raises `ValueError` or `TypeError` naming one."""
    _check_names(given, _ACTOR_KEYS, "an actor")
    max_pending_calls(given)
    max_task_retries(given)
    get_if_exists = _flag(given, "get_if_exists", False)
    if get_if_exists and not given.get("name"):
        raise ValueError("get_if_exists needs a name to look for: add name=...")
    asks = any(given.get(key) not in (None, {}) for key in _LASTING_KEYS)
    held = _resources(given, default_cpus=1.0 if asks else 0.0)
    placement = held if asks else {"CPU": 1.0, **held}
    return ActorOptions(
        name=_text(given, "name"),
        namespace=_text(given, "namespace"),
        get_if_exists=get_if_exists,
        resources=held,
        placement=placement,
        max_concurrency=_int(given, "max_concurrency", 0, low=1),
        concurrency_groups=_groups(given),
        max_restarts=_int(given, "max_restarts", 0, low=-1),
        task_events=_flag(given, "enable_task_events", True),
        detached=_is_detached(given),
        strategy=_strategy(given, placement),
        label_selector=_selector(given),
        fallback_strategy=_fallbacks(given),
        runtime_env=_runtime_env(given),
    )


def max_pending_calls(given: Given) -> int:
    """How many calls of an actor one process may have unanswered; -1 without limit."""
    value = _int(given, "max_pending_calls", -1, low=-1)
    if value == 0:
        raise ValueError("max_pending_calls must be positive, or -1 for no limit; got 0")
    return value


def max_task_retries(given: Given) -> int:
    """The default of all methods of an actor."""
    return _int(given, "max_task_retries", 0, low=-1)


# -- one keyword at a time -------------------------------------------------------------------------


def _check_names(given: Given, known: tuple[str, ...], what: str) -> None:
    for key in given:
        if key in known:
            continue
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
        raise ValueError(f"{key!r} is not an option of {what}{hint}")


def _is_detached(given: Given) -> bool:
    value = given.get("lifetime")
    if value not in (None, "detached", "non_detached"):
        raise ValueError(f"lifetime must be 'detached' or 'non_detached', got {value!r}")
    return bool(value == "detached")


def _strategy(given: Given, needs: Mapping[str, float]) -> Any:
    if given.get("scheduling_strategy") is None:
        return None
    from rllib.core.util.scheduling_strategies import check_strategy

    return check_strategy(given["scheduling_strategy"], needs)


def _selector(given: Given) -> dict[str, str]:
    if given.get("label_selector") is None:
        return {}
    from rllib.core.labels import check_selector

    return check_selector(given["label_selector"])


def _fallbacks(given: Given) -> tuple[dict[str, dict[str, str]], ...]:
    if given.get("fallback_strategy") is None:
        return ()
    from rllib.core.labels import check_fallbacks

    return check_fallbacks(given["fallback_strategy"])


def _runtime_env(given: Given) -> dict[str, Any]:
    if given.get("runtime_env") is None:
        return {}
    from rllib.core.runtime_env import check

    return check(given["runtime_env"])


def _num_returns(given: Given, is_generator: bool) -> int:
    value = given.get("num_returns")
    if value == "streaming" and not is_generator:
        raise ValueError('num_returns="streaming" is for generators, and this is none')
    if value == "streaming" or (value is None and is_generator):
        return STREAMING
    if value == "dynamic":
        raise ValueError('num_returns="dynamic" is not supported; use "streaming"')
    return _int(given, "num_returns", 1, low=0, high=MAX_RETURNS)


def _retry_on(given: Given) -> RetryOn:
    value = given.get("retry_exceptions")
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, (list, tuple)) and all(map(_is_exception_class, value)):
        return tuple(value)
    wrong = ValueError if isinstance(value, (list, tuple)) else TypeError
    raise wrong(f"retry_exceptions must be a bool or a list of exception classes, got {value!r}")


def _is_exception_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def _backpressure(given: Given, default: int = -1) -> int:
    key = "_generator_backpressure_num_objects"
    value = _int(given, key, default, low=-1)
    if value == 0:
        raise ValueError(f"{key} must be positive, or -1 for no limit; got 0")
    return value


def _groups(given: Given) -> dict[str, int]:
    groups = given.get("concurrency_groups") or {}
    if not isinstance(groups, Mapping):
        raise TypeError(f"concurrency_groups must map names to sizes, got {groups!r}")
    for name, size in groups.items():
        if not isinstance(name, str):
            raise TypeError(f"the name of a concurrency group must be a str, got {name!r}")
        _check_int(f"the size of concurrency group {name!r}", size, low=1)
    return dict(groups)


def _text(given: Given, key: str) -> str:
    value = given.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"{key} must be a str, got {value!r}")
    if not value:
        raise ValueError(f"{key} must not be empty; leave it out instead")
    return value


def _flag(given: Given, key: str, default: bool) -> bool:
    value = given.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise TypeError(f"{key} must be True or False, got {value!r}")
    return value


def _int(given: Given, key: str, default: int, *, low: int, high: int | None = None) -> int:
    value = given.get(key)
    if value is None:
        return default
    _check_int(key, value, low, high)
    return int(value)


def _check_int(what: str, value: Any, low: int, high: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} must be an int, got {value!r}")
    if value < low:
        raise ValueError(f"{what} must be at least {low}, got {value}")
    if high is not None and value > high:
        raise ValueError(f"{what} must be at most {high}, got {value}")


def _resources(given: Given, default_cpus: float) -> dict[str, float]:
    custom = given.get("resources") or {}
    if not isinstance(custom, Mapping):
        raise TypeError(f"resources must map names to amounts, got {custom!r}")
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
    if accelerator := _text(given, "accelerator_type"):
        amounts[f"accelerator_type:{accelerator}"] = _ACCELERATOR_SHARE
    return {name: amount(name, value) for name, value in amounts.items() if value}


def amount(name: str, value: Any) -> float:
    """An amount of a resource. Raises `ValueError` or `TypeError` naming it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"the amount of {name} must be a number, got {value!r}")
    if value != 0 and not 1e-4 <= value < float("inf"):
        raise ValueError(f"the amount of {name} must be 0 or at least 0.0001, got {value}")
    if name == "GPU" and value > 1 and value != int(value):
        raise ValueError(f"more than one GPU must be a whole number of them, got {value}")
    return float(value)
