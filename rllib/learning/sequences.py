"""What a fragment's rows are worth, and the sequences in which recurrent policies read them.

Rows are counted over everything observed in a fragment: ``t * N + n`` for the T x N rows, then the
N observations after the last row, then the K true last observations of truncated episodes.

Legend: T rows, N environments, K truncated episodes, S sequences, L steps of a full one.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rllib.batch import SampleBatch
from rllib.columns import Columns
from rllib.learning.devices import device_of, to_device
from rllib.modules.actor_critic import ActorCriticModule
from rllib.modules.rl_module import Batch, RLModule
from rllib.tensors import Tree, to_tensors
from rllib.tensors import rows as rows_of

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

MOST_BYTES = 1 << 23
"""Of observations that a network reads at once."""


class Sequences(NamedTuple):
    """Runs of consecutive env steps of one episode each, all padded to the same length.

    Attributes:
        rows: [S, L] int64; padding repeats the last row.
        mask: [S, L] whether this is a step, and no padding.
        successors: [S] int64, what was observed after each sequence's last step.
        state_in: [S, ...] the policy's memory before the first step, by name.
    """

    rows: Indices
    mask: NDArray[np.bool_]
    successors: Indices
    state_in: dict[str, NDArray[Any]]


class Values(NamedTuple):
    """V(s_t) and V(s_{t+1}), both [T, N]; the latter is 0 where the episode terminated."""

    values: Floats
    following: Floats


def observed(batch: SampleBatch) -> NDArray[Any]:
    """[T * N + N + K, ...] everything that was observed."""
    return np.concatenate(_observed_parts(batch))


def _observed_parts(batch: SampleBatch) -> list[NDArray[Any]]:
    T, N = batch.rewards.shape
    rows = batch.obs.reshape(T * N, *batch.obs.shape[2:])
    return [rows, batch.last_obs, batch.final_obs]


def successors(batch: SampleBatch) -> Indices:
    """[T, N] row of what was observed after each row: of the same episode, also at its end."""
    T, N = batch.rewards.shape
    following = np.arange(N, (T + 1) * N, dtype=np.int64).reshape(T, N)
    following.reshape(-1)[batch.final_index] = (T + 1) * N + np.arange(len(batch.final_index))
    return following


def sequences(batch: SampleBatch, max_seq_len: int) -> Sequences:
    """The sequences of a fragment of a recurrent policy; none of them holds a reset row.

    Raises:
        ValueError: a sequence is longer than ``max_seq_len``, to which all are padded.
    """
    T, N = batch.rewards.shape
    order = np.lexsort((batch.state_rows // N, batch.state_rows % N))
    starts = batch.state_rows[order]
    t, n = starts // N, starts % N
    ends = np.where(np.append(n[1:] == n[:-1], False), np.append(t[1:], 0), T)
    ends = np.minimum(ends, _next_reset(batch.reset_rows)[t, n])
    live = np.flatnonzero(~batch.reset_rows[t, n])
    order, starts, lengths = order[live], starts[live], (ends - t)[live]
    if lengths.max(initial=0) > max_seq_len:
        raise ValueError(f"a sequence has {lengths.max()} steps, more than {max_seq_len=}")
    steps = np.minimum(np.arange(max_seq_len), lengths[:, None] - 1)
    rows = starts[:, None] + steps * N
    mask = np.arange(rows.shape[1]) < lengths[:, None]
    state = {name: part[order] for name, part in batch.state_in.items()}
    return Sequences(rows, mask, successors(batch).reshape(-1)[rows[:, -1]], state)


def _next_reset(reset_rows: NDArray[np.bool_]) -> Indices:
    """[T, N] the next row, from this one on, that is no env step; T if there is none."""
    T = len(reset_rows)
    index = np.where(reset_rows, np.arange(T)[:, None], T)
    following: Indices = np.minimum.accumulate(index[::-1], axis=0)[::-1]
    return following


def read_ahead(batch: SampleBatch, max_seq_len: int) -> tuple[Sequences, Indices]:
    """The sequences, and the rows [S, L + 1] to read of each: one further, to its successor."""
    runs = sequences(batch, max_seq_len)
    rows = np.concatenate([runs.rows, runs.successors[:, None]], axis=1)
    rows[np.arange(len(rows)), runs.mask.sum(1)] = runs.successors
    return runs, rows


class TrainSteps(NamedTuple):
    """Which rows of a fragment are trained on: env steps, or sequences of them.

    Attributes:
        rows: [B] int64, or [S, L] for a policy with memory.
        mask: [S, L] whether this is a step, and no padding; ``None`` without memory.
        state_in: [S, ...] memory before each sequence.
    """

    rows: Indices
    mask: NDArray[np.bool_] | None
    state_in: dict[str, NDArray[Any]]

    def of(self, column: NDArray[Any]) -> NDArray[Any]:
        """These rows of a column [T, N, ...]."""
        return column.reshape(-1, *column.shape[2:])[self.rows]


def train_steps(batch: SampleBatch, max_seq_len: int) -> TrainSteps:
    """All env steps of a fragment, in sequences if the policy has a memory."""
    if not batch.state_in:
        return TrainSteps(np.flatnonzero(~batch.reset_rows), None, {})
    runs = sequences(batch, max_seq_len)
    return TrainSteps(runs.rows, runs.mask, runs.state_in)


def inputs_of(module: RLModule, obs: NDArray[Any], state: dict[str, NDArray[Any]]) -> Batch:
    """What a module's forward reads."""
    batch: Batch = {Columns.OBS: module.encode(obs)}
    if state:
        batch[Columns.STATE_IN] = {name: to_tensors(part) for name, part in state.items()}
    return batch


