"""The checkpoints of one run: which is the latest, and which may go."""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from rllib.checkpoints.checkpoint import MANIFEST
from rllib.checkpoints.files import write_atomically

LATEST, BEST = "latest", "best"
PREFIX = "iteration_"


@dataclass(frozen=True)
class CheckpointFolder:
    """A folder of checkpoints named by training iteration, and a file that names the latest.

    The order of events makes every moment safe to be killed in: a checkpoint is complete before it
    gets its name, has its name before ``latest`` points to it, and only then do older ones go. That
    of the greatest score is named by ``best``, and stays however old it is.

    Attributes:
        path: the folder; it need not exist yet.
        keep: number of newest checkpoints that ``publish`` keeps.
    """

    path: Path
    keep: int

    def path_for(self, iteration: int) -> Path:
        """Where the checkpoint of that training iteration belongs."""
        return self.path / f"{PREFIX}{iteration:09d}"

    @staticmethod
    def iteration_of(checkpoint: Path) -> int:
        """The training iteration after which a checkpoint of this folder was written."""
        return int(checkpoint.name.removeprefix(PREFIX))

    def publish(self, checkpoint: Path, score: float | None = None) -> None:
        """Declare a complete checkpoint the latest, then remove those beyond ``keep``.

        Args:
            checkpoint: in this folder.
            score: how good it is, the greater the better; ``None`` if that is not known.
        """
        write_atomically(self.path / LATEST, f"{checkpoint.name}\n")
        newer = [path for path in self.all() if path.name > checkpoint.name]
        older = [path for path in self.all() if path.name < checkpoint.name]
        if score is not None and not self._best_score_among(older) > score:
            write_atomically(self.path / BEST, f"{checkpoint.name} {score!r}\n")
        best = self.best()
        for path in newer + older[: max(0, len(older) + 1 - self.keep)]:
            if path in newer or path != best:
                _remove(path)

    def best(self) -> Path | None:
        """The checkpoint of the greatest score, or None."""
        return self._read_best()[0]

    def _best_score_among(self, checkpoints: list[Path]) -> float:
        best, score = self._read_best()
        return score if best in checkpoints else -math.inf

    def _read_best(self) -> tuple[Path | None, float]:
        """A pointer that is damaged, or to what is gone, points to nothing."""
        pointer = self.path / BEST
        name, _, text = (
            pointer.read_text().strip().partition(" ") if pointer.is_file() else ("",) * 3
        )
        named = self.path / name
        try:
            return (named, float(text)) if named in self.all() else (None, -math.inf)
        except ValueError:
            return None, -math.inf

    def latest(self) -> Path | None:
        """The latest checkpoint, or None; the newest one if ``latest`` names one that is gone."""
        pointer = self.path / LATEST
        named = self.path / pointer.read_text().strip() if pointer.is_file() else None
        complete = self.all()
        return named if named in complete else max(complete, default=None)

    def all(self) -> list[Path]:
        """Every checkpoint, oldest first."""
        return sorted(path.parent for path in self.path.glob(f"{PREFIX}[0-9]*/{MANIFEST}"))

    def clean(self) -> None:
        """Remove what a killed writer left half done; only for the one who holds the run."""
        for path in self.path.glob(".*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _remove(checkpoint: Path) -> None:
    """Take the name away first, so that no half-removed checkpoint is ever found."""
    doomed = checkpoint.with_name(f".{checkpoint.name}.old")
    shutil.rmtree(doomed, ignore_errors=True)
    checkpoint.rename(doomed)
    shutil.rmtree(doomed)
