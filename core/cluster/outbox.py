"""What waits to be said on a control stream. No I/O.

Three bounds keep a stream alive whatever is said on it, and a node's memory small whatever becomes
of the other side. A batch, which is a message of gRPC, has at most `MAX_BATCH` bytes. Of what
workers print, lines are left out, and counted, while `MAX_WAITING` bytes wait. A record of more
than `MAX_RECORD` bytes is not sent: whoever asked for it is answered here (`answers`), or something
short of the same meaning goes instead (`stand_in`).
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import msgspec

from rllib.core.cluster import messages
from rllib.core.exceptions import CoreError
from rllib.core.native import wire
from rllib.core.native.failures import MAX_STORY, shortened
from rllib.core.native.output import MAX_WAITING, Valve

MAX_BATCH = 1 << 20
"""Of encoded records; one that is larger goes by itself."""
MAX_RECORD = 48 << 20

Source = tuple[bytes, str, int]
"""Who is told of output, or who has printed it; then what it is called, and its pid."""

_ROWS: dict[type[Any], str] = {
    wire.ActorTable: "actors",
    wire.GroupTable: "groups",
    wire.NodeTable: "nodes",
    wire.WorkerTable: "workers",
    wire.Names: "names",
    wire.MeasurementsFound: "found",
}
"""Answers that are tables, of which the first rows may do."""


class TooLarge(CoreError):
    """A record that no other node can be told."""


class Outbox:
    """The messages of one stream. From any thread."""

    def __init__(self) -> None:
        self.waiting = 0
        """Bytes."""
        self._lock = threading.Lock()
        self._records: deque[bytes] = deque()
        self._valve = Valve[tuple[type, Source]](MAX_WAITING)

    def put(self, message: Any) -> bool:
        """Queue it; whether nothing was queued before. Raises `TooLarge`."""
        with self._lock:
            if not self._has_room_for(message):
                return False
            record = messages.encode(message)
            if len(record) > MAX_RECORD:
                raise TooLarge(
                    f"it takes {len(record):,} bytes, of which other nodes are told at most "
                    f"{MAX_RECORD:,} at a time"
                )
            self._queue(record)
            return len(self._records) == 1

    def _has_room_for(self, message: Any) -> bool:
        """For all but output there is."""
        match message:
            case messages.Shown(left_out=left_out):
                source = message.worker, "", message.pid
            case messages.Told(client, wire.Printed(label, pid, left_out=left_out)):
                source = client, label, pid
            case _:
                return True
        return self._valve.lets_through((type(message), source), self.waiting, left_out)

    def _queue(self, record: bytes) -> None:
        self._records.append(record)
        self.waiting += len(record)

    def take(self) -> bytes:
        """The next batch, encoded; nothing where nothing is queued."""
        with self._lock:
            batch = self._batch()
            if not self._records:
                for (kind, source), count in self._valve.open():
                    self._queue(messages.encode(_left_out(kind, source, count)))
        return messages.encode([msgspec.Raw(record) for record in batch]) if batch else b""

    def _batch(self) -> list[bytes]:
        batch: list[bytes] = []
        size = 0
        while self._records and (not batch or size + len(self._records[0]) <= MAX_BATCH):
            batch.append(self._records.popleft())
            size += len(batch[-1])
        self.waiting -= size
        return batch


def _left_out(message: type, source: Source, count: int) -> Any:
    """In place of so many lines: a message of that kind."""
    process, label, pid = source
    if message is messages.Shown:
        return messages.Shown(process, pid, "", count)
    return messages.Told(process, wire.Printed(label, pid, "", count))


def answers(request: Any, why: str) -> list[Any]:
    """What a client is told whose request nobody else hears of."""
    match request:
        case wire.RequestLease(lease):
            return [wire.LeaseLost(lease, why, "unschedulable")]
        case wire.PlaceActor(actor, class_name, name=name, owner=owner, seq=seq):
            died = wire.ActorDied(actor, f"actor {class_name} is dead: {why}", "unschedulable")
            return [wire.ActorFound(seq), died] if name or owner else [died]
        case wire.FindActor(seq):
            return [wire.ActorFound(seq)]  # nobody can have been given that name
        case wire.CreateGroup(seq, name=name) if name:
            return [wire.GroupCreated(seq, name_taken=False)]  # who waits for it hears of its end
    return []


def stand_in(record: Any) -> Any:
    """Something short for a record that is too large; ``None`` where there is no such thing."""
    replace = msgspec.structs.replace
    match record:
        case wire.ActorDied(story=story):
            return replace(record, story=shortened(story, MAX_STORY), cause=b"")
        case wire.ActorBuilt(error=error):
            return replace(record, error=shortened(error, MAX_STORY), cause=b"")
        case wire.ActorRestarting(story=story):
            return replace(record, story=shortened(story, MAX_STORY))
        case wire.LeaseLost(reason=text) | wire.KillActor(reason=text):
            return replace(record, reason=shortened(text, MAX_STORY))
        case wire.Told() | wire.Account():
            return replace(record, body=b"")  # as of one that has died before it could answer
    return _first_rows(record) if type(record) in _ROWS else None


def _first_rows(table: Any) -> Any:
    """As many as are sure to fit if all are alike; none where the first of them do not."""
    name = _ROWS[type(table)]
    rows = getattr(table, name)
    size = len(messages.encode(rows))
    few = rows[: len(rows) * MAX_RECORD // (2 * size)]
    if len(messages.encode(few)) > MAX_RECORD // 2 + MAX_BATCH:
        few = []
    return msgspec.structs.replace(table, **{name: few})
