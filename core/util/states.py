"""The rows of `rllib.core.util.state`, and how some of them are chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Filter = tuple[str, str, Any]
"""A field, ``"="`` or ``"!="``, and a value; text is compared without regard to case."""


@dataclass(frozen=True)
class State:
    """Base of all rows: fields are attributes, and keys as well."""

    def __getitem__(self, key: str) -> Any:
        return self.asdict()[key]

    def get(self, key: str, default: Any = None) -> Any:
        """The field of that name, if there is one."""
        return self.asdict().get(key, default)

    def asdict(self) -> dict[str, Any]:
        """All fields by name."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class ActorState(State):
    """An actor. ``state`` is PENDING_CREATION, ALIVE, RESTARTING or DEAD."""

    actor_id: str
    class_name: str
    state: str
    job_id: str
    name: str
    node_id: str
    pid: int
    """Of its process; 0 where it has none."""
    ray_namespace: str
    num_restarts: int
    is_detached: bool
    placement_group_id: str | None
    required_resources: dict[str, float]
    death_cause: str | None
    """How it died, in words."""


@dataclass(frozen=True)
class WorkerState(State):
    """A process. ``worker_type`` is DRIVER or WORKER."""

    worker_id: str
    is_alive: bool
    worker_type: str
    node_id: str
    ip: str
    pid: int


@dataclass(frozen=True)
class NodeState(State):
    """A machine. ``state`` is ALIVE or DEAD."""

    node_id: str
    node_ip: str
    is_head_node: bool
    state: str
    node_name: str
    resources_total: dict[str, float]
    labels: dict[str, str]
    state_message: str | None = None
    """How it died."""


@dataclass(frozen=True)
class StoreState(State):
    """The object store of a machine, in bytes."""

    node_id: str
    used: int
    capacity: int
    spilled: int
    """On disk."""
    fetched: int = 0
    """Large values that came from other machines, each once for all who read it here."""
    received: int = 0
    """Bytes of all large values that came from other machines: arguments, results, copies."""


@dataclass(frozen=True)
class PlacementGroupState(State):
    """A placement group. ``state`` is PENDING, CREATED or REMOVED."""

    placement_group_id: str
    name: str
    creator_job_id: str
    state: str
    strategy: str
    bundles: list[dict[str, float]]


@dataclass(frozen=True)
class TaskState(State):
    """A call. ``type`` is NORMAL_TASK, ACTOR_TASK or ACTOR_CREATION_TASK.

    ``state`` is PENDING_ARGS_AVAIL, PENDING_NODE_ASSIGNMENT, SUBMITTED_TO_WORKER,
    PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY, RUNNING, and in a recorded session FINISHED or
    FAILED.
    """

    task_id: str
    name: str
    state: str
    job_id: str
    actor_id: str | None
    type: str
    func_or_class_name: str
    parent_task_id: str
    node_id: str | None
    worker_id: str | None
    worker_pid: int | None
    """Of the process in which it is, as long as it lives."""
    required_resources: dict[str, float]
    placement_group_id: str | None
    start_time_ms: int | None
    """Of a recorded session."""
    end_time_ms: int | None


@dataclass(frozen=True)
class ObjectState(State):
    """A reference that a process has.

    ``reference_type`` is USED_BY_PENDING_TASK where a call needs it that has not ended,
    PINNED_IN_MEMORY where its owner keeps it for other processes, ACTOR_HANDLE, else
    LOCAL_REFERENCE.
    """

    object_id: str
    object_size: int
    """In bytes; -1 where the value is not in that process."""
    task_status: str
    """Of the call that makes it; NIL in processes that do not own it."""
    reference_type: str
    type: str
    """Of the process: DRIVER or WORKER."""
    pid: int
    ip: str


@dataclass(frozen=True)
class JobState(State):
    """A driver and all that it has started: one on each of our own engines."""

    job_id: str
    type: str
    status: str
    entrypoint: str


Row = TypeVar("Row", bound=State)


def selected(
    kind: type[Row], rows: Iterable[Row], filters: Sequence[Filter] | None, limit: int
) -> list[Row]:
    """The first ``limit`` rows that pass all filters. Raises `ValueError`, see `list_actors`."""
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    known = [field.name for field in dataclasses.fields(kind)]
    for key, predicate, _ in filters or ():
        if key not in known:
            raise ValueError(f"there is no field {key!r} to filter by; known are {known}")
        if predicate not in ("=", "!="):
            raise ValueError(f"a filter compares with '=' or '!=', got {predicate!r}")
    return [row for row in rows if all(_passes(row, each) for each in filters or ())][:limit]


def _passes(row: State, condition: Filter) -> bool:
    key, predicate, wanted = condition
    equal = str(row[key]).lower() == str(wanted).lower()
    return equal == (predicate == "=")


def first(rows: Iterable[Row], key: str, wanted: str) -> Row | None:
    """The row with that id."""
    return next((row for row in rows if row[key] == wanted), None)
