"""Suites of rows: run them in turns, write what came of it, compare it with what was before."""

import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rllib.benchmarking.compare import Comparison, Verdict, compare
from rllib.errors import ConfigError

SUITES: dict[str, dict[str, tuple[str, ...]]] = {
    "short": {"ppo_cartpole": (), "dqn_cartpole": ()},
    "cartpole": {"ppo_cartpole": (), "dqn_cartpole": (), "appo_cartpole": ()},
    "mujoco": {"ppo_halfcheetah": (), "sac_halfcheetah": ()},
    "atari": {"ppo_pong": ()},
}
"""By name: rows, and settings that replace theirs."""

_PACKAGES = ("rllib-scale", "torch", "numpy", "gymnasium")

Measurement = dict[str, Any]
Results = dict[str, list[Measurement]]


@dataclass(frozen=True)
class Line:
    """A row of the table."""

    name: str
    steps_per_second: float
    comparison: Comparison | None = None


def run_suite(
    suite: str, seconds: float, repeats: int, tell: Callable[[str], None] = lambda _text: None
) -> Results:
    """Measure each row ``repeats`` times, taking turns, each time in a process of its own.

    Raises:
        ConfigError: there is no such suite.
        RuntimeError: a row cannot be run, with what it said.
    """
    if suite not in SUITES:
        raise ConfigError(f"unknown suite {suite!r}; there are: {', '.join(SUITES)}")
    results: Results = {row: [] for row in SUITES[suite]}
    for turn in range(repeats):
        for row, overrides in SUITES[suite].items():
            tell(f"{row}, {turn + 1} of {repeats}")
            results[row].append(_measured(row, seconds, overrides))
    return results


def _measured(row: str, seconds: float, overrides: tuple[str, ...]) -> Measurement:
    command = [sys.executable, "-m", "rllib.benchmarking.measure", row, *overrides]
    done = subprocess.run(
        [*command, "--seconds", str(seconds)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{row} cannot be measured:\n{done.stderr.strip()}")
    measurement: Measurement = json.loads(done.stdout)
    return measurement


def speed(measurement: Measurement) -> float:
    """Env steps per second."""
    return float(measurement["env_steps"] / measurement["seconds"])


def relative_speed(measurement: Measurement) -> float:
    """Env steps in the time of the calibrating work, which any machine can be asked for."""
    return speed(measurement) * float(measurement["calibration_s"])


def table(results: Results, baseline: Results | None, tolerance: float) -> list[Line]:
    """The rows, with the median speed and what it is like beside the baseline's."""
    return [
        Line(
            row,
            sorted(map(speed, measured))[len(measured) // 2],
            None
            if baseline is None or row not in baseline
            else compare(
                [*map(relative_speed, baseline[row])],
                [*map(relative_speed, measured)],
                tolerance,
            ),
        )
        for row, measured in results.items()
    ]


def is_regression(lines: list[Line]) -> bool:
    """Whether any row has become slower."""
    return any(
        line.comparison is not None and line.comparison.verdict is Verdict.SLOWER for line in lines
    )


def document(suite: str, results: Results) -> dict[str, Any]:
    """What is written to a file: the measurements, and where they come from."""
    return {
        "suite": suite,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "results": results,
    }


def read_baseline(path: Path) -> Results:
    """The measurements in a file that ``document`` made.

    Raises:
        ConfigError: it is none.
    """
    try:
        written: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {str(row): [dict(each) for each in rows] for row, rows in written["results"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        text = f"{path}: not a baseline that rllib benchmark wrote: {error}"
        raise ConfigError(text) from None
