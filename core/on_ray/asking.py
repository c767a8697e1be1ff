"""What only a process of the cluster can tell."""

from __future__ import annotations

from collections.abc import Callable
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
    task = ray.remote(num_cpus=0)(function)
    with translated():
        answer: T = ray.get(task.remote(*args))
    return answer
