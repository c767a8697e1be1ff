"""How good a checkpoint is: the metric by which one more is kept."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from rllib.checkpoints.folder import CheckpointFolder
from rllib.config import AlgorithmConfig
from rllib.runs.record import ITERATION, Metrics, leaves
from rllib.runs.stopping import may_come

_MOST_NAMES = 6


class Score:
    """Of each result, the greater the better.

    Args:
        config: the settings.
        tell: is told once if results have no such metric.
    """

    def __init__(self, config: AlgorithmConfig, tell: Callable[[str], Any]) -> None:
        self._metric, self._tell = config.checkpoint_score_metric, tell
        self._sign = -1.0 if config.checkpoint_score_order == "min" else 1.0
        self._is_told = False

    def rank(self, checkpoints: CheckpointFolder, history: Iterable[Metrics]) -> None:
        """Have the best of the checkpoints that are there found by this metric.

        Args:
            checkpoints: of a run that goes on.
            history: its record.
        """
        if self._metric is None:
            return
        there = {checkpoints.iteration_of(path) for path in checkpoints.all()}
        rows = (row for row in history if row.get(ITERATION) in there) if there else ()
        found = {int(row[ITERATION]): self.in_record(row) for row in rows}
        checkpoints.rank({each: score for each, score in found.items() if score is not None})

    def of(self, result: Mapping[str, Any], metrics: Metrics) -> float | None:
        """The score of a result; None as long as it is not known.

        Args:
            result: what ``Algorithm.train`` returned.
            metrics: the same, flat.
        """
        if self._metric is None or self._metric in metrics:
            return self.in_record(metrics)
        known = {path for path, _ in leaves(result)}
        if not self._is_told and not may_come(self._metric, known):
            self._is_told = True
            self._tell(
                f"checkpoint_score_metric: results have no {self._metric!r} so far, so no best "
                f"checkpoint is kept; there are: {', '.join(_nearest_first(self._metric, metrics))}"
            )
        return None

    def in_record(self, row: Metrics) -> float | None:
        """The score of a flat result; None if it is not known."""
        if self._metric is None or self._metric not in row:
            return None
        return self._sign * row[self._metric]


def _nearest_first(name: str, metrics: Metrics) -> list[str]:
    near = get_close_matches(name, sorted(metrics), _MOST_NAMES, cutoff=0.0)
    return [*near, "..."] if len(metrics) > len(near) else near
