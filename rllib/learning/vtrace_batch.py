"""Whole fragments, as off-policy actor-critics read them: all that was observed in one forward.

Legend: T rows, N environments, B env steps, S sequences, L steps of a full one, O outputs of the
module: one per observation, or S x (L + 1) for a policy with memory.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rllib import tensors
from rllib.batch import SampleBatch
from rllib.columns import Columns
from rllib.estimators import vtrace
from rllib.learning.sequences import (
    Indices,
    check_values,
    inputs_of,
    observed,
    read_ahead,
    successors,
)
from rllib.modules.rl_module import RLModule
from rllib.tensors import Tree

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


class Rows(NamedTuple):
    """What happened in the T x N rows, and which outputs speak of them; all in numpy.

    Attributes:
        place: [T, N] int64, a row's own output; any on reset rows.
        following: [T, N] int64, the output for what was observed after it.
    """

    rewards: Floats
    terminateds: Bools
    dones: Bools
    reset_rows: Bools
    place: Indices
    following: Indices

    @property
    def live(self) -> Indices:
        """[B] the env steps, as ``t * N + n``."""
        return np.flatnonzero(~self.reset_rows)


class VTraceBatch(NamedTuple):
    """One fragment, or several side by side.

    Attributes:
        steps: [B] int64, the outputs that are env steps, out of all O.
        actions: [B, ...].
        behaviour_logp: [B] log probability of the actions when they were taken.
        inputs: of the module, for everything observed.
        stride: outputs for each row of the inputs: 1, or L + 1 if that is a sequence.
        rows: what V-trace needs.
    """

    steps: Tensor
    actions: Tensor
    behaviour_logp: Tensor
    inputs: Tree
    stride: int
    rows: Rows


class Outputs(NamedTuple):
    """Of the module, for everything observed: distribution inputs [O, inputs] and values [O]."""

    dist_inputs: Tensor
    values: Tensor


class Targets(NamedTuple):
    """V-trace's value targets v_s and policy gradient advantages [B], without gradient."""

    values: Tensor
    advantages: Tensor


class Thresholds(Protocol):
    """The settings of V-trace, as algorithms call them."""

    gamma: float
    lambda_: float
    vtrace_clip_rho_threshold: float
    vtrace_clip_pg_rho_threshold: float


def vtrace_batch(batch: SampleBatch, module: RLModule) -> VTraceBatch:
    """A fragment, made ready for one forward."""
    observations = _observations(batch, module)
    place, following = observations.place, observations.following
    done = batch.dones
    rows = Rows(batch.rewards, batch.terminateds, done, batch.reset_rows, place, following)
    columns = (place, batch.actions, batch.action_logp)
    steps, actions, logp = (torch.from_numpy(_of(column, rows.live)) for column in columns)
    return VTraceBatch(steps, actions, logp, observations.inputs, observations.stride, rows)


def _of(column: NDArray[Any], live: Indices) -> NDArray[Any]:
    """[B, ...] of [T, N, ...]."""
    return column.reshape(-1, *column.shape[2:])[live]


class _Observations(NamedTuple):
    inputs: Tree
    stride: int
    place: Indices
    following: Indices


def _observations(batch: SampleBatch, module: RLModule) -> _Observations:
    """Inputs of the module, and the outputs for each row and for what followed it."""
    T, N = batch.rewards.shape
    everything = observed(batch)
    if not batch.state_in:
        place = np.arange(T * N, dtype=np.int64).reshape(T, N)
        return _Observations(inputs_of(module, everything, {}), 1, place, successors(batch))
    runs, rows = read_ahead(batch, module.max_seq_len)
    place = np.zeros((T, N), np.int64)
    outputs = np.arange(rows.size).reshape(rows.shape)
    place.reshape(-1)[runs.rows[runs.mask]] = outputs[:, :-1][runs.mask]
    inputs = inputs_of(module, everything[rows], runs.state_in)
    return _Observations(inputs, rows.shape[1], place, place + 1)


def environments(batch: VTraceBatch, chosen: Indices) -> VTraceBatch:
    """The part of the environments ``chosen``, in rising order, out of all N."""
    rows, stride = Rows._make(column[:, chosen] for column in batch.rows), batch.stride
    needed = np.unique(np.concatenate([rows.place, rows.following]) // stride)
    place, following = (
        np.searchsorted(needed, at // stride) * stride + at % stride
        for at in (rows.place, rows.following)
    )
    is_chosen = np.isin(batch.rows.live % batch.rows.rewards.shape[1], chosen)
    kept, inputs, steps = (
        torch.from_numpy(index).to(batch.steps.device)
        for index in (is_chosen, needed, _of(place, rows.live))
    )
    return VTraceBatch(
        steps,
        batch.actions[kept],
        batch.behaviour_logp[kept],
        tensors.rows(batch.inputs, inputs),
        stride,
        rows._replace(place=place, following=following),
    )


def forward(module: RLModule, inputs: Tree) -> Outputs:
    """The train forward, flat and in single precision: sequences lose their shape.

    Raises:
        TypeError: there is not one value for each row.
    """
    output = module.forward_train(inputs)
    values = module.compute_values(inputs, output.get(Columns.EMBEDDINGS))
    dist_inputs = output[Columns.ACTION_DIST_INPUTS]
    check_values(module, values.shape, dist_inputs.shape[:-1])
    return Outputs(dist_inputs.flatten(0, -2).float(), values.flatten().float())


class Corrected(NamedTuple):
    """``Targets`` in numpy."""

    values: Floats
    advantages: Floats


def corrected(
    batch: VTraceBatch, values: Floats, log_rhos: Floats, config: Thresholds
) -> Corrected:
    """V-trace of the env steps.

    Args:
        batch: the fragment.
        values: [O] of the current value function.
        log_rhos: [B] of the actions: log probability by the policy that is to be corrected towards,
            less that when they were taken.
        config: discount factor, and how far sampled returns and importance weights count.
    """
    rows = batch.rows
    live = rows.live
    dense = np.zeros(rows.rewards.shape, np.float32)
    dense.reshape(-1)[live] = log_rhos
    found = vtrace(
        rows.rewards,
        values[rows.place],
        np.where(rows.terminateds, np.float32(0.0), values[rows.following]),
        rows.dones,
        rows.reset_rows,
        dense,
        gamma=config.gamma,
        lambda_=config.lambda_,
        clip_rho=config.vtrace_clip_rho_threshold,
        clip_pg_rho=config.vtrace_clip_pg_rho_threshold,
    )
    return Corrected(*(_of(column, live) for column in found))


def correct(batch: VTraceBatch, values: Tensor, logp: Tensor, config: Thresholds) -> Targets:
    """The same of tensors: values [O], and log probabilities [B] of the actions by now."""
    log_rhos = (logp.detach() - batch.behaviour_logp).cpu().numpy()
    found = corrected(batch, values.detach().cpu().numpy(), log_rhos, config)
    return Targets(*(torch.from_numpy(column).to(values.device) for column in found))
