"""What there is now: tasks, objects, actors, processes, machines, under Ray's names.

::

    for actor in list_actors(filters=[("state", "=", "ALIVE")]):
        print(actor.class_name, actor.pid, actor["num_restarts"])

Actors, processes, machines and placement groups come from the tables of the node service: a
question and an answer, whatever the processes are busy with. Of dead actors the last are listed.

Tasks and objects are known to the processes that have called or hold them, and nobody keeps a
record of them: all processes are asked. What they do not tell within ``timeout`` seconds is
missing, and what is beyond 10,000 rows of one process. That raises `StateApiException`, unless
``raise_on_missing_output=False``. Tasks that have ended are listed where they were recorded: with
``RLLIB_PROFILING=1`` in the environment of ``init``.

Every row has all that is known; ``detail``, which Ray needs for some of it, changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rllib.core.object_ref import ObjectRef
from rllib.core.util import tables
from rllib.core.util.states import (
    ActorState,
    Filter,
    JobState,
    NodeState,
    ObjectState,
    PlacementGroupState,
    StoreState,
    TaskState,
    WorkerState,
    first,
    selected,
)
from rllib.core.util.tables import StateApiException

__all__ = [
    "ActorState",
    "JobState",
    "NodeState",
    "ObjectState",
    "PlacementGroupState",
    "StateApiException",
    "StoreState",
    "TaskState",
    "WorkerState",
    "get_actor",
    "get_job",
    "get_node",
    "get_objects",
    "get_placement_group",
    "get_task",
    "get_worker",
    "list_actors",
    "list_jobs",
    "list_nodes",
    "list_objects",
    "list_placement_groups",
    "list_stores",
    "list_tasks",
    "list_workers",
    "summarize_actors",
    "summarize_objects",
    "summarize_tasks",
]

DEFAULT_LIMIT = 100
DEFAULT_TIMEOUT_S = 30.0


def list_actors(
    *, filters: Sequence[Filter] | None = None, limit: int = DEFAULT_LIMIT, detail: bool = False
) -> list[ActorState]:
    """Actors that live, and the last that died: ``limit`` of those that pass all ``filters``.

    Raises `ValueError` for a filter that names no field, or another predicate than = and !=.
    """
    return selected(ActorState, tables.actors(), filters, limit)


def list_workers(
    *, filters: Sequence[Filter] | None = None, limit: int = DEFAULT_LIMIT, detail: bool = False
) -> list[WorkerState]:
    """The processes that live, first the driver; see `list_actors`."""
    return selected(WorkerState, tables.workers(), filters, limit)


def list_nodes(
    *, filters: Sequence[Filter] | None = None, limit: int = DEFAULT_LIMIT, detail: bool = False
) -> list[NodeState]:
    """The machines that are there, and the last that died; see `list_actors`."""
    return selected(NodeState, tables.nodes(), filters, limit)


def list_stores(*, timeout: float = DEFAULT_TIMEOUT_S) -> list[StoreState]:
    """How full the object store of each machine is; of those that tell within ``timeout`` seconds.

    Raises `RuntimeError` on an engine that has none of its own.
    """
    return tables.stores(timeout)


def list_placement_groups(
    *, filters: Sequence[Filter] | None = None, limit: int = DEFAULT_LIMIT, detail: bool = False
) -> list[PlacementGroupState]:
    """Placement groups, also those that were removed; see `list_actors`."""
    return selected(PlacementGroupState, tables.groups(), filters, limit)


def list_tasks(
    *,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT_S,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[TaskState]:
    """Calls that have not ended, and those that have where they were recorded; see `list_actors`.

    Raises `StateApiException` where something is missing, see above.
    """
    return selected(TaskState, tables.tasks(timeout, raise_on_missing_output), filters, limit)


def list_objects(
    *,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT_S,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[ObjectState]:
    """The references that each process has: an object has a row in its owner and in every other
    process that refers to it. See `list_tasks`."""
    return selected(ObjectState, tables.objects(timeout, raise_on_missing_output), filters, limit)


def list_jobs(
    *, filters: Sequence[Filter] | None = None, limit: int = DEFAULT_LIMIT, detail: bool = False
) -> list[JobState]:
    """The driver's job; see `list_actors`."""
    return selected(JobState, tables.jobs(), filters, limit)


