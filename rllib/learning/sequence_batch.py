"""Sequences drawn from a replay buffer, for networks with memory (R2D2, Kapturowski et al. 2019).

Legend: S sequences, L steps of a full one, B steps that are trained on.
"""

from collections.abc import (
    Callable,
    ItemsView,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    ValuesView,
)
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rllib.columns import Columns
from rllib.estimators import n_step
from rllib.learning.sequences import inputs_of
from rllib.modules.rl_module import Batch, RLModule
from rllib.replay import StepSequences, sequence_errors
from rllib.tensors import Tree, map_tree, rows, to_tensors

_OF_STEPS = (Columns.ACTION_DIST_INPUTS, Columns.QF_LOGITS, Columns.EMBEDDINGS)


class SequenceBatch(NamedTuple):
    """What the loss reads of S sequences.

    Attributes:
        inputs: of the module: observations [S, L + 1, ...] and the memory before them.
        actions: [S, L, ...].
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


def unroll(forward: Callable[[Batch], Batch], inputs: Batch, burn_in: int) -> Batch:
    """What the losses read of what a forward gives for every step of sequences.

    No gradient goes back from later steps into the burn-in.
    """
    if burn_in == 0:
        return _steps(forward(inputs))
    head = forward(inputs | {Columns.OBS: map_tree(lambda x: x[:, :burn_in], inputs[Columns.OBS])})
    tail = forward(
        {
            Columns.OBS: map_tree(lambda x: x[:, burn_in:], inputs[Columns.OBS]),
            Columns.STATE_IN: map_tree(Tensor.detach, head[Columns.STATE_OUT]),
        }
    )
    return {name: torch.cat([part, tail[name]], 1) for name, part in _steps(head).items()}


def _steps(output: Batch) -> Batch:
    return {name: output[name] for name in _OF_STEPS if name in output}


def by_sequence(errors: Tensor, mask: Tensor) -> Tensor:
    """[S] how wrong sequences are, by which they are prioritised.

    Args:
        errors: [B] TD errors of the steps that were trained on.
        mask: [S, L] which these are.
    """
    placed = errors.new_zeros(mask.shape).masked_scatter_(mask, errors)
    return torch.from_numpy(sequence_errors(placed.cpu().numpy(), mask.cpu().numpy()))


class Steps(dict[str, Any]):
    """Steps [B, ...] of columns [S, L, ...]; each column is taken when somebody first reads it.

    Of observations of which a memory has made embeddings, as a rule nobody reads more than masks.

    Args:
        columns: by name; dicts of columns are taken part by part.
        index: [B] int64, the steps, counted as ``s * L + t``.
    """

    def __init__(self, columns: Mapping[str, Any], index: Tensor) -> None:
        super().__init__()
        self._left, self._index = dict(columns), index

    def __missing__(self, name: str) -> Any:
        column = self._left.pop(name)
        if isinstance(column, dict):
            self[name] = Steps(column, self._index)
            return self[name]
        with torch.enable_grad():  # who reads it first may want no gradients, and others some
            self[name] = rows(map_tree(lambda x: x.flatten(0, 1), column), self._index)
        return self[name]

    def _whole(self) -> dict[str, Any]:
        return {name: self[name] for name in [*super().keys(), *self._left]}

    # As of any dict, whatever was read before.

    setdefault = MutableMapping.setdefault
    update = MutableMapping.update
    popitem = MutableMapping.popitem
    clear = MutableMapping.clear

    def __setitem__(self, name: str, column: Any) -> None:
        self._left.pop(name, None)
        super().__setitem__(name, column)

    def __delitem__(self, name: str) -> None:
        self.pop(name)

    def __ior__(self, others: Any) -> "Steps":  # type: ignore[override]
        self.update(others)
        return self

    def __repr__(self) -> str:
        return repr(self._whole())

    def __contains__(self, name: object) -> bool:
        return name in self._left or super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return super().__len__() + len(self._left)

    def __or__(self, others: Any) -> Any:
        return self._whole() | others

    def __ror__(self, others: Any) -> Any:
        return others | self._whole()

    def get(self, name: str, default: Any = None) -> Any:
        """The column, or ``default`` where there is none."""
        try:
            return self[name]
        except KeyError:
            return default

    def pop(self, name: str, *default: Any) -> Any:
        """The column, which is taken out."""
        self.get(name)
        return super().pop(name, *default)

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        """Names of all columns."""
        return self._whole().keys()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        """All columns."""
        return self._whole().values()

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        """Names and columns."""
        return self._whole().items()

    def copy(self) -> dict[str, Any]:
        """A dict of all columns."""
        return self._whole()
