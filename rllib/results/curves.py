"""Curves of runs on a common axis: one run, or all seeds of one, with how sure they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from rllib.config.names import nearest
from rllib.errors import RunError
from rllib.results.saved import SavedRun, find_run
from rllib.results.statistics import Floats, Interval, bootstrap, iqm_of_rows
from rllib.runs.folder import CONFIG
from rllib.runs.record import ENV_STEPS
from rllib.runs.stopping import RETURN

TIME = "time_total_s"
AXES = {"steps": ENV_STEPS, "time": TIME}
POINTS = 120
BAND_RESAMPLES = 200


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seed; or a single run.

    Attributes:
        name: what they are called in common.
        runs: at least one.
    """

    name: str
    runs: tuple[SavedRun, ...]

    @cached_property
    def finals(self) -> list[float]:
        """The newest mean return of each run."""
        found = []
        for run in self.runs:
            returns = [row[RETURN] for row in run.rows if RETURN in row]
            if not returns:
                raise RunError(f"{run.path}: no episode has ended in it yet")
            found.append(returns[-1])
        return found

    @property
    def final(self) -> Interval:
        """Interquartile mean of those, and its 95 % interval."""
        return bootstrap(self.finals, iqm_of_rows)


def find_group(name: str, runs_dir: Path) -> Group:
    """The run of that name or path; else all runs ``NAME_seed1``, ``NAME_seed2`` and so on.

    Raises:
        RunError: there is neither.
    """
    if not any((path / CONFIG).is_file() for path in (runs_dir / name, Path(name))):
        seeds = sorted(path.parent for path in runs_dir.glob(f"{name}_seed*/{CONFIG}"))
        if seeds:
            return Group(name, tuple(map(SavedRun, seeds)))
    run = find_run(name, runs_dir)
    return Group(run.name, (run,))


@dataclass(frozen=True)
class Curve:
    """A metric of a group over env steps or seconds.

    Attributes:
        name: of the group.
        x: [P] rising.
        y: [P] interquartile means over runs.
        low: [P] lower limits of their 95 % intervals; equal to ``y`` of a single run.
        high: [P] upper limits.
    """

    name: str
    x: Floats
    y: Floats
    low: Floats
    high: Floats


def curve_of(group: Group, metric: str = RETURN, axis: str = ENV_STEPS) -> Curve:
    """The curve of a group, as far as all of its runs have gone.

    Args:
        group: of runs.
        metric: name in ``progress.jsonl``.
        axis: name of what it is drawn over.

    Raises:
        RunError: a run has no such metric; names the nearest.
    """
    series = [_series(run, metric, axis) for run in group.runs]
    start = max(x[0] for x, _ in series)
    grid = np.linspace(start, max(start, min(x[-1] for x, _ in series)), POINTS)
    rows = np.stack([np.interp(grid, x, y) for x, y in series])
    if len(rows) == 1:
        return Curve(group.name, grid, rows[0], rows[0], rows[0])
    drawn = np.random.default_rng(0).integers(len(rows), size=(BAND_RESAMPLES, len(rows)))
    means = np.stack([iqm_of_rows(rows[each].T) for each in drawn])
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return Curve(group.name, grid, iqm_of_rows(rows.T), low, high)


def _series(run: SavedRun, metric: str, axis: str) -> tuple[Floats, Floats]:
    points = [(row[axis], row[metric]) for row in run.rows if axis in row and metric in row]
    if not points:
        known = {name for row in run.rows for name in row}
        guess = nearest(metric, known)
        hint = f"; did you mean {guess!r}?" if guess else ""
        raise RunError(f"{run.path}: no result has {metric!r}{hint}")
    x, y = np.asarray(points, np.float64).T
    return x, y


def reached_at(
    runs: Sequence[SavedRun], threshold: float, axis: str, metric: str = RETURN
) -> list[float | None]:
    """Where each run's metric first reached a threshold; None where it never did."""
    return [next(_crossings(run, threshold, axis, metric), None) for run in runs]


def _crossings(run: SavedRun, threshold: float, axis: str, metric: str) -> Iterator[float]:
    return (row[axis] for row in run.rows if axis in row and row.get(metric, -np.inf) >= threshold)
