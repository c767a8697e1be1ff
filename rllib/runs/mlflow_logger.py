"""Results at MLflow: the logger ``mlflow``, with the extra of that name.

``MLFLOW_TRACKING_URI`` says where they go, by default to ``mlruns`` in the current directory, and
``MLFLOW_EXPERIMENT_NAME`` under which name.
"""

import json
import os
import time
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rllib.errors import ConfigError
from rllib.runs.record import ENV_STEPS, ITERATION, TIMESTAMP, Metrics
from rllib.runs.settings import settings_in
from rllib.runs.tags import tagged

FILE = "mlflow.json"
EXPERIMENT = "rllib"
MISSING = 'loggers=mlflow needs the extra "mlflow": pip install "rllib-scale[mlflow]"'
LONGEST, TOGETHER = 500, 100
"""MLflow's limits: characters of a parameter, and parameters in one request."""


class MLflowLogger:
    """One run at MLflow for one run here, however often that is continued.

    Iterations that MLflow has already are not sent again.

    Args:
        folder: of the run.
        history: rows from which it goes on.

    Raises:
        ConfigError: the extra is not installed.
    """

    @staticmethod
    def check() -> None:
        """See whether the extra is there, before a run begins. Raises `ConfigError` if not."""
        if find_spec("mlflow") is None:
            raise ConfigError(MISSING)

    def __init__(self, folder: Path, history: Iterable[Metrics]) -> None:
        try:
            from mlflow import entities
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise ConfigError(MISSING) from error
        self._entities, settings = entities, settings_in(folder)
        self._style: Any = settings.get("reporting.tag_style", "native")
        self._client: Any = MlflowClient(tracking_uri=_uri())
        self._run_id = self._begin(folder, settings)
        had = self._client.get_metric_history(self._run_id, ITERATION)
        self._last = max((point.value for point in had), default=0)
        for row in history:
            self.log(row)

    def _begin(self, folder: Path, settings: dict[str, Any]) -> str:
        """Open the run's own run at MLflow, or make it; returns its id."""
        path = folder / FILE
        if path.exists():
            run_id = str(json.loads(path.read_text())["run_id"])
            self._client.update_run(run_id, status="RUNNING")
            return run_id
        run = self._client.create_run(self._experiment(), run_name=folder.name)
        params = [
            self._entities.Param(key, str(value)[:LONGEST]) for key, value in settings.items()
        ]
        for first in range(0, len(params), TOGETHER):
            self._client.log_batch(run.info.run_id, params=params[first : first + TOGETHER])
        path.write_text(json.dumps({"run_id": run.info.run_id}))
        return str(run.info.run_id)

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    def log(self, metrics: Metrics) -> None:
        """Send one result, over env steps."""
        if metrics[ITERATION] <= self._last:
            return
        self._last = metrics[ITERATION]
        step = int(metrics.get(ENV_STEPS, 0))
        now = int(1000 * metrics.get(TIMESTAMP, time.time()))
        shown = tagged(metrics, self._style) | {ITERATION: metrics[ITERATION]}
        points = [self._entities.Metric(key, value, now, step) for key, value in shown.items()]
        self._client.log_batch(self._run_id, metrics=points)

    def close(self) -> None:
        """Say that nothing more comes for now."""
        self._client.set_terminated(self._run_id)


def _uri() -> str | None:
    """Where results go; ``None`` takes what MLflow has been told."""
    if "MLFLOW_TRACKING_URI" in os.environ:
        return None
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # files are what needs no more
    return (Path.cwd() / "mlruns").as_uri()
