"""Results at Weights & Biases: the logger ``wandb``, with the extra of that name.

W&B's own variables say where they go: ``WANDB_MODE=offline``, ``WANDB_PROJECT``, ``WANDB_ENTITY``.
"""

import os
import re
import shutil
import uuid
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rllib.checkpoints.files import write_atomically
from rllib.errors import ConfigError
from rllib.runs.record import ENV_STEPS, ITERATION, Metrics
from rllib.runs.settings import settings_in
from rllib.runs.tags import tagged

FOLDER, ID = "wandb", "run_id"
PROJECT = "rllib"
MISSING = 'loggers=wandb needs the extra "wandb": pip install "rllib-scale[wandb]"'


class WandbLogger:
    """One run at W&B for one run here, however often that is continued.

    Iterations that W&B has had already are not sent again. A run that was recorded offline is
    written anew from its record, so that of what was not synchronised yet nothing is double.

    Args:
        folder: of the run.
        history: rows from which it goes on.

    Raises:
        ConfigError: the extra is not installed.
    """

    @staticmethod
    def check() -> None:
        """See whether the extra is there, before a run begins. Raises `ConfigError` if not."""
        if find_spec("wandb") is None:
            raise ConfigError(MISSING)

    def __init__(self, folder: Path, history: Iterable[Metrics]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ConfigError(MISSING) from error
        self._wandb, self._is_first = wandb, wandb.run is None
        settings = settings_in(folder)
        self._style: Any = settings.get("reporting.tag_style", "native")
        run_id = wandb_id(folder / FOLDER)
        for unsent in (folder / FOLDER).glob(f"offline-run-*-{run_id}"):
            shutil.rmtree(unsent)
        self._run = wandb.init(
            dir=folder,
            id=run_id,
            resume="allow",
            name=folder.name,
            group=re.sub(r"_seed\d+$", "", folder.name),
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            config=settings,
            settings=wandb.Settings(console="off", silent=True),
        )
        self._run.define_metric("*", step_metric=ENV_STEPS)
        self._next = int(self._run.step)
        for row in history:
            self.log(row)

    def log(self, metrics: Metrics) -> None:
        """Send one result; W&B counts training iterations, and draws over env steps."""
        step = int(metrics[ITERATION])
        if step >= self._next:
            shown = tagged(metrics, self._style) | {ENV_STEPS: metrics.get(ENV_STEPS, 0)}
            self._run.log(shown, step=step)
            self._next = step + 1

    def close(self) -> None:
        """Send what is left, and end W&B's process if it began with this run."""
        self._run.finish()
        if self._is_first:
            self._wandb.teardown()


def wandb_id(folder: Path) -> str:
    """The run's id at W&B, drawn once. It becomes part of paths, so what is no such id is none.

    Args:
        folder: of the run's files of W&B.
    """
    folder.mkdir(exist_ok=True)
    path = folder / ID
    found = path.read_text(errors="replace") if path.is_file() else ""
    if not _ID.fullmatch(found):
        found = uuid.uuid4().hex[:12]
        write_atomically(path, found)
    return found


_ID = re.compile("[0-9a-f]{12}")