@torch.no_grad()
def train_inputs(module: RLModule, obs: NDArray[Any], state: dict[str, NDArray[Any]]) -> Batch:
    """What a module's train forward reads, as its ``compute_values`` leaves it.

    Modules that were written for RLlib take parts out of observations of several parts in place,
    wherever they come first, which is in ``compute_values``; and look for them in later forwards.
    """
    inputs = inputs_of(module, obs, state)
    is_own = type(module).compute_values is not ActorCriticModule.compute_values
    if not isinstance(inputs[Columns.OBS], dict) or not is_own:
        return inputs
    device = device_of(module)
    first = to_device(rows_of(inputs, slice(1)), device)
    before = _structure(first)
    module.compute_values(first)
    if _structure(first) == before:
        return inputs
    module.compute_values(inputs := to_device(inputs, device))
    left: Batch = to_device(inputs, torch.device("cpu"))
    return left


def _structure(tree: Tree) -> Tree:
    return {k: _structure(v) for k, v in tree.items()} if isinstance(tree, dict) else None


@torch.no_grad()
def compute_values(batch: SampleBatch, module: RLModule) -> Values:
    """What every row is worth, and what came after it."""
    T, N = batch.rewards.shape
    if not batch.state_in:
        values = _values_of_rows(batch, module)
        following = values[successors(batch)]
        values = values[: T * N].reshape(T, N)
    else:
        values, following = _sequence_values(batch, module, observed(batch))
    following[batch.terminateds] = 0.0
    return Values(values, following)


def _values_of_rows(batch: SampleBatch, module: RLModule) -> Floats:
    """[T * N + N + K] of everything that was observed, without a copy of it where it is much."""
    if batch.obs.nbytes <= MOST_BYTES:
        return _values(module, observed(batch), {})
    parts = [part for part in _observed_parts(batch) if len(part)]
    return np.concatenate([_values(module, part, {}) for part in parts])


def _sequence_values(
    batch: SampleBatch, module: RLModule, everything: NDArray[Any]
) -> tuple[Floats, Floats]:
    """Reset rows stay 0."""
    runs, rows = read_ahead(batch, module.max_seq_len)
    found = _values(module, everything[rows], runs.state_in)
    values, following = np.zeros((2, *batch.rewards.shape), np.float32)
    values.reshape(-1)[runs.rows[runs.mask]] = found[:, :-1][runs.mask]
    following.reshape(-1)[runs.rows[runs.mask]] = found[:, 1:][runs.mask]
    return values, following


def _values(module: RLModule, obs: NDArray[Any], state: dict[str, NDArray[Any]]) -> Floats:
    """By the module, wherever it is; images in parts, whose layers' outputs need less memory."""
    if state or obs.nbytes <= MOST_BYTES:
        return _values_of_part(module, obs, state)
    num_parts = -(-obs.nbytes // MOST_BYTES)
    parts = [_values_of_part(module, part, {}) for part in np.array_split(obs, num_parts)]
    return np.concatenate(parts)


def _values_of_part(module: RLModule, obs: NDArray[Any], state: dict[str, NDArray[Any]]) -> Floats:
    inputs = to_device(inputs_of(module, obs, state), device_of(module))
    values: Floats = module.compute_values(inputs).float().cpu().numpy()
    check_values(module, values.shape, obs.shape[: 1 + bool(state)])
    return values


def check_values(module: RLModule, shape: Sequence[int], rows: Sequence[int]) -> None:
    """Raise ``TypeError`` unless values of this shape are one for each row, [B] or [B, L]."""
    if tuple(shape) != tuple(rows):
        raise TypeError(
            f"{type(module).__name__}.compute_values gave shape {list(shape)} for {list(rows)} "
            "observations; it should be one number for each: squeeze the last dimension away"
        )
