"""Where the rows of `rllib.core.util.state` come from: what the engine tells, in Ray's words."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TypeVar

from rllib.core import api
from rllib.core.exceptions import CoreError
from rllib.core.facts import Found, TaskFacts
from rllib.core.util.states import (
    ActorState,
    JobState,
    NodeState,
    ObjectState,
    PlacementGroupState,
    StoreState,
    TaskState,
    WorkerState,
)

Fact = TypeVar("Fact")


class StateApiException(CoreError):
    """What was asked for is not known in full."""


def actors() -> list[ActorState]:
    """Those that live, and the last that died."""
    runtime = api.runtime()
    here = runtime.where()
    return [
        ActorState(
            actor_id=facts.id.hex(),
            class_name=facts.class_name,
            state=facts.state,
            job_id=here.job_id,
            name=facts.name,
            node_id=facts.node or here.node_id,
            pid=facts.pid,
            ray_namespace=facts.namespace,
            num_restarts=facts.restarts,
            is_detached=facts.detached,
            placement_group_id=facts.group.hex() or None,
            required_resources=dict(facts.resources),
            death_cause=facts.death or None,
        )
        for facts in runtime.actors()
    ]


def workers() -> list[WorkerState]:
    """The processes that live, first the driver."""
    runtime = api.runtime()
    here = runtime.where().node_id
    addresses = {row["NodeID"]: str(row["NodeManagerAddress"]) for row in runtime.nodes()}
    return [
        WorkerState(
            worker_id=facts.id.hex(),
            is_alive=True,
            worker_type="DRIVER" if facts.is_driver else "WORKER",
            node_id=facts.node or here,
            ip=addresses.get(facts.node or here, ""),
            pid=facts.pid,
        )
        for facts in runtime.workers()
    ]


def nodes() -> list[NodeState]:
    """The machines."""
    return [
        NodeState(
            node_id=node["NodeID"],
            node_ip=node["NodeManagerAddress"],
            is_head_node=index == 0,
            state="ALIVE" if node["Alive"] else "DEAD",
            node_name=node["NodeName"],
            resources_total=node["Resources"],
            labels=node["Labels"],
            state_message=node.get("DeathReasonMessage") or None,
        )
        for index, node in enumerate(api.runtime().nodes())
    ]


def stores(timeout: float) -> list[StoreState]:
    """Of machines that live."""
    return [
        StoreState(
            facts.node, facts.used, facts.capacity, facts.spilled, facts.fetched, facts.received
        )
        for facts in api.runtime().stores(timeout)
    ]


def groups() -> list[PlacementGroupState]:
    """All, also those that were removed."""
    runtime = api.runtime()
    job = runtime.where().job_id
    return [
        PlacementGroupState(
            placement_group_id=group.id.hex(),
            name=group.name,
            creator_job_id=job,
            state=group.state,
            strategy=group.strategy,
            bundles=group.bundles,
        )
        for group in runtime.groups()
    ]


def tasks(timeout: float, strict: bool) -> list[TaskState]:
    """Calls, of whatever state. Raises `StateApiException` if ``strict`` and not all are known."""
    runtime = api.runtime()
    here = runtime.where()
    rows = _complete(runtime.task_table(timeout), strict)
    return [_task(row, here.job_id, here.node_id) for row in rows]


def _task(task: TaskFacts, job: str, node: str) -> TaskState:
    return TaskState(
        task_id=task.id,
        name=task.name,
        state=task.state,
        job_id=job,
        actor_id=task.actor_id or None,
        type=task.type,
        func_or_class_name=task.function,
        parent_task_id=task.parent_id,
        node_id=node if task.pid else None,
        worker_id=task.worker_id or None,
        worker_pid=task.pid or None,
        required_resources=dict(task.resources),
        placement_group_id=task.group_id or None,
        start_time_ms=task.start_ns // 10**6 or None,
        end_time_ms=task.end_ns // 10**6 or None,
    )


def objects(timeout: float, strict: bool) -> list[ObjectState]:
    """References. Raises `StateApiException` if ``strict`` and not all are known."""
    return [
        ObjectState(
            object_id=row.id,
            object_size=row.size,
            task_status=row.status,
            reference_type=row.held,
            type="DRIVER" if row.is_driver else "WORKER",
            pid=row.pid,
            ip="127.0.0.1",
        )
        for row in _complete(api.runtime().object_table(timeout), strict)
    ]


def _complete(found: Found[Fact], strict: bool) -> Sequence[Fact]:
    if found.missing and strict:
        raise StateApiException(
            f"the list is not complete: {found.missing}; raise_on_missing_output=False lists the "
            "rest, and a longer timeout waits for who is busy"
        )
    return found.rows


def jobs() -> list[JobState]:
    """The one of this driver."""
    job = api.runtime().where().job_id
    return [JobState(job, "DRIVER", "RUNNING", " ".join(sys.argv))]
