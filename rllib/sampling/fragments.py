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

    Shorter fragments are filled up with reset rows. Its ``weights_seq_no`` is the oldest of them.
    """
    if len(batches) == 1:
        return batches[0]
    num_rows = max(len(batch.rewards) for batch in batches)
    batches = [fill_up(batch, num_rows) for batch in batches]
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


def fill_up(batch: SampleBatch, num_rows: int) -> SampleBatch:
    """The same fragment with ``num_rows`` rows, of which the new ones are reset rows.

    They hold the observations after the last row, so that each env step is still followed by what
    was observed after it.
    """
    missing = num_rows - len(batch.rewards)
    if not missing:
        return batch
    no = np.zeros((missing, batch.rewards.shape[1]), np.bool_)
    new: dict[str, Any] = {"obs": np.repeat(batch.last_obs[None], missing, axis=0)}
    new |= {"terminateds": no, "truncateds": no, "reset_rows": ~no}
    columns: dict[str, Any] = {}
    for name in _TIME_MAJOR:
        column = getattr(batch, name)
        # The last row again is something valid that nobody looks at.
        more = new[name] if name in new else np.repeat(column[-1:], missing, axis=0)
        columns[name] = np.concatenate([column, more])
    return replace(batch, **columns)


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
        streams=None if batch.streams is None else batch.streams[start:stop],
    )


def _among(rows: Any, num_envs: int, start: int, stop: int) -> Any:
    """Which rows ``t * N + n`` are of these environments."""
    return np.flatnonzero((rows % num_envs >= start) & (rows % num_envs < stop))
