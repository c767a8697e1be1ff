"""Frames: a fixed header, and what is packed by hand.

Nothing here unpickles: pickle streams are opaque bytes, and decoding a malformed frame raises
`WireError`.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import msgspec

from rllib.core.native.wire.bulk import BulkAt, Coming
from rllib.core.native.wire.message import WireError
from rllib.core.native.wire.peer import SegmentAt
from rllib.core.native.wire.record import Record
from rllib.core.native.wire.values import Payload

HEADER: Final = struct.Struct("<IBBHIQ")
"""Payload length, kind, flags, number of returns, target (interned number), number of the call:
that of its first reference, or another one of the caller's that no reference has."""
_FLAGS_AT: Final = 5

CALL: Final = 1
REPLY: Final = 2
RECORD: Final = 3
ITEM: Final = 4
"""One result of a streaming call, whose index is in the place of the target."""

SEGMENT: Final = 5
"""A `SegmentAt`, with its descriptor."""

BULK: Final = 6
"""From a process to its gateway: a `BulkAt`, with a descriptor of where it lies."""

COMING: Final = 7
"""Between gateways: a `Coming`, and behind it, outside of all frames, the bytes."""

ARRIVED: Final = 8
"""Between gateways: the bytes of that number have come; it is in the place of the call's."""

CLAIMED: Final = 9
"""From a process to its gateway: it knows now of what has `Landed` under that number."""

PLAIN: Final = 1
"""The payload is a pickle stream; without it, msgpack (`Payload`, or a list of them)."""
ERROR: Final = 2
"""REPLY: the value is the exception that was raised."""

RETURNED: Final = 4
"""REPLY: the call was not begun; the caller may send it elsewhere."""

LEAVING: Final = 8
"""REPLY: the worker takes no more calls; its lease is to be returned."""

STREAM: Final = 16
"""CALL: results are sent as ITEM frames, as they are yielded."""

WANTED: Final = 32
"""CALL: somebody waits for the result already; see `Wanted`."""

MAX_PAYLOAD: Final = 2**30


_encode = msgspec.msgpack.Encoder().encode
_decode_record = msgspec.msgpack.Decoder(Record).decode
_decode_segment = msgspec.msgpack.Decoder(SegmentAt).decode
_decode_bulk = msgspec.msgpack.Decoder(BulkAt).decode
_decode_coming = msgspec.msgpack.Decoder(Coming).decode
_decode_payload = msgspec.msgpack.Decoder(Payload).decode
_decode_payloads = msgspec.msgpack.Decoder(list[Payload]).decode


def encode_record(record: Any) -> bytes:
    """A typed message without a frame, for sockets that keep boundaries."""
    return _encode(record)


def record_frame(record: Any) -> bytes:
    """A typed message as a frame."""
    payload = _encode(record)  # no `_frame`: one call less for each small message
    return HEADER.pack(len(payload), RECORD, 0, 0, 0, 0) + payload


def call_frame(target: int, seq: int, returns: int, payload: Payload, flags: int = 0) -> bytes:
    """A call with arguments that refer to something."""
    data = _encode(payload)
    return HEADER.pack(len(data), CALL, flags, returns, target, seq) + data


def plain_call_frame(target: int, seq: int, returns: int, body: bytes, flags: int = 0) -> bytes:
    """A call with arguments that are a pickle stream alone; an empty one for no arguments."""
    return HEADER.pack(len(body), CALL, flags | PLAIN, returns, target, seq) + body


def reply_frame(seq: int, payloads: list[Payload]) -> bytes:
    """The results of a call, one for each return value."""
    data = _encode(payloads)
    return HEADER.pack(len(data), REPLY, 0, 0, 0, seq) + data


def plain_reply_frame(seq: int, body: bytes) -> bytes:
    """The only result of a call, a pickle stream alone."""
    return HEADER.pack(len(body), REPLY, PLAIN, 0, 0, seq) + body


def item_frame(seq: int, index: int, payload: Payload) -> bytes:
    """One result of a streaming call."""
    data = _encode([payload])
    return HEADER.pack(len(data), ITEM, 0, 0, index, seq) + data


def plain_item_frame(seq: int, index: int, body: bytes) -> bytes:
    """One result of a streaming call, a pickle stream alone."""
    return HEADER.pack(len(body), ITEM, PLAIN, 0, index, seq) + body


def stream_end_frame(seq: int, length: int) -> bytes:
    """A streaming call has yielded all, ``length`` results."""
    return HEADER.pack(0, REPLY, STREAM, 0, length, seq)


def returned_frame(seq: int) -> bytes:
    """A call that was not begun."""
    return HEADER.pack(0, REPLY, RETURNED, 0, 0, seq)


def error_frame(seq: int, body: bytes) -> bytes:
    """The pickled exception of a call, in place of all its results."""
    return HEADER.pack(len(body), REPLY, PLAIN | ERROR, 0, 0, seq) + body


def segment_frame(segment: SegmentAt) -> bytes:
    """Goes with a descriptor of the segment."""
    return _frame(SEGMENT, segment)


def bulk_frame(bulk: BulkAt) -> bytes:
    """Goes with a descriptor of where it lies."""
    return _frame(BULK, bulk)


def coming_frame(coming: Coming) -> bytes:
    """Goes before so many bytes."""
    return _frame(COMING, coming)


def notice_frame(kind: int, number: int) -> bytes:
    """ARRIVED or CLAIMED."""
    return HEADER.pack(0, kind, 0, 0, 0, number)


def _frame(kind: int, message: Any) -> bytes:
    payload = _encode(message)
    return HEADER.pack(len(payload), kind, 0, 0, 0, 0) + payload


def flagged(frame: bytes, flag: int) -> bytes:
    """The same frame with one more flag."""
    return frame[:_FLAGS_AT] + bytes([frame[_FLAGS_AT] | flag]) + frame[_FLAGS_AT + 1 :]


def read_record(data: bytes) -> Any:
    """The message of a RECORD frame. Raises `WireError`."""
    return _read(_decode_record, data)


def read_segment(data: bytes) -> SegmentAt:
    """What is in a SEGMENT frame. Raises `WireError`."""
    segment: SegmentAt = _read(_decode_segment, data)
    return segment


def read_bulk(data: bytes) -> BulkAt:
    """What is in a BULK frame. Raises `WireError`."""
    bulk: BulkAt = _read(_decode_bulk, data)
    return bulk


def read_coming(data: bytes) -> Coming:
    """What is in a COMING frame. Raises `WireError`."""
    coming: Coming = _read(_decode_coming, data)
    return coming


def read_payload(data: bytes) -> Payload:
    """The arguments of a CALL frame. Raises `WireError`."""
    payload: Payload = _read(_decode_payload, data)
    return payload


def read_payloads(data: bytes, count: int) -> list[Payload]:
    """The ``count`` results of a REPLY or ITEM frame. Raises `WireError`."""
    payloads: list[Payload] = _read(_decode_payloads, data)
    if len(payloads) != count:
        raise WireError(f"{len(payloads)} results came where {count} were to come")
    return payloads


def _read(decode: Any, data: bytes) -> Any:
    try:
        return decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"malformed message: {error}") from error
