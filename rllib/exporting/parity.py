"""Whether an exported policy acts as the one that was trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rllib.errors import TrainingError
from rllib.exporting.graph import PolicyGraph

TOLERANCE = 1e-4


class Parity(NamedTuple):
    """How far an exported policy and the policy itself are apart.

    Attributes:
        num_rows: observations that were compared.
        same_actions: share of rows with the same action, for real numbers within ``TOLERANCE``.
        difference: largest difference of what actions come from.
    """

    num_rows: int
    same_actions: float
    difference: float

    def __str__(self) -> str:
        share = f"{self.same_actions:.2%} of {self.num_rows:,} observations"
        return f"same action for {share}, outputs within {self.difference:.1e}"


def compared(
    who: str, path: Path, graph: PolicyGraph, inputs: Sequence[Tensor], found: Sequence[Any]
) -> Parity:
    """Compare outputs of an exported file with those of the graph that it comes from.

    Args:
        who: ran the file.
        path: of the file.
        graph: that was exported.
        inputs: of the graph, [B, ...] each.
        found: arrays that the file came to, in the order of the graph's outputs.

    Raises:
        TrainingError: they are not the same.
    """
    with torch.no_grad():
        expected = [each.numpy() for each in graph(*inputs)]
    same = np.abs(found[0] - expected[0]) <= TOLERANCE
    same = same.reshape(len(same), -1).all(axis=1)
    pairs = zip(found[1:], expected[1:], strict=True)
    difference = max(float(np.max(np.abs(a - b), initial=0.0)) for a, b in pairs)
    result = Parity(len(same), float(same.mean()), difference)
    if difference > TOLERANCE * max(1.0, float(np.abs(expected[1]).max())):
        raise TrainingError(f"{path}: {who} comes to other outputs than the policy: {result}")
    return result
