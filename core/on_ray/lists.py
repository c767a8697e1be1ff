"""Ray's own lists of tasks, objects, actors and processes, which its dashboard keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray
from ray.util import state
from ray.util.state.exception import RayStateApiException, ServerUnavailable

from rllib.core.facts import ActorFacts, Found, ObjectFacts, TaskFacts, WorkerFacts

_LIMIT = 10_000
"""The most that Ray lists."""

TIMEOUT_S = 30.0


def tasks(timeout: float) -> Found[TaskFacts]:
    """Also those that have ended, of which Ray keeps the last."""
    return _found([_task(row) for row in _listed(state.list_tasks, timeout)])


def objects(timeout: float) -> Found[ObjectFacts]:
    """One row for each process that has the reference."""
    return _found([_object(row) for row in _listed(state.list_objects, timeout)])


def actors() -> list[ActorFacts]:
    """Those that live, and the last that died."""
    return [_actor(row) for row in _listed(state.list_actors, TIMEOUT_S)]


def workers() -> list[WorkerFacts]:
    """The processes that live, first the drivers."""
    living = [row for row in _listed(state.list_workers, TIMEOUT_S) if row.is_alive]
    facts = [
        WorkerFacts(bytes.fromhex(row.worker_id), row.pid, row.worker_type == "DRIVER")
        for row in living
    ]
    return sorted(facts, key=lambda worker: not worker.is_driver)


def _listed(ask: Callable[..., Any], timeout: float) -> list[Any]:
    """Raises `RuntimeError` where Ray has no dashboard, or cannot answer."""
    try:
        rows: list[Any] = ask(
            address=ray.get_runtime_context().gcs_address,
            limit=_LIMIT,
            timeout=max(1, round(timeout)),
            detail=True,
            raise_on_missing_output=False,
        )
    except ServerUnavailable as error:
        raise RuntimeError(
            "this engine keeps no lists without Ray's dashboard: install ray[default], and start "
            "Ray with include_dashboard=True"
        ) from error
    except RayStateApiException as error:
        raise RuntimeError(f"Ray cannot list it: {error}") from error
    return rows


def _found(rows: list[Any]) -> Found[Any]:
    return Found(rows, f"Ray lists {_LIMIT} rows at most" if len(rows) == _LIMIT else "")


def _task(row: Any) -> TaskFacts:
    return TaskFacts(
        row.task_id,
        row.name,
        row.func_or_class_name,
        row.type,
        row.state,
        row.actor_id or "",
        row.parent_task_id,
        row.worker_id or "",
        row.worker_pid or 0,
        row.required_resources or {},
        row.placement_group_id or "",
        (row.start_time_ms or 0) * 10**6,
        (row.end_time_ms or 0) * 10**6,
    )


def _object(row: Any) -> ObjectFacts:
    driver = row.type == "DRIVER"
    status, held = row.task_status, row.reference_type
    return ObjectFacts(row.object_id, int(row.object_size), status, held, row.pid, driver)


def _actor(row: Any) -> ActorFacts:
    return ActorFacts(
        bytes.fromhex(row.actor_id),
        row.class_name,
        row.state,
        row.name or "",
        row.ray_namespace or "",
        row.pid or 0,
        int(row.num_restarts or 0),
        bool(row.is_detached),
        bytes.fromhex(row.placement_group_id or ""),
        row.required_resources or {},
        str(row.death_cause or ""),
    )
