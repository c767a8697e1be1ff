"""Everything that a checkpoint is to hold, copied, so that it can be written at leisure."""

import hashlib
import threading
from collections.abc import Callable, Iterator
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
        complete: waits for those parts of the state that others have still to tell, until it is
            asked to hurry.
    """

    state: StateTree
    metadata: dict[str, Any]
    complete: Callable[[threading.Event], None] = lambda hurry: None

    def write(self, path: str | Path, hurry: threading.Event | None = None) -> SavedRows:
        """Write the checkpoint folder, in whatever thread; see ``checkpoint.save``.

        Args:
            path: the folder.
            hurry: is set when there is no time to wait for what others have still to tell.

        Returns:
            Which rows it has, for the next snapshot.

        Raises:
            CheckpointError: it cannot be written.
        """
        self.complete(hurry or threading.Event())
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
