"""Train batches in parts.

A train batch is a tuple of trees of tensors [B, ...] with one row per env step; or [S, L, ...] with
one row per sequence, and a ``mask`` [S, L] that tells its steps from padding.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from rllib.tensors import first_tensor, num_rows, rows

BatchT = TypeVar("BatchT", bound=tuple[Any, ...])

MOST_BYTES = 1 << 23
"""Of observations that are put into a new order at once, which takes fewer calls; larger ones would
take fresh memory in every epoch."""


def count_steps(batch: tuple[Any, ...]) -> int:
    """Env steps in a batch of rows or sequences."""
    mask: Tensor | None = getattr(batch, "mask", None)
    return num_rows(batch) if mask is None else int(mask.sum())


def epochs(
    batch: BatchT,
    num_parts: int,
    num_epochs: int,
    permutation: Callable[[int], Tensor],
    *,
    new_order: bool,
) -> Iterator[BatchT]:
    """Every epoch passes once over all rows, in ``num_parts`` equal parts of a random order.

    Args:
        batch: the train batch; as a single part it keeps its order.
        num_parts: parts of one epoch; equal, so that no gradient is of a small rest.
        num_epochs: passes.
        permutation: draws an order of so many rows.
        new_order: whether every epoch has an order of its own.
    """
    if num_parts == 1:
        yield from [batch] * num_epochs
        return
    first = first_tensor(batch)
    size, is_large = len(first), first.nbytes > MOST_BYTES
    edges = np.linspace(0, size, num_parts + 1).astype(int).tolist()
    for epoch in range(num_epochs):
        if not epoch or new_order:
            order = permutation(size)
            shuffled = batch if is_large else rows(batch, order)
        for start, stop in pairwise(edges):
            part = slice(start, stop)
            yield rows(batch, order[part]) if is_large else rows(shuffled, part)
