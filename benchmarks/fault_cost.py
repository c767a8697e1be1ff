"""What fault tolerance costs when nothing fails: the same training with it and without it.

Both train in one process and take turns, so that whatever else the machine does falls on both; a
pair is one turn of each, with and without coming first by turns. Where both are in step, their
parameters are the same to the last bit in the end, so that they have done the same work::

    python -m benchmarks.fault_cost
    python -m benchmarks.fault_cost "PPO, all of it" --pairs 40 --dry
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import facts
from rllib import core
from rllib.algorithm import Algorithm
from rllib.config import AlgorithmConfig
from rllib.config.file import load_plan
from rllib.preload import PRELOAD

GOAL_PERCENT = 2.0
FEW = ["num_env_runners=2", "num_learners=1"]
STILL = [*FEW, "lr=0.0"]
"""So that both play as well all the time: episodes that end sooner cost more resets."""
SINGLE = [*FEW, 'gym_env_vectorize_mode="sync"']

OFF: dict[str, Any] = {
    "restart_failed_env_runners": False,
    "restart_failed_learners": False,
    "restart_failed_sub_environments": False,
    "learner_timeout_s": None,
    "env_runner_health_probe_timeout_s": 1e6,
}
"""Nobody is looked after, asked whether it is alive, or copied for the case that it dies."""
ALL: dict[str, Any] = {
    "restart_failed_sub_environments": True,
    "sample_timeout_s": 180.0,  # so that env runners are asked whether they are alive
    "learner_snapshot_every_s": 1.0,
}


class Row(NamedTuple):
    """A preset, its settings, what is different with fault tolerance, and iterations of a turn."""

    preset: str
    settings: list[str]
    on: dict[str, Any]
    iterations: int


ROWS = {
    "PPO, as it is by default": Row("ppo_cartpole", FEW, {}, 1),
    "PPO, all of it": Row("ppo_cartpole", SINGLE, ALL, 1),
    "IMPALA, as it is by default": Row("impala_cartpole", STILL, {}, 1),
}


class Turn(NamedTuple):
    """Env steps of a turn, and what they took: seconds of a clock, and of all processors."""

    steps: int
    seconds: float
    cpu: float


Pair = tuple[Turn, Turn]
"""With fault tolerance, and without."""


class Side:
    """One of the two that take turns."""

    def __init__(self, config: AlgorithmConfig, settings: dict[str, Any]) -> None:
        config = config.copy()
        for name, value in settings.items():
            config[name] = value
        self.algo: Algorithm = config.build_algo()
        pids = self.algo.env_runner_group.foreach_env_runner(lambda runner: os.getpid())
        pids += self.algo.learner_group.foreach_learner(lambda learner: os.getpid())
        self.pids = {os.getpid(), *pids}
        self.steps = 0

    def turn(self, iterations: int) -> Turn:
        """Train so many iterations."""
        before, cpu, began = self.steps, self._cpu(), time.perf_counter()
        for _ in range(iterations):
            self.steps = self.algo.train()["num_env_steps_sampled_lifetime"]
        seconds = time.perf_counter() - began
        return Turn(self.steps - before, seconds, self._cpu() - cpu)

    def _cpu(self) -> float:
        """Seconds that its processes have computed so far; those of this one count for both."""
        threads = (path for pid in self.pids for path in Path(f"/proc/{pid}/task").iterdir())
        return sum(int((path / "schedstat").read_text().split()[0]) for path in threads) / 1e9


def measure(row: Row, num_pairs: int) -> dict[str, Any]:
    """So many pairs of a row, and what they come to."""
    config = load_plan(row.preset, row.settings).config
    on, off = Side(config, row.on), Side(config, OFF)
    with on.algo, off.algo:
        for side in (on, off):
            side.turn(2 * row.iterations)  # everything is warm from here on
        pairs = [_pair(on, off, row.iterations, number) for number in range(num_pairs)]
        hashes = {on.algo.params_hash(), off.algo.params_hash()}
    return summary(pairs) | {"same_parameters": len(hashes) == 1}


def _pair(on: Side, off: Side, iterations: int, number: int) -> Pair:
    if number % 2:
        late = off.turn(iterations)
        return on.turn(iterations), late
    return on.turn(iterations), off.turn(iterations)


def summary(pairs: list[Pair]) -> dict[str, Any]:
    """Env steps per second with fault tolerance as a part of those without, and processor time."""
    speed = _ratios(pairs, lambda turn: turn.steps / turn.seconds)
    cpu = _ratios(pairs, lambda turn: turn.cpu / turn.steps)
    middle, (low, high) = float(np.median(speed)), interval(speed)
    return {
        "pairs": len(pairs),
        "sps_ratio": {"median": round(middle, 4), "interval_95": [low, high]},
        "cpu_ratio": {"median": round(float(np.median(cpu)), 4), "interval_95": interval(cpu)},
        "cost_percent": round(100 * (1 - middle), 2),
        "within_goal": 100 * (1 - middle) < GOAL_PERCENT,
        "interval_within_goal": 100 * (1 - low) < GOAL_PERCENT,
    }


def _ratios(pairs: list[Pair], of: Callable[[Turn], float]) -> NDArray[np.float64]:
    return np.array([of(on) / of(off) for on, off in pairs])


def interval(values: NDArray[np.float64], draws: int = 4000) -> list[float]:
    """95 % of the medians of values drawn again and again from these."""
    chance = np.random.default_rng(1)
    drawn = chance.choice(values, (draws, len(values)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return [round(float(low), 4), round(float(high), 4)]


def main() -> None:
    """Measure the rows, print them, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", default=list(ROWS))
    parser.add_argument("--pairs", type=int, default=1500)
    parser.add_argument("--dry", action="store_true", help="write no file")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    results = facts.known_results("fault_cost")
    with core.init(num_cpus=8, preload=PRELOAD):
        for name in arguments.rows:
            results[name] = measure(ROWS[name], arguments.pairs)
            print(name, results[name], flush=True)
    if not arguments.dry:
        facts.write("fault_cost", results, goal_percent=GOAL_PERCENT)


if __name__ == "__main__":
    main()
