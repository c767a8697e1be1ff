"""Small loops over references that everybody would write otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from rllib.core import api
from rllib.core.object_ref import ObjectRef
from rllib.core.remote import RemoteFunction


def as_completed(
    refs: list[ObjectRef[Any]], chunk_size: int = 10, yield_obj_refs: bool = False
) -> Iterator[Any]:
    """Values (or with ``yield_obj_refs`` references) of ``refs``, in the order of completion.

    Within ``chunk_size`` references that complete at about the same time, input order is kept.
    """
    waiting = list(refs)
    while waiting:
        ready, waiting = _some_ready(waiting, chunk_size)
        for ref in ready:
            yield ref if yield_obj_refs else api.get(ref)


def map_unordered(
    fn: RemoteFunction,
    items: Iterable[Any],
    backpressure_size: int | None = 100,
    chunk_size: int = 10,
) -> Iterator[Any]:
    """Results of ``fn.remote(item)`` for all items as they complete.

    At most ``backpressure_size`` calls are under way at any time (``None``: all of them).
    """
    source = iter(items)
    waiting = [fn.remote(item) for item in islice(source, backpressure_size)]
    while waiting:
        ready, waiting = _some_ready(waiting, chunk_size)
        waiting += [fn.remote(item) for item in islice(source, len(ready))]
        yield from (api.get(ref) for ref in ready)


def _some_ready(
    refs: list[ObjectRef[Any]], most: int
) -> tuple[list[ObjectRef[Any]], list[ObjectRef[Any]]]:
    """Up to ``most`` that are ready, at least one, and the rest."""
    ready, rest = api.wait(refs, num_returns=min(most, len(refs)), timeout=0)
    return (ready, rest) if ready else api.wait(refs)
