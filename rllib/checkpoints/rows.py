"""Rows that never change, in files that checkpoints share: only what is new is written.

::

    checkpoint 1   rows-a [0, 900)
    checkpoint 2   rows-a (the same file)   rows-b [900, 1400)
    checkpoint 3   rows-a (the same file)   rows-c [900, 2000)     b was no larger than what is new

A small file at the end is written once more together with what follows it, as long as both are less
than ``MERGE_BYTES``. So a row is written a few times at most, a log of n rows has few files, and no
save has more to copy than what is new and ``MERGE_BYTES``.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

FILE = re.compile(r"rows-[0-9a-f]{32}\.safetensors")
MERGE_BYTES = 32 * 2**20

StateTree = dict[str, Any]


class Piece(msgspec.Struct, forbid_unknown_fields=True):
    """What the state says of one file of rows.

    Attributes:
        file: its name, in the folder of the checkpoint.
        first: position of its first row.
        stop: position after its last row.
        tree: JSON data, in which its tensors are named.
    """

    file: str
    first: int
    stop: int
    tree: StateTree


class Seal(msgspec.Struct, forbid_unknown_fields=True):
    """What the manifest says of one file."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Segment:
    """A piece, the seal of its file, and a folder in which that is."""

    piece: Piece
    seal: Seal
    folder: Path

    @property
    def num_rows(self) -> int:
        """Rows in it."""
        return self.piece.stop - self.piece.first


@dataclass(frozen=True)
class Rows:
    """A leaf of a state tree: rows of which the first are in files already.

    Attributes:
        log: the name of the log, unique in the state.
        kept: what is in files.
        fresh: the state tree of the rows that follow.
        first: position of the first of these.
        stop: position after the last.
    """

    log: str
    kept: tuple[Segment, ...]
    fresh: StateTree
    first: int
    stop: int


@dataclass
class SavedRows:
    """Which rows of each log the newest checkpoint of a series has.

    Attributes:
        logs: the segments, oldest first, by name of the log.
    """

    logs: Mapping[str, tuple[Segment, ...]] = field(default_factory=dict)

    def kept(self, log: str, oldest: int, stop: int, row_bytes: int) -> tuple[Segment, ...]:
        """The segments of a log that the next checkpoint takes over as they are.

        Args:
            log: its name.
            oldest: position of the oldest row that is still wanted.
            stop: position after the newest row.
            row_bytes: bytes of a row.
        """
        return unchanged(self.logs.get(log, ()), oldest, stop, MERGE_BYTES // max(1, row_bytes))


def unchanged(
    segments: tuple[Segment, ...], oldest: int, stop: int, most_rows: int
) -> tuple[Segment, ...]:
    """The segments that need not be written again.

    Args:
        segments: what there is, oldest first.
        oldest: position of the oldest row that is still wanted.
        stop: position after the newest row.
        most_rows: of several segments that become one.
    """
    if segments and segments[-1].piece.stop > stop:
        return ()  # of another past
    kept = [each for each in segments if each.piece.stop > oldest]
    while kept and _joins(kept[-1], stop, most_rows):
        kept.pop()
    return tuple(kept)


def _joins(last: Segment, stop: int, most_rows: int) -> bool:
    new = stop - last.piece.stop
    return new > 0 and last.num_rows <= new and last.num_rows + new <= most_rows


def new_name() -> str:
    """A name for a file of rows, which no other one has."""
    return f"rows-{secrets.token_hex(16)}.safetensors"
