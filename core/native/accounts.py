"""What a process tells of itself when somebody asks all processes; see `census`.

It costs what it costs when it is asked for: nothing is recorded for it. A call is in two tables: in
its caller's from the beginning, and in its callee's once it has arrived there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from rllib.core.instances import instances
from rllib.core.native import wire
from rllib.core.native.call import Call
from rllib.core.native.lanes import Job
from rllib.core.native.leases import Task
from rllib.core.native.objects import BorrowedRef, LifeRef, NativeRef, Stored
from rllib.core.native.spillfiles import SPILL, spilled_bytes

if TYPE_CHECKING:
    from rllib.core.native.engine import NativeRuntime

MAX_ROWS = 10_000
"""Of one process."""

NOBODY = b"\xff" * 24
"""The id of no task."""

_TYPES = {"function": "NORMAL_TASK", "method": "ACTOR_TASK", "actor": "ACTOR_CREATION_TASK"}
"""By what is called."""


class TaskRow(wire.Message):
    """A call, as one side knows it."""

    task: bytes
    state: str
    type: str
    name: str
    function: str
    parent: bytes = NOBODY
    actor: bytes = b""
    resources: dict[str, float] = msgspec.field(default_factory=dict)
    group: bytes = b""
    arrived: bool = False
    """Whether its callee tells of it."""


class ObjectRow(wire.Message):
    """A reference, as a process that has it knows it."""

    object: bytes
    size: int
    status: str
    held: str


Row = TypeVar("Row", TaskRow, ObjectRow)


class Table(wire.Message):
    """The first of the rows, and how many there are."""

    total: int
    tasks: list[TaskRow] = msgspec.field(default_factory=list)
    objects: list[ObjectRow] = msgspec.field(default_factory=list)


read_store = msgspec.msgpack.Decoder(tuple[int, int, int, int, int]).decode
read_leases = msgspec.msgpack.Decoder(list[int]).decode
read_table = msgspec.msgpack.Decoder(Table).decode


def account(
    runtime: NativeRuntime, topic: wire.Topic, jobs: Iterable[tuple[Job, str, bool]] = ()
) -> bytes:
    """The answer of this process, where these ``jobs`` are: with their names, and whether they
    have begun. Under the runtime's lock."""
    if topic == "idle leases":
        return msgspec.msgpack.encode(runtime.tasks.idle_leases())
    if topic == "stores":
        return msgspec.msgpack.encode(_store(runtime))
    calls = list(runtime.cancelling.unfinished())
    if topic == "objects":
        refs = list(_refs(runtime))
        rows = list(islice(_object_rows(runtime, refs, calls), MAX_ROWS))
        return msgspec.msgpack.encode(Table(len(refs), objects=rows))
    arrived = list(jobs)
    tasks = islice(_task_rows(runtime, calls, arrived), MAX_ROWS)
    return msgspec.msgpack.encode(Table(len(calls) + len(arrived), list(tasks)))


def _store(runtime: NativeRuntime) -> tuple[int, int, int, int, int]:
    """Of its node: bytes in use, the limit, bytes on disk; values fetched from elsewhere, and bytes
    of all that came from there."""
    folder = Path(runtime.where().session, SPILL)
    return (
        runtime.ledger.total,
        runtime.ledger.capacity,
        spilled_bytes(folder),
        runtime.calls.fetched,
        runtime.places.landed_bytes,
    )


# -- calls -----------------------------------------------------------------------------------------


def _task_rows(
    runtime: NativeRuntime, calls: list[Call], jobs: list[tuple[Job, str, bool]]
) -> Iterator[TaskRow]:
    for job, name, begun in jobs:
        yield _of_job(job, name, begun)
    for call in calls:
        yield _of_call(runtime, call)


def _of_job(job: Job, name: str, begun: bool) -> TaskRow:
    kind = job.intern.kind
    waits = "PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY" if kind == "method" else _SENT
    state = "RUNNING" if begun else waits
    task = _task_id(job.peer.process, job.seq)
    return TaskRow(task, state, _TYPES[kind], name, job.intern.name, arrived=True)


def _of_call(runtime: NativeRuntime, call: Call) -> TaskRow:
    seq = call.refs[0]._number if call.refs else call.seq
    task = _task_id(runtime.me, seq) if seq else NOBODY
    parent: Job | None = call.parent
    resources, place = call.kind if isinstance(call, Task) else ((), None)
    return TaskRow(
        task,
        _state(runtime, call),
        _TYPES[call.target.kind],
        call.name,
        call.target.name,
        NOBODY if parent is None else _task_id(parent.peer.process, parent.seq),
        b"" if call.actor is None else call.actor.actor_id,
        dict(resources),
        b"" if place is None else place.group,
    )


_SENT = "SUBMITTED_TO_WORKER"


def _state(runtime: NativeRuntime, call: Call) -> str:
    if call.peer is not None:
        return _SENT
    waits = isinstance(call, Task) and runtime.tasks.lacks_arguments(call)
    return "PENDING_ARGS_AVAIL" if waits else "PENDING_NODE_ASSIGNMENT"


def _task_id(caller: bytes, seq: int) -> bytes:
    return caller + seq.to_bytes(8, "big")


# -- references ------------------------------------------------------------------------------------


def _refs(runtime: NativeRuntime) -> Iterator[NativeRef]:
    """Those of this process and this runtime."""
    for ref in instances(NativeRef):
        mine = ref._owner == runtime.me
        if mine or runtime.values.borrowings.find(ref._owner, ref._number) is ref:
            yield ref


def _object_rows(
    runtime: NativeRuntime, refs: list[NativeRef], calls: list[Call]
) -> Iterator[ObjectRow]:
    making = {ref: call for call in calls for ref in call.refs}
    used = {ref for call in calls for ref in call.args.refs}
    for ref in refs:
        call = making.get(ref)
        status = _status(ref) if call is None else _state(runtime, call)
        held = "USED_BY_PENDING_TASK" if ref in used else _held(runtime, ref)
        yield ObjectRow(ref.binary(), _size(ref), status, held)


def _status(ref: NativeRef) -> str:
    if isinstance(ref, (BorrowedRef, LifeRef)):
        return "NIL"
    if ref.outcome is None:
        return "FINISHED" if ref.is_away else "NIL"
    return "FAILED" if isinstance(ref.outcome, Exception) else "FINISHED"


def _held(runtime: NativeRuntime, ref: NativeRef) -> str:
    if isinstance(ref, LifeRef):
        return "ACTOR_HANDLE"
    lent = ref._owner == runtime.me and runtime.values.lendings.find(ref._number) is ref
    return "PINNED_IN_MEMORY" if lent else "LOCAL_REFERENCE"


def _size(ref: NativeRef) -> int:
    """Of its value in bytes; -1 where that is not here."""
    return ref.outcome.size if isinstance(ref.outcome, Stored) else -1
