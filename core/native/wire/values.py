"""Values on their way: in band, in shared memory, in a file."""

from __future__ import annotations

from rllib.core.native.wire.message import Message, Number


class BlockAt(Message, tag="block"):
    """Where the large buffers of a value lie: one block, the buffers aligned one after another."""

    arena: bytes
    segment: Number
    offset: Number
    sizes: list[Number]
    loan: Number = 0
    """Not 0: to be freed under that number at who says this, not at the process of the arena."""


class FileAt(Message, tag="file"):
    """The same in a file, which is named after the process that made it and a number."""

    maker: bytes
    number: Number
    sizes: list[Number]


class Streamed(Message, tag="streamed"):
    """The same, on another node: it has come ahead of this message, see `Landed`."""

    number: Number


class KeptAt(Message, tag="kept"):
    """The same, where it does not come along: that node service keeps it; see `Keep`."""

    service: bytes
    claim: Number
    size: Number


class RefAt(Message):
    """A reference inside a value; with its value, if that is at hand, to save a round trip."""

    owner: bytes
    number: Number
    value: Payload | None = None
    first: int = 0
    """The number of the first of the results of its call."""
    size: int = 0
    """Bytes of its value, where they are known."""


class Payload(Message):
    """A serialised value: the pickle stream, and in stream order what it refers to."""

    body: bytes
    buffers: list[bytes] = []
    block: BlockAt | FileAt | Streamed | KeptAt | None = None
    refs: list[RefAt] = []
    label: str = ""
    """Arguments only: what the caller wants the call to be named in errors."""
