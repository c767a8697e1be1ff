"""Trains one row for a while, in a process of its own, and prints what that came to as JSON.

::

    python -m rllib.benchmarking.measure ppo_cartpole --seconds 5

A fixed piece of work that has nothing to do with us is timed again and again in between, so that
what was measured on a faster machine, or in a quieter hour, can be compared (``calibration``).
"""

import argparse
import json
import os
import sys
from pathlib import Path
from statistics import fmean
from time import perf_counter, process_time
from typing import Any

import psutil

from rllib.algorithm import Algorithm
from rllib.benchmarking.calibration import calibrate
from rllib.config.file import load_plan

ROWS = Path(__file__).parent / "rows"
MIB = 2**20
SPELL_S = 0.25


def row_names() -> list[str]:
    """All rows there are."""
    return sorted(path.stem for path in ROWS.glob("*.yaml"))


def measure(row: str, seconds: float, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Train a row, after one iteration that does not count.

    Returns:
        ``env_steps``, ``seconds`` of wall-clock time and ``cpu_seconds`` of this process that they
        took, ``rss_mib`` of this process and its children at the end, the ``episode_return_mean``
        and the shares of ``stages`` of the last iteration, and ``calibration_s``.
    """
    config = load_plan(str(ROWS / f"{row}.yaml"), overrides).config
    with config.build_algo() as algo:
        algo.train()
        clock, calibrations = Clock(), [calibrate()]
        sampled = algo.num_env_steps_sampled_lifetime
        while clock.seconds < seconds:
            with clock:
                result = _spell(algo)
            calibrations.append(calibrate())
        return {
            "env_steps": algo.num_env_steps_sampled_lifetime - sampled,
            "seconds": clock.seconds,
            "cpu_seconds": clock.cpu_seconds,
            "rss_mib": _resident_mib(),
            "episode_return_mean": result["env_runners"].get("episode_return_mean"),
            "stages": result["stages"],
            "calibration_s": fmean(calibrations),
        }


class Clock:
    """Adds up the time that passes inside of it: wall-clock, and of this process's CPUs."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0

    def __enter__(self) -> None:
        self._began, self._cpu = perf_counter(), process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += perf_counter() - self._began
        self.cpu_seconds += process_time() - self._cpu


def _spell(algo: Algorithm) -> dict[str, Any]:
    """Iterations for ``SPELL_S``, and the last one's result."""
    began = perf_counter()
    while True:
        result = algo.train()
        if perf_counter() - began >= SPELL_S:
            return result


def _resident_mib() -> float:
    process = psutil.Process(os.getpid())
    family = [process, *process.children(recursive=True)]
    return float(sum(each.memory_info().rss for each in family)) / MIB


def main() -> None:
    """Measure the row that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("row", choices=row_names())
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    found = measure(arguments.row, arguments.seconds, tuple(arguments.overrides))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
