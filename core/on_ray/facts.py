"""What Ray knows: of the calling code, and of an actor behind one of its handles."""

from __future__ import annotations

from typing import Any

import ray

from rllib.core.actor import BUILTIN_METHODS, BUILTIN_SIGNATURES
from rllib.core.facts import Where
from rllib.core.on_ray.refs import RayActor
from rllib.core.records import STREAMING, ActorShape, CallOptions
from rllib.core.signature import Signature


def where_on_ray(in_worker: bool) -> Where:
    """Who and where the calling code is: of a task there is something to know in workers alone."""
    context = ray.get_runtime_context()
    where = Where(
        job_id=context.get_job_id(),
        node_id=context.get_node_id(),
        worker_id=context.get_worker_id(),
        namespace=context.namespace,
        runtime_env=context.runtime_env,
        session=f"{context.get_temp_dir()}/{context.get_session_name()}",
    )
    if in_worker:
        _add_task(where, context)
        if context.get_actor_id() is not None:
            _add_actor(where, context)
    return where


def _add_task(where: Where, context: Any) -> None:
    where.task_id = context.get_task_id()
    where.task_name = context.get_task_name()
    where.function_name = context.get_task_function_name()
    where.placement_group_id = context.get_placement_group_id()
    where.captures_children = context.should_capture_child_tasks_in_placement_group
    where.resources = context.get_assigned_resources()
    where.gpus = context.get_accelerator_ids().get("GPU", [])
    where.canceled = context.is_canceled()


def _add_actor(where: Where, context: Any) -> None:
    handle = context.current_actor
    where.actor_id = context.get_actor_id()
    where.actor_name = context.get_actor_name()
    where.restarts = int(context.was_current_actor_reconstructed)
    where.actor = RayActor(handle)
    where.shape = shape_of(handle)


def shape_of(handle: Any) -> ActorShape:
    """The shape of an actor as its handle has it, also of one that Ray's own API made."""
    names = _method_names(handle)
    class_name = handle._ray_actor_creation_function_descriptor.class_name
    methods = {name: _call_options(handle, name) for name in names}
    signatures = {
        name: Signature(f"{class_name}.{name}", handle._ray_method_signatures[name])
        for name in names
    }
    return ActorShape(
        class_name, {**BUILTIN_METHODS, **methods}, {**BUILTIN_SIGNATURES, **signatures}
    )


def _method_names(handle: Any) -> list[str]:
    names = handle._ray_method_signatures
    return [name for name in names if not name.startswith("__") or name == "__call__"]


def _call_options(handle: Any, name: str) -> CallOptions:
    streaming = handle._ray_method_is_generator.get(name)
    return CallOptions(
        num_returns=STREAMING if streaming else handle._ray_method_num_returns.get(name) or 1,
        is_generator=bool(streaming),
        max_task_retries=handle._ray_method_max_task_retries.get(name) or 0,
    )
