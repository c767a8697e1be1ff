"""Everything that a checkpoint is to hold, copied, so that it can be written at leisure."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib.checkpoints import checkpoint
from rllib.checkpoints.rows import SavedRows, StateTree


@dataclass(frozen=True)
class Snapshot:
    """What ``Algorithm.snapshot`` has copied.

    Attributes:
        state: the state tree.
        metadata: JSON data about it.
    """

    state: StateTree
    metadata: dict[str, Any]

    def write(self, path: str | Path) -> SavedRows:
        """Write the checkpoint folder, in whatever thread; see ``checkpoint.save``.

        Returns:
            Which rows it has, for the next snapshot.

        Raises:
            CheckpointError: it cannot be written.
        """
        facts = {"params_hash": hash_of(modules_in(self.state["learner"]))}
        return SavedRows(checkpoint.save(path, self.state, metadata=self.metadata | facts))


def modules_in(learner: StateTree) -> StateTree:
    """The weights in a learner's state: by name or, of several modules, by module id and name."""
    if "modules" not in learner:
        weights: StateTree = learner["module"]
        return weights
    return {name: each["module"] for name, each in learner["modules"].items()}


def hash_of(weights: StateTree) -> str:
    """SHA-256 of all arrays of a tree, with their names."""
    digest = hashlib.sha256()
    for name, array in sorted(flat(weights), key=lambda item: item[0]):
        digest.update(f"{name} {array.dtype} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def flat(tree: StateTree, path: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """Every array of a tree, with the names on the way to it."""
    for name, part in tree.items():
        if isinstance(part, dict):
            yield from flat(part, f"{path}{name}/")
        else:
            yield f"{path}{name}", part