def get_task(id: str | ObjectRef[Any], timeout: float = DEFAULT_TIMEOUT_S) -> TaskState | None:
    """The call of that id, or the one that makes this reference, if it is listed."""
    wanted = id if isinstance(id, str) else id.task_id().hex()
    return first(tables.tasks(timeout, strict=False), "task_id", wanted)


def get_objects(id: str, timeout: float = DEFAULT_TIMEOUT_S) -> list[ObjectState]:
    """The rows of that object, in all processes that refer to it."""
    return [row for row in tables.objects(timeout, strict=False) if row.object_id == id]


def get_job(id: str) -> JobState | None:
    """The job of that id."""
    return first(tables.jobs(), "job_id", id)


def get_actor(id: str) -> ActorState | None:
    """The actor of that id in hexadecimal, if it is listed."""
    return first(tables.actors(), "actor_id", id)


def get_worker(id: str) -> WorkerState | None:
    """The process of that id, if it lives."""
    return first(tables.workers(), "worker_id", id)


def get_node(id: str) -> NodeState | None:
    """The machine of that id."""
    return first(tables.nodes(), "node_id", id)


def get_placement_group(id: str) -> PlacementGroupState | None:
    """The placement group of that id."""
    return first(tables.groups(), "placement_group_id", id)


def summarize_actors() -> dict[str, Any]:
    """How many actors of each class are in which state."""
    counts: dict[str, Counter[str]] = {}
    for actor in tables.actors():
        counts.setdefault(actor.class_name, Counter())[actor.state] += 1
    summary = {
        name: {"class_name": name, "state_counts": dict(states)} for name, states in counts.items()
    }
    total = sum(states.total() for states in counts.values())
    cluster = {"summary": summary, "total_actors": total, "summary_by": "class"}
    return {"cluster": cluster}


def summarize_tasks(
    timeout: float = DEFAULT_TIMEOUT_S, raise_on_missing_output: bool = True
) -> dict[str, Any]:
    """How many calls of each name are in which state."""
    summary: dict[str, dict[str, Any]] = {}
    totals: Counter[str] = Counter()
    for task in tables.tasks(timeout, raise_on_missing_output):
        entry = summary.setdefault(
            task.name, {"func_or_class_name": task.name, "type": task.type, "state_counts": {}}
        )
        counts = entry["state_counts"]
        counts[task.state] = counts.get(task.state, 0) + 1
        totals[task.type] += 1
    cluster = {
        "summary": summary,
        "total_tasks": totals["NORMAL_TASK"],
        "total_actor_tasks": totals["ACTOR_TASK"],
        "total_actor_scheduled": totals["ACTOR_CREATION_TASK"],
        "summary_by": "func_name",
    }
    return {"cluster": cluster}


def summarize_objects(
    timeout: float = DEFAULT_TIMEOUT_S, raise_on_missing_output: bool = True
) -> dict[str, Any]:
    """How many references there are of each kind, and how large their values are together.

    Where in the code they were made is not recorded, so there is one entry: ``disabled``.
    """
    rows = tables.objects(timeout, raise_on_missing_output)
    megabytes = sum(max(row.object_size, 0) for row in rows) / 2**20
    entry = {
        "total_objects": len(rows),
        "total_size_mb": megabytes,
        "total_num_workers": len({row.pid for row in rows}),
        "total_num_nodes": min(len(rows), 1),
        "task_state_counts": dict(Counter(row.task_status for row in rows)),
        "ref_type_counts": dict(Counter(row.reference_type for row in rows)),
    }
    cluster = {
        "summary": {"disabled": entry} if rows else {},
        "total_objects": len(rows),
        "total_size_mb": megabytes,
        "callsite_enabled": False,
        "summary_by": "callsite",
    }
    return {"cluster": cluster}
