"""Rollout fragments joined and parted along their environments, which they hold side by side.

Legend: T rows, N environments.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rllib.batch import SampleBatch

_TIME_MAJOR: Sequence[str] = (
    "obs",
    "actions",
    "rewards",
    "terminateds",
    "truncateds",
    "reset_rows",
    "action_dist_inputs",
    "action_logp",
)
_OBSERVATIONS = ("last_obs", "final_obs")
_INDICES = ("final_index", "state_rows")


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
    total = sum(widths)
    starts = np.cumsum([0, *widths[:-1]])

    def renumbered(name: str) -> list[Any]:
        rows = [getattr(batch, name) for batch in batches]
        return [
            each // width * total + each % width + start
            for each, width, start in zip(rows, widths, starts, strict=True)
        ]

    return SampleBatch(
        **{n: np.concatenate([getattr(b, n) for b in batches], axis=1) for n in _TIME_MAJOR},
        **{n: np.concatenate([getattr(b, n) for b in batches]) for n in _OBSERVATIONS},
        **{n: np.concatenate(renumbered(n)) for n in _INDICES},
        state_in={n: np.concatenate([b.state_in[n] for b in batches]) for n in batches[0].state_in},
        weights_seq_no=min(batch.weights_seq_no for batch in batches),
    )


def columns(batch: SampleBatch, start: int, stop: int) -> SampleBatch:
    """The environments from ``start`` up to ``stop`` of a fragment, as views where possible."""
    N, width = batch.rewards.shape[1], stop - start
    cut = _among(batch.final_index, N, start, stop)
    begun = _among(batch.state_rows, N, start, stop)

    def renumber(rows: Any) -> Any:
        return rows // N * width + rows % N - start

    return replace(
        batch,
        **{name: getattr(batch, name)[:, start:stop] for name in _TIME_MAJOR},
        last_obs=batch.last_obs[start:stop],
        final_obs=batch.final_obs[cut],
        final_index=renumber(batch.final_index[cut]),
        state_in={name: part[begun] for name, part in batch.state_in.items()},
        state_rows=renumber(batch.state_rows[begun]),
    )


def _among(rows: Any, num_envs: int, start: int, stop: int) -> Any:
    """Which rows ``t * N + n`` are of these environments."""
    return np.flatnonzero((rows % num_envs >= start) & (rows % num_envs < stop))
