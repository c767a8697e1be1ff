"""What node services say to each other on the control stream, each way in lists.

Between the nodes of two processes nothing is said: tunnels carry their frames unread.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rllib.core.native import wire
from rllib.core.native.wire.message import Message
from rllib.core.native.wire.record import Record

PROTOCOL = 7
"""Raised with every change of a message; nodes of different ones refuse each other."""


class Join(Message, tag="join"):
    """Node to head, first: what it is and has."""

    protocol: int
    node: str
    host: str
    address: str
    total: dict[str, float]
    gpus: list[str]
    labels: dict[str, str]
    service: bytes
    """The process id of the service itself."""
    python: str
    """Version of Python: functions travel as its bytecode."""
    release: str
    """Version of `rllib`."""


class Relay(Message, tag="relay"):
    """Node to head: a client of mine says this."""

    client: bytes
    record: Record


class Attached(Message, tag="attached"):
    """Node to head: a driver is on me."""

    client: bytes
    pid: int


class Detached(Message, tag="detached"):
    """Node to head: it is gone."""

    client: bytes


class Began(Message, tag="began"):
    """Node to head: the worker is that process."""

    worker: bytes
    pid: int


class Down(Message, tag="down"):
    """Node to head: a worker is gone."""

    worker: bytes
    reason: str
    fate: wire.Fate
    unbegun: bool


class Shown(Message, tag="shown"):
    """Node to head: a worker has printed this."""

    worker: bytes
    pid: int
    line: str
    left_out: int = 0
    """In place of so many lines, which came faster than they could be told."""


class Beat(Message, tag="beat"):
    """Either way, after a second in which there was nothing to say."""


class Welcome(Message, tag="welcome"):
    """Head to node, first."""

    namespace: str


class Refused(Message, tag="refused"):
    """Head to node, instead of `Welcome`."""

    reason: str


class Directory(Message, tag="directory"):
    """Head to all nodes: where the service of each node listens, by its key."""

    addresses: dict[bytes, str]


class Told(Message, tag="tell"):
    """Head to node: tell that client of yours."""

    client: bytes
    record: Record


class Begin(Message, tag="begin"):
    """Head to node: start a worker of that id."""

    worker: bytes


class End(Message, tag="end"):
    """Head to node: end that worker."""

    worker: bytes


class Accused(Message, tag="accused"):
    """Head to node: a process of yours cannot be talked to; end it."""

    process: bytes
    offence: str


Up = Join | Relay | Attached | Detached | Began | Down | Shown | Beat
DownMessage = Welcome | Refused | Directory | Told | Begin | End | Accused | Beat

encode = msgspec.msgpack.Encoder().encode
_decode_up = msgspec.msgpack.Decoder(list[Up]).decode
_decode_down = msgspec.msgpack.Decoder(list[DownMessage]).decode


def read_up(data: bytes) -> list[Any]:
    """What a node has sent to the head. Raises `wire.WireError`."""
    return _read(_decode_up, data)


def read_down(data: bytes) -> list[Any]:
    """What the head has sent to a node. Raises `wire.WireError`."""
    return _read(_decode_down, data)


def _read(decode: Any, data: bytes) -> list[Any]:
    try:
        messages: list[Any] = decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise wire.WireError(f"malformed message: {error}") from error
    return messages
