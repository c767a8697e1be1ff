"""The checkpoints of one run: which is the latest, and which may go."""

import math
import os
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from rllib.checkpoints.checkpoint import MANIFEST, recover_all
from rllib.checkpoints.files import write_atomically

LATEST, BEST = "latest", "best"
PREFIX = "iteration_"
_LONGEST = 500
"""Bytes of a pointer."""


@dataclass(frozen=True)
class Contents:
    """What there is of a run's checkpoints at one moment.

    Attributes:
        checkpoints: the folders, oldest first.
        latest: one of them, or None.
        pointers: what the files ``latest`` and ``best`` say, if they are there.
    """

    checkpoints: tuple[Path, ...]
    latest: Path | None
    pointers: Mapping[str, bytes]


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

    def publish(
        self, checkpoint: Path, score: float | None = None, spare: Collection[Path] = ()
    ) -> None:
        """Declare a complete checkpoint the latest, then remove those beyond ``keep``.

        Args:
            checkpoint: in this folder.
            score: how good it is, the greater the better; ``None`` if that is not known.
            spare: checkpoints that somebody still reads; see ``prune``.
        """
        write_atomically(self.path / LATEST, f"{checkpoint.name}\n")
        this = self.iteration_of(checkpoint)
        newer = [path for path in self.all() if self.iteration_of(path) > this]
        older = [path for path in self.all() if self.iteration_of(path) < this]
        if score is not None and not self._best_score_among(older) > score:
            self._point_to_best(checkpoint, score)
        for path in newer:
            _remove(path)
        self.prune(spare)

    def _point_to_best(self, checkpoint: Path, score: float) -> None:
        write_atomically(self.path / BEST, f"{checkpoint.name} {score!r}\n")

    def rank(self, scores: Mapping[int, float]) -> None:
        """Find out anew which of those that are there is the best: what scores are of may have
        changed. Where none is known, that which was the best stays until there is one with a score.

        Args:
            scores: by training iteration, as far as they are known.
        """
        there = {self.iteration_of(path): path for path in self.all()}
        known = [(score, iteration) for iteration, score in scores.items() if iteration in there]
        if known:
            score, iteration = max(known)
            self._point_to_best(there[iteration], score)
        elif (best := self.best()) is not None:
            self._point_to_best(best, -math.inf)

    def prune(self, spare: Collection[Path] = ()) -> None:
        """Remove all but the newest ``keep``, the best one, and those that somebody still reads."""
        kept = {*spare, self.best()}
        for path in self.all()[: -self.keep]:
            if path not in kept:
                _remove(path)

    def contents(self) -> Contents:
        """What there is now."""
        files = {name: self.path / name for name in (BEST, LATEST)}
        pointers = {name: _beginning(file) for name, file in files.items() if file.is_file()}
        return Contents(tuple(self.all()), self.latest(), pointers)

    def best(self) -> Path | None:
        """The checkpoint of the greatest score, or None."""
        return self._read_best()[0]

    def _best_score_among(self, checkpoints: list[Path]) -> float:
        best, score = self._read_best()
        return score if best in checkpoints else -math.inf

    def _read_best(self) -> tuple[Path | None, float]:
        """A pointer that is damaged, or to what is gone, points to nothing."""
        name, _, text = self._read(BEST).partition(" ")
        named = self.path / name
        try:
            return (named, float(text)) if named in self.all() else (None, -math.inf)
        except ValueError:
            return None, -math.inf

    def latest(self) -> Path | None:
        """The latest checkpoint, or None; the newest one if ``latest`` names one that is gone."""
        named, complete = self.path / self._read(LATEST), self.all()
        return named if named in complete else next(reversed(complete), None)

    def _read(self, pointer: str) -> str:
        """What a pointer says, whatever was done to it; nothing if it is none."""
        file = self.path / pointer
        return _beginning(file).decode(errors="replace").strip() if file.is_file() else ""

    def all(self) -> list[Path]:
        """Every checkpoint, oldest first."""
        found = (path.parent for path in self.path.glob(f"{PREFIX}*/{MANIFEST}"))
        return sorted(filter(is_checkpoint, found), key=self.iteration_of)

    def clean(self) -> None:
        """Remove what a killed writer left half done; only for the one who holds the run.

        Whatever else is there was not left by one, and stays.
        """
        recover_all(self.path)
        for path in self.path.glob(".*"):
            if _LEFT_OVER.fullmatch(path.name):
                _delete(path)


_LEFT_OVER = re.compile(rf"\.(?:{PREFIX}[0-9]{{9,18}}|{LATEST}|{BEST})(?:\.[0-9]+)?\.(?:tmp|old)")
_NAME = re.compile(rf"{PREFIX}[0-9]{{9,18}}", re.ASCII)


def is_checkpoint(path: Path) -> bool:
    """Whether it is called as a checkpoint of a run is."""
    return _NAME.fullmatch(path.name) is not None


def _beginning(pointer: Path) -> bytes:
    """All of a pointer that is one."""
    with pointer.open("rb") as file:
        return file.read(_LONGEST)


def _remove(checkpoint: Path) -> None:
    """Take the name away first, so that no half-removed checkpoint is ever found."""
    doomed = checkpoint.with_name(f".{checkpoint.name}.old")
    if os.path.lexists(doomed):
        _delete(doomed)
    checkpoint.rename(doomed)
    _delete(doomed)


def _delete(path: Path) -> None:
    """Of a link, only the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
