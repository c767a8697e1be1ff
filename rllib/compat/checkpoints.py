"""RLlib's ``rllib.utils.checkpoints``: what there is to know of a checkpoint without loading it."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rllib.checkpoints import checkpoint


@runtime_checkable
class Checkpointable(Protocol):
    """What saves and restores itself: algorithms and modules."""

    def get_state(self) -> dict[str, Any]:
        """All that ``set_state`` needs."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``."""

    def save_to_path(self, path: str | Path | None = None) -> str:
        """Write a checkpoint folder."""

    def restore_from_path(self, path: str | Path) -> None:
        """Go on from a checkpoint folder."""


def get_checkpoint_info(path: str | Path) -> dict[str, Any]:
    """Facts about a checkpoint folder, under RLlib's names where there are such.

    Raises:
        CheckpointError: it is damaged, or none.
    """
    metadata = checkpoint.load_metadata(path)
    ids = set(metadata.get("modules", {}))
    return metadata | {
        "type": "Algorithm" if "algorithm" in metadata else "RLModule",
        "format": "safetensors",
        "checkpoint_version": checkpoint.VERSION,
        "checkpoint_dir": str(path),
        "module_ids": ids,
        "policy_ids": ids,
    }
