"""Several runs beside each other: how good, how soon, how surely better, and what was different."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rllib.config.plain import differences
from rllib.results.curves import AXES, TIME, Curve, Group, curve_of, find_group, reached_at
from rllib.results.statistics import Interval, probability_of_improvement
from rllib.runs.record import ENV_STEPS
from rllib.runs.stopping import RETURN


@dataclass(frozen=True)
class Comparison:
    """What is known of several groups of runs.

    Attributes:
        groups: at least one, the first of which the others are compared with.
        metric: that the curves show.
        axis: that they are drawn over, in ``progress.jsonl``.
        threshold: return whose first reaching is told; None if no run names one.
    """

    groups: Sequence[Group]
    metric: str
    axis: str
    threshold: float | None

    @property
    def curves(self) -> list[Curve]:
        """One for each group."""
        return [curve_of(group, self.metric, self.axis) for group in self.groups]

    def to_dict(self) -> dict[str, Any]:
        """The figures, as plain data."""
        return {
            "metric": self.metric,
            "threshold": self.threshold,
            "groups": [self._figures(group) for group in self.groups],
            "settings": [
                {"key": key, "values": values} for key, values in self.different_settings()
            ],
        }

    def _figures(self, group: Group) -> dict[str, Any]:
        figures: dict[str, Any] = {
            "name": group.name,
            "runs": [str(run.path) for run in group.runs],
            "final_return_iqm": group.final._asdict(),
        }
        if self.threshold is not None:
            for name, axis in AXES.items():
                figures[f"{name}_to_threshold"] = reached_at(group.runs, self.threshold, axis)
        better = self.better_than_first(group)
        return figures | ({} if better is None else {"better_than_first": better._asdict()})

    def better_than_first(self, group: Group) -> Interval | None:
        """Probability that a run of a group ends above one of the first group; None of the first.

        With one run of each, there is nothing that could be said of others: None.
        """
        first = self.groups[0]
        if group is first or len(group.runs) == len(first.runs) == 1:
            return None
        return probability_of_improvement(group.finals, first.finals)

    def _repr_html_(self) -> str:
        from rllib.results.cells import comparison_html

        return comparison_html(self)

    def different_settings(self) -> Iterator[tuple[str, list[Any]]]:
        """Settings in which groups differ, with the value of each group."""
        plans = [_settings(group) for group in self.groups]
        keys = dict.fromkeys(key for plan in plans[1:] for key, _, _ in differences(plans[0], plan))
        return ((key, [_at(plan, key) for plan in plans]) for key in keys)


def compare(
    names: Sequence[str],
    runs_dir: Path,
    metric: str = RETURN,
    axis: str = "steps",
    threshold: float | None = None,
) -> Comparison:
    """Put runs beside each other.

    Args:
        names: of runs, paths of their folders, or what runs of several seeds are called in common.
        runs_dir: folder of all runs.
        metric: for the curves.
        axis: ``steps`` or ``time``.
        threshold: of returns; by default the highest at which one of the runs stops.

    Raises:
        RunError: there is no such run, or it has no results.
    """
    groups = [find_group(name, runs_dir) for name in names]
    if threshold is None:
        goals = [run.plan.stop.get(RETURN) for group in groups for run in group.runs]
        threshold = max((goal for goal in goals if goal is not None), default=None)
    return Comparison(groups, metric, AXES[axis], threshold)


def table(comparison: Comparison) -> list[str]:
    """The figures as lines of text."""
    rows: list[tuple[str, ...]] = [("run", "seeds", "return (IQM)", "95 % interval")]
    if comparison.threshold is not None:
        goal = f"{comparison.threshold:g}"
        rows[0] += (f"steps to {goal}", f"s to {goal}")
    rows += [_row(comparison, group) for group in comparison.groups]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
    for group in comparison.groups:
        if (better := comparison.better_than_first(group)) is not None:
            first = comparison.groups[0].name
            lines.append(
                f"{group.name} ends above {first} with probability {better.estimate:.2f} "
                f"({better.low:.2f} to {better.high:.2f})"
            )
    return lines


def _row(comparison: Comparison, group: Group) -> tuple[str, ...]:
    final = group.final
    interval = "-" if len(group.runs) == 1 else f"{final.low:.5g} to {final.high:.5g}"
    row: tuple[str, ...] = (group.name, f"{len(group.runs)}", f"{final.estimate:.5g}", interval)
    if comparison.threshold is not None:
        for axis, digits in ((ENV_STEPS, 0), (TIME, 1)):
            row += (_median(reached_at(group.runs, comparison.threshold, axis), digits),)
    return row


def _median(values: Sequence[float | None], digits: int) -> str:
    """The median; how many never came there; a dash if it was none."""
    there = [value for value in values if value is not None]
    if not there:
        return "-"
    missing = "" if len(there) == len(values) else f" ({len(there)}/{len(values)})"
    return f"{float(np.median(there)):,.{digits}f}{missing}"


def _settings(group: Group) -> dict[str, Any]:
    plan = group.runs[0].plan
    return {"algorithm": plan.config.algo_name} | plan.config.to_sections()


def _at(tree: Any, path: str) -> Any:
    for key in path.split("."):
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree
