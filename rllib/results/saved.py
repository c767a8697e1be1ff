"""A run's folder as those read it who do not train in it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rllib.checkpoints.folder import CheckpointFolder
from rllib.config.file import load_plan
from rllib.config.names import nearest
from rllib.config.plan import RunPlan
from rllib.errors import RunError
from rllib.runs.folder import CHECKPOINTS, CONFIG
from rllib.runs.record import PROGRESS, Metrics, read_json_lines
from rllib.runs.starts import Start, read_starts

if TYPE_CHECKING:
    from rllib.algorithm import Algorithm

RUNS = Path("runs")


@dataclass(frozen=True)
class SavedRun:
    """A run that has written a config; make one with ``find_run``.

    Attributes:
        path: its folder.
    """

    path: Path

    @property
    def name(self) -> str:
        """What the run is called."""
        return self.path.name

    @cached_property
    def plan(self) -> RunPlan:
        """What it trains, and when it stops."""
        return load_plan(str(self.path / CONFIG))

    @cached_property
    def rows(self) -> list[Metrics]:
        """Its results, one flat dict per training iteration."""
        return list(read_json_lines(self.path / PROGRESS))

    @cached_property
    def starts(self) -> list[Start]:
        """When, on which machine and by which command it was begun, and each time continued."""
        return read_starts(self.path)

    @property
    def checkpoints(self) -> CheckpointFolder:
        """Its checkpoints."""
        return CheckpointFolder(self.path / CHECKPOINTS, keep=1)

    def checkpoint(self, iteration: int | None = None) -> Path:
        """The latest checkpoint, or that of a training iteration.

        Raises:
            RunError: there is none; says which there are.
        """
        folder = self.checkpoints
        if iteration is None:
            found = folder.latest()
            if found is None:
                raise RunError(f"{self.path}: there is no checkpoint yet")
            return found
        there = {folder.iteration_of(path): path for path in folder.all()}
        if iteration not in there:
            which = ", ".join(map(str, there)) or "none"
            text = f"no checkpoint of iteration {iteration}; there are: {which}"
            raise RunError(f"{self.path}: {text}")
        return there[iteration]

    def load(self, iteration: int | None = None) -> "Algorithm":
        """The algorithm as it was at a checkpoint, all of it in this process.

        Raises:
            RunError: there is no such checkpoint.
            CheckpointError: it cannot be read.
        """
        config = self.plan.config.copy()
        config.num_env_runners = config.num_learners = config.evaluation_num_env_runners = 0
        config.num_envs_per_env_runner = 1
        config.evaluation_interval = None
        return config.algo_class.from_checkpoint(self.checkpoint(iteration), config)

    def _repr_html_(self) -> str:
        from rllib.results.cells import run_html

        return run_html(self)


def find_run(name: str, runs_dir: Path = RUNS) -> SavedRun:
    """The run of that name, or in that folder.

    Args:
        name: of a run below ``runs_dir``, or the path of its folder.
        runs_dir: folder of all runs.

    Raises:
        RunError: there is none; names the nearest.
    """
    for path in (runs_dir / name, Path(name)):
        if (path / CONFIG).is_file():
            return SavedRun(path)
    known = sorted(path.parent.name for path in runs_dir.glob(f"*/{CONFIG}"))
    guess = nearest(Path(name).name, known)
    there = f"there are: {', '.join(known)}" if known else f"there are none in {runs_dir}"
    raise RunError(f"no run {name!r}; " + (f"did you mean {guess!r}?" if guess else there))
