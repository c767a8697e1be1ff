"""Small loops over references that everybody would write otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from rllib.core import api
from rllib.core.object_ref import ObjectRef
from rllib.core.remote import RemoteFunction


def as_completed(
    refs: Sequence[ObjectRef[Any]], *, chunk_size: int = 10, yield_obj_refs: bool = False
) -> Iterator[Any]:
    """Values (or with ``yield_obj_refs`` references) of ``refs``, in the order of completion.

    Within ``chunk_size`` references that complete at about the same time, input order is kept.
    """
    _check_positive("chunk_size", chunk_size)
    waiting = list(refs)
    while waiting:
        ready, waiting = _some_ready(waiting, chunk_size)
        yield from ready if yield_obj_refs else map(api.get, ready)


def map_unordered(
    fn: RemoteFunction,
    items: Iterable[Any],
    *,
    backpressure_size: int | None = 100,
    chunk_size: int = 10,
    yield_obj_refs: bool = False,
) -> Iterator[Any]:
    """Results (or references) of ``fn.remote(item)`` for all items as they complete.

    At most ``backpressure_size`` calls are under way at any time (``None``: all of them).
    """
    _check_positive("backpressure_size", backpressure_size)
    _check_positive("chunk_size", chunk_size)
    source = iter(items)
    waiting = [fn.remote(item) for item in islice(source, backpressure_size)]
    while waiting:
        ready, waiting = _some_ready(waiting, chunk_size)
        waiting += [fn.remote(item) for item in islice(source, len(ready))]
        yield from ready if yield_obj_refs else map(api.get, ready)


def _check_positive(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


def _some_ready(
    refs: list[ObjectRef[Any]], most: int
) -> tuple[list[ObjectRef[Any]], list[ObjectRef[Any]]]:
    """Up to ``most`` that are ready, at least one, and the rest."""
    ready, rest = api.wait(refs, num_returns=min(most, len(refs)), timeout=0)
    return (ready, rest) if ready else api.wait(refs)
