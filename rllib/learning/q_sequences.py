"""Sequences for Q-networks with memory (R2D2, Kapturowski et al. 2019).

Legend: S sequences, L steps of a full one, A actions, M atoms of a distribution of returns.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rllib.columns import Columns
from rllib.estimators import n_step
from rllib.learning.sequences import inputs_of
from rllib.modules.rl_module import Batch, RLModule
from rllib.replay import StepSequences
from rllib.tensors import Tree, map_tree, to_tensors


class Predicted(NamedTuple):
    """Action values [..., A], and the logits [..., A, M] of their distributions or ``None``."""

    values: Tensor
    logits: Tensor | None

    def at(self, *index: Tensor) -> "Predicted":
        """Some of the leading places."""
        return Predicted(self.values[index], None if self.logits is None else self.logits[index])


def predicted(output: Batch) -> Predicted:
    """What a forward of a Q-module says."""
    return Predicted(output[Columns.ACTION_DIST_INPUTS], output.get(Columns.QF_LOGITS))


class SequenceBatch(NamedTuple):
    """What the loss reads of S sequences.

    Attributes:
        inputs: of the module: observations [S, L + 1, ...] and the memory before them.
        actions: [S, L] int64.
        rewards: [S, L] discounted sums of n rewards.
        discounts: [S, L] of the value after those; 0 where the episode terminated.
        after: [S, L] int64, where in a sequence that value stands.
        mask: [S, L] whether to train on this step.
        weights: [S] importance weights.
    """

    inputs: Tree
    actions: Tensor
    rewards: Tensor
    discounts: Tensor
    after: Tensor
    mask: Tensor
    weights: Tensor


def sequence_batch(draw: StepSequences, module: RLModule, n: int, gamma: float) -> SequenceBatch:
    """Of every step the n rewards that follow, as far as the sequence goes, and what comes then."""
    # The estimator counts time first.
    found = n_step(draw.rewards.T, draw.terminateds.T, ~draw.mask.T, gamma=gamma, n=n)
    lengths = found.lengths.T
    after = np.arange(lengths.shape[1]) + lengths
    last = np.maximum(after - 1, 0)
    over = np.take_along_axis(draw.terminateds, last, axis=1)
    discounts = np.where(over, 0.0, gamma**lengths).astype(np.float32)
    return SequenceBatch(
        inputs_of(module, draw.obs, draw.state_in),
        to_tensors(draw.actions),
        torch.from_numpy(np.ascontiguousarray(found.rewards.T)),
        torch.from_numpy(discounts),
        torch.from_numpy(after),
        to_tensors(draw.train_mask),
        to_tensors(draw.weights),
    )


def unroll(forward: Callable[[Batch], Batch], inputs: Batch, burn_in: int) -> Predicted:
    """Of every step of sequences; no gradient goes back from later steps into the burn-in."""
    if burn_in == 0:
        return predicted(forward(inputs))
    head = forward(inputs | {Columns.OBS: map_tree(lambda x: x[:, :burn_in], inputs[Columns.OBS])})
    tail = forward(
        {
            Columns.OBS: map_tree(lambda x: x[:, burn_in:], inputs[Columns.OBS]),
            Columns.STATE_IN: map_tree(Tensor.detach, head[Columns.STATE_OUT]),
        }
    )
    return Predicted(*map(_joined, predicted(head), predicted(tail)))


def _joined(head: Any, tail: Any) -> Any:
    return None if head is None else torch.cat([head, tail], 1)
