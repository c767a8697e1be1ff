"""Train batches in parts.

A train batch is a tuple of trees of tensors [B, ...] with one row per env step; or [S, L, ...] with
one row per sequence, and a ``mask`` [S, L] that tells its steps from padding.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from rllib.tensors import num_rows, rows

BatchT = TypeVar("BatchT", bound=tuple[Any, ...])


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
    size = num_rows(batch)
    edges = np.linspace(0, size, num_parts + 1).astype(int).tolist()
    for epoch in range(num_epochs):
        if not epoch or new_order:
            shuffled: BatchT = rows(batch, permutation(size))
        for start, stop in pairwise(edges):
            yield rows(shuffled, slice(start, stop))
