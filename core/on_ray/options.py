"""Option records as the keywords of Ray's ``.options(...)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray

from rllib.core.logs import Logging
from rllib.core.on_ray.groups import place
from rllib.core.records import (
    STREAMING,
    ActorOptions,
    ActorShape,
    CallOptions,
    RetryOn,
    TaskOptions,
)

Keywords = dict[str, Any]


def of_task(options: TaskOptions) -> Keywords:
    """All but ``max_calls``, which Ray takes with the function alone."""
    return {
        **_of_returns(options),
        **_of_resources(options.resources),
        **_of_place(options),
        "max_retries": options.max_retries,
    }


def of_call(options: CallOptions) -> Keywords:
    """Of one call of a method."""
    keywords = _of_returns(options)
    keywords["max_task_retries"] = options.max_task_retries
    if options.concurrency_group:
        keywords["concurrency_group"] = options.concurrency_group
    return keywords


def of_actor(options: ActorOptions, shape: ActorShape) -> Keywords:
    """All but ``concurrency_groups``, which Ray takes with the class alone."""
    keywords = {
        **_of_resources(options.resources),
        **_of_place(options),
        "enable_task_events": options.task_events,
        "max_restarts": options.max_restarts,
        "max_pending_calls": shape.max_pending_calls,
        "max_concurrency": options.max_concurrency or None,
        "name": options.name or None,
        "namespace": options.namespace or None,
        "lifetime": "detached" if options.detached else None,
        "get_if_exists": options.get_if_exists,
    }
    if options.placement != options.resources:
        # A CPU to begin with, and none later: but for Ray to do so nothing may be said of either.
        del keywords["num_cpus"], keywords["num_gpus"]
    return keywords


def of_machine(amounts: Mapping[str, float], object_store_memory: int | None) -> Keywords:
    """What `init` says of the machine; ``None`` leaves it to Ray."""
    keywords = _of_resources(amounts)
    keywords["num_cpus"] = amounts.get("CPU")
    keywords["num_gpus"] = amounts.get("GPU")
    keywords["_memory"] = keywords.pop("memory")
    keywords["object_store_memory"] = object_store_memory
    return keywords


def of_logging(asked: Logging) -> Keywords:
    """What is said of logging, for Ray to do."""
    config = None if asked.config is None else ray.LoggingConfig(**asked.config.to_dict())
    keywords: Keywords = {"logging_config": config}
    if asked.configure:
        return {**keywords, "logging_level": asked.level, "logging_format": asked.format}
    return {**keywords, "configure_logging": False}


def _of_returns(options: TaskOptions | CallOptions) -> Keywords:
    streaming = options.num_returns == STREAMING
    keywords: Keywords = {
        "num_returns": "streaming" if streaming else options.num_returns,
        "retry_exceptions": _of_retry(options.retry_exceptions),
        "enable_task_events": options.task_events,
    }
    if options.name:
        keywords["name"] = options.name
    if streaming and options.backpressure > 0:
        keywords["_generator_backpressure_num_objects"] = options.backpressure
    return keywords


def _of_retry(retry_on: RetryOn) -> bool | list[type[BaseException]]:
    return retry_on if isinstance(retry_on, bool) else _Classes(retry_on)


class _Classes(list[type[BaseException]]):
    """Ray Client pickles options plainly, which fails for classes that functions define."""

    def __reduce__(self) -> Any:
        return ray.cloudpickle.loads, (ray.cloudpickle.dumps(list(self)),)


def _of_resources(amounts: Mapping[str, float]) -> Keywords:
    custom = {
        name: amount for name, amount in amounts.items() if name not in ("CPU", "GPU", "memory")
    }
    return {
        "num_cpus": amounts.get("CPU", 0),
        "num_gpus": amounts.get("GPU", 0),
        "memory": amounts.get("memory") or None,
        "resources": custom or None,
    }


def _of_place(options: TaskOptions | ActorOptions) -> Keywords:
    keywords: Keywords = {}
    if options.strategy is not None:
        keywords["scheduling_strategy"] = place(options.strategy)
    if options.label_selector:
        keywords["label_selector"] = dict(options.label_selector)
    if options.fallback_strategy:
        keywords["fallback_strategy"] = [dict(each) for each in options.fallback_strategy]
    if options.runtime_env:
        keywords["runtime_env"] = dict(options.runtime_env)
    return keywords
