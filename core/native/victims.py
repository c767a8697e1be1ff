"""Which worker is ended when memory runs out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

_WORTHWHILE = 0.1


class Occupant(NamedTuple):
    """A worker that is in use."""

    worker: bytes
    owner: bytes
    """The process that wanted it."""
    retriable: bool
    """What it does is done again should it end."""
    turn: int
    """The later it came into use, the higher."""
    name: str = ""
    pid: int = 0
    size: int = 0
    """Memory that goes with it, in bytes."""


def choose_victim(occupants: Sequence[Occupant]) -> Occupant | None:
    """Whom to end: what can be done again first, of the owner who has most of that, the newest.

    Those that use a small part of what the largest does would not help, and are let alone.
    """
    worthwhile = _WORTHWHILE * max((each.size for each in occupants), default=0)
    large = [each for each in occupants if each.size >= worthwhile]
    retriable = [each for each in large if each.retriable]
    candidates = retriable or large
    of_owner = Counter(each.owner for each in candidates)
    return max(candidates, key=lambda each: (of_owner[each.owner], each.turn), default=None)
