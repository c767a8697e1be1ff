"""What an engine tells: of the calling code, of actors, processes and placement groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from rllib.core.records import ActorShape
    from rllib.core.runtime import ActorLink


@dataclass(slots=True, kw_only=True)
class Where:
    """Who and where the calling code is; the facts behind `RuntimeContext`. Ids are hex text."""

    job_id: str = ""
    node_id: str = ""
    worker_id: str = ""
    namespace: str = ""
    task_id: str | None = None
    task_name: str | None = None
    function_name: str | None = None
    actor_id: str | None = None
    actor_name: str | None = None
    placement_group_id: str | None = None
    captures_children: bool = False
    resources: Mapping[str, float] = field(default_factory=dict)
    gpus: Sequence[str] = ()
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    session: str = ""
    restarts: int = 0
    """How often the actor was started again."""
    canceled: bool = False
    actor: ActorLink | None = None
    shape: ActorShape | None = None


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """A placement group as `Runtime.groups` tells of it."""

    id: bytes
    name: str
    bundles: list[dict[str, float]]
    strategy: str
    state: str
    """``PENDING``, ``CREATED`` or ``REMOVED``."""
    nodes: tuple[str, ...]
    """Where each of its bundles is; empty where none is reserved."""


@dataclass(frozen=True, slots=True)
class ActorFacts:
    """An actor as `Runtime.actors` tells of it."""

    id: bytes
    class_name: str
    state: str
    """``PENDING_CREATION``, ``ALIVE``, ``RESTARTING`` or ``DEAD``."""
    name: str
    namespace: str
    pid: int
    """Of its process; 0 where it has none."""
    restarts: int
    detached: bool
    group: bytes
    """Its placement group; empty for none."""
    resources: Mapping[str, float]
    death: str
    """How it died."""
    node: str = ""
    """The id of its process's node; empty where that is the one of this process, or none."""


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """A process as `Runtime.workers` tells of it."""

    id: bytes
    pid: int
    is_driver: bool = False
    node: str = ""
    """The id of its node; empty where that is the one of this process."""


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """The object store of a node as `Runtime.stores` tells of it, in bytes."""

    node: str
    used: int
    capacity: int
    spilled: int
    """On disk."""
    fetched: int = 0
    """Large values that were fetched from other nodes: once for all who read them here."""
    received: int = 0
    """Bytes of all large values that came from other nodes: arguments, results, copies."""


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """A call as `Runtime.task_table` tells of it. Ids are hex text."""

    id: str
    name: str
    function: str
    type: str
    """``NORMAL_TASK``, ``ACTOR_TASK`` or ``ACTOR_CREATION_TASK``."""
    state: str
    """In Ray's words."""
    actor_id: str = ""
    parent_id: str = ""
    worker_id: str = ""
    """Of the process that has it; empty where none has it, or that process is not known."""
    pid: int = 0
    resources: Mapping[str, float] = field(default_factory=dict)
    group_id: str = ""
    start_ns: int = 0
    """Since the epoch; 0 where nothing is recorded."""
    end_ns: int = 0


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """A reference in a process, as `Runtime.object_table` tells of it."""

    id: str
    size: int
    """Of its value in bytes; -1 where that is not in this process."""
    status: str
    """Of the call that makes it: ``NIL`` where this process does not know."""
    held: str
    """Why it is there: a reference type in Ray's words."""
    pid: int
    is_driver: bool


T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Found(Generic[T_co]):
    """What several processes have told."""

    rows: Sequence[T_co]
    missing: str = ""
    """What is not among them, in words."""
