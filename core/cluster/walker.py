"""Finds in a stream of frames those that concern the gateway which carries it. No I/O.

All others are passed on as they come, in pieces of any size: of them nothing but the length is
looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rllib.core.native.wire import HEADER, MAX_PAYLOAD, WireError

MAX_NOTICE = 1 << 20
"""Bytes in a frame for a gateway: it has to keep them."""


class Notice(NamedTuple):
    """A frame for the gateway."""

    kind: int
    number: int
    payload: bytes


class Bulk(NamedTuple):
    """Bytes outside of frames, which `Walker.raw` has announced."""

    data: memoryview


Item = memoryview | Notice | Bulk
"""A piece of frames for others, or what is for the gateway."""


class Walker:
    """One direction of a tunnel; frames of the ``kinds`` are for the gateway."""

    def __init__(self, kinds: frozenset[int]) -> None:
        self._kinds = kinds
        self._left = 0  # bytes of a frame for others that are still to come
        self._rest = b""
        self.raw = 0
        """So many bytes that follow are outside of all frames. Who takes a `Notice` sets this."""

    def feed(self, data: bytes) -> Iterator[Item]:
        """What is in the next bytes. To be taken to its end before more is fed.

        Raises `WireError` for a frame that is too long.
        """
        if self._rest:
            data, self._rest = self._rest + data, b""
        view, at = memoryview(data), 0
        while True:
            if self.raw and at < len(data):
                bulk = view[at : at + self.raw]
                self.raw -= len(bulk)
                at += len(bulk)
                yield Bulk(bulk)
            start = at
            at = self._skip_to_notice(data, at)
            if at > start:
                yield view[start:at]
            notice = self._notice_at(data, at)
            if notice is None:
                self._rest = data[at:]
                return
            at += HEADER.size + len(notice.payload)
            yield notice

    def _skip_to_notice(self, data: bytes, at: int) -> int:
        """Where the next frame for the gateway begins, or one whose kind is not there yet."""
        end = len(data)
        while True:
            step = min(self._left, end - at)
            self._left -= step
            at += step
            if end - at < HEADER.size:
                return at
            size, kind, *_ = HEADER.unpack_from(data, at)
            if size > (MAX_NOTICE if kind in self._kinds else MAX_PAYLOAD):
                raise WireError(f"a frame of {size:,} bytes is over the limit")
            if kind in self._kinds:
                return at
            self._left = HEADER.size + size

    @staticmethod
    def _notice_at(data: bytes, at: int) -> Notice | None:
        """The frame there, if it is there as a whole."""
        if len(data) - at < HEADER.size:
            return None
        size, kind, _flags, _returns, _target, number = HEADER.unpack_from(data, at)
        start = at + HEADER.size
        if len(data) - start < size:
            return None
        return Notice(kind, number, data[start : start + size])
