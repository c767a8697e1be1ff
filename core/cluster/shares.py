"""How a large value is cut into shares, that several connections carry, and put together again.
No I/O.

Whichever wire is free takes the next share: its part, if what is left were divided evenly. So they
become smaller towards the end of a value, and all wires are done with it at about the same time.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from rllib.core.native.wire import WireError

GRAIN = 1 << 20
"""Shares begin at multiples of this, and end there or with their value: so who receives knows with
one byte for each grain what has come, however small somebody would like to cut it."""
MOST_BYTES = 1 << 25
"""In one share; the rest of a value may go by another wire, if this one is slow."""

_HEADER = struct.Struct("<QQQ")


class Share(NamedTuple):
    """A range of the value of that number; values that go in shares are counted from 1."""

    serial: int
    offset: int
    size: int

    def header(self) -> bytes:
        """What goes before its bytes."""
        return _HEADER.pack(*self)

    @classmethod
    def read(cls, header: bytes) -> Share:
        """What `header` has made."""
        return cls(*_HEADER.unpack(header))


HEADER_BYTES = _HEADER.size


def share_size(left: int, wires: int) -> int:
    """Bytes of the next share of a value of which so many are left, for so many wires."""
    part = left // wires // GRAIN * GRAIN
    return min(left, max(GRAIN, min(part, MOST_BYTES)))


class Arrivals:
    """What has come of a value of ``size`` bytes."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = size
        self._begun = bytearray(-(-size // GRAIN))

    def begin(self, share: Share) -> None:
        """It comes now. Raises `WireError` for one that is out of bounds or has come already."""
        end = share.offset + share.size
        if not share.offset < end <= self._size:
            raise WireError("a share is not within its value")
        if share.offset % GRAIN or (end % GRAIN and end != self._size):
            raise WireError("a share does not begin or end where shares do")
        first, last = share.offset // GRAIN, -(-end // GRAIN)
        if any(self._begun[first:last]):
            raise WireError("a share came twice")
        self._begun[first:last] = b"\1" * (last - first)

    def came(self, share: Share) -> bool:
        """All of that one is there; whether that was the last."""
        self._left -= share.size
        return not self._left
