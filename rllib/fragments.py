"""Rollout fragments side by side.

Legend: T rows, N environments.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rllib.batch import SampleBatch

_ROWS = (
    "obs",
    "actions",
    "rewards",
    "terminateds",
    "truncateds",
    "reset_rows",
    "action_dist_inputs",
    "action_logp",
)
"""Columns of shape [T, N, ...]."""
_INDICES = ("final_index", "state_rows")
_OBSERVATIONS = ("last_obs", "final_obs")


def join(batches: Sequence[SampleBatch]) -> SampleBatch:
    """One fragment with the environments of all; without a copy if there is only one.

    Its ``weights_seq_no`` is the oldest of them.

    Raises:
        ValueError: they have different numbers of rows.
    """
    if len(batches) == 1:
        return batches[0]
    lengths = {len(batch.rewards) for batch in batches}
    if len(lengths) > 1:
        raise ValueError(f"fragments of {sorted(lengths)} rows cannot stand side by side")
    widths = [batch.rewards.shape[1] for batch in batches]
    starts = np.cumsum([0, *widths])
    moved = [
        {name: _move(getattr(batch, name), width, starts[-1], start) for name in _INDICES}
        for batch, width, start in zip(batches, widths, starts, strict=False)
    ]
    return SampleBatch(
        **{name: np.concatenate([getattr(b, name) for b in batches], axis=1) for name in _ROWS},
        **{name: np.concatenate([each[name] for each in moved]) for name in _INDICES},
        **{name: np.concatenate([getattr(b, name) for b in batches]) for name in _OBSERVATIONS},
        state_in={
            name: np.concatenate([b.state_in[name] for b in batches])
            for name in batches[0].state_in
        },
        weights_seq_no=min(batch.weights_seq_no for batch in batches),
    )


def _move(index: NDArray[np.int64], width: int, new_width: int, shift: int) -> NDArray[np.int64]:
    """Rows ``t * width + n`` of a fragment, where ``n + shift`` is the environment of another."""
    moved: NDArray[np.int64] = index // width * new_width + index % width + shift
    return moved
