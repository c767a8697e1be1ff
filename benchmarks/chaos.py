"""Training to a threshold while something is broken again and again, beside clean runs.

A row is a fault and an algorithm. Every run is a process of its own; what is known already is not
run again, so that a long table can be made in pieces::

    python -m benchmarks.chaos                             # what is missing, of all rows
    python -m benchmarks.chaos "PPO, runners killed" --seeds 1 2 3
    python -m benchmarks.chaos --dry                       # print, write no file
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from benchmarks import facts
from rllib import core
from rllib.algorithm import Algorithm
from rllib.callbacks import RLlibCallback
from rllib.config import AlgorithmConfig
from rllib.config.file import load_plan
from rllib.preload import preload_for

THRESHOLD = 475.0
NUM_RUNNERS = 4
SEEDS = range(1, 21)
RUNNER_EVERY_S, LEARNER_EVERY_S = 0.5, 1.0
MOST_ENV_STEPS = 1_000_000
"""To reach the threshold in; where a learner is killed, after the last time."""
TIMES = 10
"""A learner is killed so often, also when the threshold is reached sooner: it must be reached again
after that."""


class Row(NamedTuple):
    """A preset, what is different about it, and what is broken while it trains."""

    preset: str
    settings: dict[str, Any]
    env: dict[str, Any] | None
    killed: str | None
    every_s: float = RUNNER_EVERY_S
    most: int = 10**9


APART = {"gym_env_vectorize_mode": "async", "restart_failed_sub_environments": True}
"""Each environment in a process of its own, which is made anew alone."""
AT_ONCE = {"sub_environment_timeout_s": 0.5}
FEW = {"num_envs_per_env_runner": 2}
EVALUATED = {
    "evaluation_interval": 1,
    "evaluation_config": {
        "env": "CartPole-v1",
        "env_config": {},
        "gym_env_vectorize_mode": "auto",
        "num_envs_per_env_runner": 20,
        "explore": True,
    },
}
"""Where environments fail, returns are those of some episodes in some that do not, by the policy as
it trains: episodes that a fault cuts off count nowhere, which would be four of ten."""


def _rows(preset: str, name: str, episodes: int, **settings: Any) -> dict[str, Row]:
    def failing(fault: str) -> dict[str, Any]:
        return {"fault": fault, "one_in": 1000}

    one = settings | {"num_learners": 1}
    apart = settings | APART | AT_ONCE | FEW | EVALUATED | {"evaluation_duration": episodes}
    return {
        f"{name}, clean": Row(preset, settings, None, None),
        f"{name}, runners killed": Row(preset, settings, None, "runner"),
        f"{name}, learner killed": Row(preset, one, None, "learner", LEARNER_EVERY_S, TIMES),
        f"{name}, environments apart, clean": Row(preset, apart, {"fault": None}, None),
        f"{name}, environments raise": Row(preset, apart, failing("raise"), None),
        f"{name}, environments die": Row(preset, apart, failing("die"), None),
        f"{name}, environments hang": Row(preset, apart, failing("hang"), None),
    }


ROWS = {
    **_rows("ppo_cartpole", "PPO", 100, num_envs_per_env_runner=4),
    **_rows("impala_cartpole", "IMPALA", 20),  # whose iterations are small, and many
}


FAULTS = ("raise", "die", "hang")
"""Of an environment; "mixed" is each of them by chance."""


class Shaky(gym.Wrapper[Any, Any, Any, Any]):
    """CartPole that has a fault in one step out of many."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(gym.make("CartPole-v1"))
        self.fault, self.one_in = config["fault"], config.get("one_in", 1)
        self.chance = random.Random(os.urandom(8))

    def step(self, action: Any) -> Any:
        if self.fault and self.chance.random() < 1 / self.one_in:
            match self.chance.choice(FAULTS) if self.fault == "mixed" else self.fault:
                case "raise":
                    raise OSError("the simulator is gone")
                case "die":
                    os.kill(os.getpid(), signal.SIGSEGV)
                case "hang":
                    signal.pause()
        return super().step(action)


class Clock(RLlibCallback):
    """When env runners were lost, and how long it took until others were in their place."""

    lost: dict[int, float] = {}  # noqa: RUF012 (of the one algorithm of this process)
    took: list[float] = []  # noqa: RUF012

    def on_env_runners_recreated(self, *, env_runner_indices: list[int], **kwargs: Any) -> None:
        for number in env_runner_indices:
            if number - 1 in self.lost:
                self.took.append(time.monotonic() - self.lost.pop(number - 1))


def configured(row: Row, seed: int) -> AlgorithmConfig:
    config = load_plan(row.preset).config.copy()
    config.env_runners(num_env_runners=NUM_RUNNERS).debugging(seed=seed).callbacks(Clock)
    for name, value in row.settings.items():
        config[name] = value
    if row.env is not None:
        config.environment(Shaky, env_config=row.env)
    return config.fault_tolerance(learner_snapshot_every_s=0.5, max_num_env_runner_restarts=10_000)


