"""What there is now: actors, processes, machines, placement groups, under Ray's names.

::

    for actor in list_actors(filters=[("state", "=", "ALIVE")]):
        print(actor.class_name, actor.pid, actor["num_restarts"])

Everything comes from the tables of the node service, so it costs a question and an answer, whatever
the processes are busy with. Of dead actors the last ones are listed.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from rllib.core import api

__all__ = [
    "ActorState",
    "NodeState",
    "PlacementGroupState",
    "WorkerState",
    "get_actor",
    "get_node",
    "get_placement_group",
    "get_worker",
    "list_actors",
    "list_nodes",
    "list_placement_groups",
    "list_workers",
    "summarize_actors",
]

DEFAULT_LIMIT = 100

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
    """A machine."""

    node_id: str
    node_ip: str
    is_head_node: bool
    state: str
    node_name: str
    resources_total: dict[str, float]
    labels: dict[str, str]


@dataclass(frozen=True)
class PlacementGroupState(State):
    """A placement group. ``state`` is PENDING, CREATED or REMOVED."""

    placement_group_id: str
    name: str
    creator_job_id: str
    state: str
    strategy: str
    bundles: list[dict[str, float]]


Row = TypeVar("Row", bound=State)


def list_actors(
    *, filters: Sequence[Filter] | None = None, limit: int = DEFAULT_LIMIT
) -> list[ActorState]:
    """Actors that live, and the last that died: ``limit`` of those that pass all ``filters``.

    Raises `ValueError` for a filter that names no field, or another predicate than = and !=.
    """
    return _selected(ActorState, _actors(), filters, limit)


def list_workers(
    *, filters: Sequence[Filter] | None = None, limit: int = DEFAULT_LIMIT
) -> list[WorkerState]:
    """The processes that live, first the driver; see `list_actors`."""
    return _selected(WorkerState, _workers(), filters, limit)


def list_nodes(
    *, filters: Sequence[Filter] | None = None, limit: int = DEFAULT_LIMIT
) -> list[NodeState]:
    """The machines; see `list_actors`."""
    return _selected(NodeState, _nodes(), filters, limit)


def list_placement_groups(
    *, filters: Sequence[Filter] | None = None, limit: int = DEFAULT_LIMIT
) -> list[PlacementGroupState]:
    """Placement groups, also those that were removed; see `list_actors`."""
    return _selected(PlacementGroupState, _groups(), filters, limit)


def get_actor(id: str) -> ActorState | None:
    """The actor of that id in hexadecimal, if it is listed."""
    return _first(_actors(), "actor_id", id)


def get_worker(id: str) -> WorkerState | None:
    """The process of that id, if it lives."""
    return _first(_workers(), "worker_id", id)


def get_node(id: str) -> NodeState | None:
    """The machine of that id."""
    return _first(_nodes(), "node_id", id)


def get_placement_group(id: str) -> PlacementGroupState | None:
    """The placement group of that id."""
    return _first(_groups(), "placement_group_id", id)


def summarize_actors() -> dict[str, Any]:
    """How many actors of each class are in which state."""
    counts: dict[str, Counter[str]] = {}
    for actor in _actors():
        counts.setdefault(actor.class_name, Counter())[actor.state] += 1
    summary = {
        name: {"class_name": name, "state_counts": dict(states)} for name, states in counts.items()
    }
    total = sum(states.total() for states in counts.values())
    cluster = {"summary": summary, "total_actors": total, "summary_by": "class"}
    return {"cluster": cluster}


# -- where it comes from ---------------------------------------------------------------------------


def _actors() -> list[ActorState]:
    runtime = api.runtime()
    here = runtime.where()
    return [
        ActorState(
            actor_id=facts.id.hex(),
            class_name=facts.class_name,
            state=facts.state,
            job_id=here.job_id,
            name=facts.name,
            node_id=here.node_id,
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


def _workers() -> list[WorkerState]:
    runtime = api.runtime()
    node = runtime.where().node_id
    return [
        WorkerState(
            worker_id=facts.id.hex(),
            is_alive=True,
            worker_type="DRIVER" if facts.is_driver else "WORKER",
            node_id=node,
            ip="127.0.0.1",
            pid=facts.pid,
        )
        for facts in runtime.workers()
    ]


def _nodes() -> list[NodeState]:
    return [
        NodeState(
            node_id=node["NodeID"],
            node_ip=node["NodeManagerAddress"],
            is_head_node=index == 0,
            state="ALIVE" if node["Alive"] else "DEAD",
            node_name=node["NodeName"],
            resources_total=node["Resources"],
            labels=node["Labels"],
        )
        for index, node in enumerate(api.runtime().nodes())
    ]


def _groups() -> list[PlacementGroupState]:
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


# -- choosing --------------------------------------------------------------------------------------


def _selected(
    kind: type[Row], rows: Iterable[Row], filters: Sequence[Filter] | None, limit: int
) -> list[Row]:
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


def _first(rows: Iterable[Row], key: str, wanted: str) -> Row | None:
    return next((row for row in rows if row[key] == wanted), None)
