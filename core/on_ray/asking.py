"""What only a process of the cluster can tell."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import ray
from ray.util.client import ray as client

from rllib.core.on_ray.errors import translated

T = TypeVar("T")


def on_cluster(function: Callable[..., T], *args: Any) -> T:
    """What ``function`` returns in a process of the cluster: in this one, or in a task there for a
    driver that comes through Ray Client."""
    if not client.is_connected():
        return function(*args)
    with translated():
        answer: T = ray.get(_task(function).remote(*args))
    return answer


@lru_cache(maxsize=32)
def _task(function: Callable[..., Any]) -> Any:
    """Sent there once."""
    return ray.remote(num_cpus=0)(function)