def train(row: Row, seed: int) -> dict[str, Any]:
    """Train to the threshold; what that took."""
    started = time.perf_counter()
    config = configured(row, seed)
    with (
        core.init(num_cpus=8, preload=preload_for(config.algo_name), log_to_driver=False),
        config.build_algo() as algo,
        killing(row, algo, seed) as kills,
    ):
        result, first, since = algo.train(), None, 0
        while (to_come := row.most == TIMES and len(kills) < TIMES) or not _is_over(result, since):
            if to_come:
                since = result["num_env_steps_sampled_lifetime"]
            if first is None and _is_learnt(result):
                first = result["num_env_steps_sampled_lifetime"]
            result = algo.train()
    return {
        "reached": _is_learnt(result),
        "env_steps": first or result["num_env_steps_sampled_lifetime"],
        "seconds": round(time.perf_counter() - started, 1),
        "kills": len(kills),
        "recovery_s": [round(each, 3) for each in Clock.took],
        "failures": result["env_runners"].get("num_env_step_failures_lifetime", 0),
        **result["fault_tolerance"],
    }


def _is_learnt(result: dict[str, Any]) -> bool:
    of = result.get("evaluation", result)["env_runners"]
    return bool(of.get("episode_return_mean", 0.0) >= THRESHOLD)


def _is_over(result: dict[str, Any], since: int) -> bool:
    num_env_steps = result["num_env_steps_sampled_lifetime"] - since
    return _is_learnt(result) or num_env_steps > MOST_ENV_STEPS


@contextmanager
def killing(row: Row, algo: Algorithm, seed: int) -> Iterator[list[int]]:
    """Kill one process again and again while the block runs; the pids of those that were."""
    kills: list[int] = []
    over, rng = threading.Event(), random.Random(seed)
    thread = threading.Thread(target=_kill, args=(row, algo, rng, over, kills), daemon=True)
    if row.killed:
        thread.start()
    try:
        yield kills
    finally:
        over.set()
        if row.killed:
            thread.join()


def _kill(
    row: Row, algo: Algorithm, rng: random.Random, over: threading.Event, kills: list[int]
) -> None:
    while len(kills) < row.most and not over.wait(row.every_s):
        pids = _pids("EnvRunner" if row.killed == "runner" else "Learner")
        if not pids:
            continue
        pid = rng.choice(sorted(pids))
        if row.killed == "runner":
            Clock.lost[_index_of(algo, pid)] = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        kills.append(pid)


def _pids(kind: str) -> list[int]:
    """Processes of living actors whose class is called so."""
    from rllib.core.util.state import list_actors

    return [each.pid for each in list_actors() if kind in each.class_name and each.state == "ALIVE"]


def _index_of(algo: Algorithm, pid: int) -> int:
    from rllib.core.util.state import list_actors

    ids = {each.pid: each.actor_id for each in list_actors()}
    workers: list[Any] = algo.env_runner_group.workers
    return next((i for i, w in enumerate(workers) if w.actor._actor_id.hex() == ids.get(pid)), -1)


def main() -> None:
    """Run what is missing, print a line for each row, write the JSON file."""
    arguments = _arguments()
    if arguments.child:
        warnings.simplefilter("ignore")
        print(json.dumps(train(ROWS[arguments.rows[0]], arguments.seeds[0])))
        return
    results = facts.known_results("chaos")
    for name in arguments.rows:
        for seed in arguments.seeds:
            runs = results.setdefault(name, {}).setdefault("runs", {})
            if str(seed) in runs and not arguments.again:
                continue
            runs[str(seed)] = _run(name, seed)
            results[name] = {"summary": summary(name, results), "runs": runs}
            print(f"{name}, seed {seed}: {runs[str(seed)]}", flush=True)
            if not arguments.dry:
                facts.write("chaos", results, threshold=THRESHOLD, num_env_runners=NUM_RUNNERS)


def summary(name: str, results: dict[str, Any]) -> dict[str, Any]:
    """What the runs of a row come to, beside those of its clean row with the same seeds."""
    runs = results[name]["runs"]
    clean_name = _clean_row_of(name)
    clean = results.get(clean_name, {}).get("runs", {})
    common = [seed for seed in runs if seed in clean]
    recovery = [each for run in runs.values() for each in run["recovery_s"]]
    found: dict[str, Any] = {
        "reached": f"{sum(run['reached'] for run in runs.values())}/{len(runs)}",
        "kills": sum(run["kills"] for run in runs.values()),
        "failures": sum(run["failures"] for run in runs.values()),
    }
    if common and name != clean_name:
        for what in ("env_steps", "seconds"):
            ratio = sum(runs[s][what] for s in common) / sum(clean[s][what] for s in common)
            found[f"{what}_beside_clean"] = round(ratio, 3)
    if recovery:
        found["recovery_s_p95"] = round(float(np.percentile(recovery, 95)), 3)
        found["recovery_s_median"] = round(float(np.median(recovery)), 3)
    return found


def _clean_row_of(name: str) -> str:
    algorithm, _, fault = name.partition(", ")
    apart = "environments apart, " if fault.startswith("environments") else ""
    return f"{algorithm}, {apart}clean"


def _run(name: str, seed: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.chaos", name, "--seeds", str(seed), "--child"]
    done = subprocess.run(command, cwd=facts.ROOT, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", default=list(ROWS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[*SEEDS])
    parser.add_argument("--again", action="store_true", help="also what is known already")
    parser.add_argument("--dry", action="store_true", help="write no file")
    parser.add_argument("--child", action="store_true", help="one run in this process")
    return parser.parse_args()


if __name__ == "__main__":
    main()
