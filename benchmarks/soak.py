"""Training for a long time while everything is broken by turns, and whether anything grows.

A run of PPO on CartPole is trained by ``AlgorithmConfig.train`` in a process of its own, a
*driver*. Its environments raise, die and hang, its env runners and its learner are killed, its
object store is filled twice over, and the driver itself gets SIGTERM or ``kill -9`` and is started
again. A clean run has the same settings. What is open, mapped and alive is counted every second::

    python -m benchmarks.soak --minutes 60
    python -m benchmarks.soak --minutes 1 --dry
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

from benchmarks import chaos, facts
from benchmarks.chaos_store import MIB, Held
from rllib import core
from rllib.config import AlgorithmConfig
from rllib.config.file import load_plan
from rllib.preload import preload_for
from rllib.runs.record import PROGRESS, read_json_lines
from rllib.runs.stopping import RETURN

STORE_BYTES = 24 * MIB
CHECKPOINT_S = 5.0
WARM_S = 20.0
"""Seconds from a driver's first iteration until its memory should grow no more."""
NAME = "soak"
FAILURES = "env_runners/num_env_step_failures_lifetime"
MOST = {"rss_mib": 60.0, "descriptors": 6.0, "segments": 6.0, "processes": 6.0, "threads": 6.0}
"""Growth within a driver's life that counts as none: per hour, in which there are over a thousand
faults, so that anything that is lost with each of them would be a hundred times that."""


class Sample(NamedTuple):
    """What a driver has at a moment (s since the beginning); ``life`` counts drivers."""

    life: int
    at: float
    rss_mib: float
    descriptors: int
    segments: int
    processes: int
    threads: int


class Weather(NamedTuple):
    """Seconds from one fault to the next, of each kind; infinite for never."""

    runner: float = 5.0
    learner: float = 17.0
    store: float = 11.0
    driver: float = 150.0
    one_env_step_in: int = 4000


NEVER = float("inf")
CLEAN = Weather(NEVER, NEVER, NEVER, NEVER, one_env_step_in=0)


# The driver.


def configured(weather: Weather) -> AlgorithmConfig:
    """A run that learns within a minute and then stays as good as it is."""
    row = chaos.ROWS["PPO, environments apart, clean"]
    config = load_plan(row.preset).config.copy()
    for name, value in (row.settings | {"num_env_runners": 2, "num_learners": 1}).items():
        config[name] = value
    env = {"fault": "mixed" if weather.one_env_step_in else None, "one_in": weather.one_env_step_in}
    return (
        config.environment(chaos.Shaky, env_config=env)
        .training(lr=[[0, 2e-3], [100_000, 1e-4]], train_batch_size_per_learner=1024)
        .checkpointing(checkpoint_every_s=CHECKPOINT_S, checkpoint_frequency=0)
        .fault_tolerance(
            learner_snapshot_every_s=1.0,
            max_num_env_runner_restarts=10**6,
            max_num_learner_restarts=10**6,
        )
    )


def drive(folder: Path, weather: Weather, seed: int) -> None:
    """Train, with faults beside it, until this process is ended from outside."""
    over = threading.Event()
    with core.init(
        num_cpus=8, object_store_memory=STORE_BYTES, preload=preload_for("PPO"), log_to_driver=False
    ):
        breaks = [
            (weather.runner, kill("EnvRunner", seed)),
            (weather.learner, kill("Learner", seed)),
        ]
        threads = [
            threading.Thread(target=_again, args=(over, *each), daemon=True)
            for each in [*breaks, (weather.store, fill_store)]
        ]
        for thread in threads:
            thread.start()
        try:
            forever = {"training_iteration": 10**9}
            configured(weather).train(stop=forever, name=NAME, runs_dir=str(folder))
        except KeyboardInterrupt as interrupt:  # a signal, after a last checkpoint
            over.set()
            for thread in threads:
                thread.join()
            sys.exit(getattr(interrupt.__cause__, "exit_code", 1))


def _again(over: threading.Event, every_s: float, break_it: Callable[[], None]) -> None:
    while not over.wait(min(every_s, threading.TIMEOUT_MAX)):
        break_it()
        print("fault", flush=True)


def kill(kind: str, seed: int) -> Callable[[], None]:
    """What kills one of the actors of that kind."""
    rng = random.Random(seed)

    def kill_one() -> None:
        if pids := chaos._pids(kind):
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(sorted(pids)), signal.SIGKILL)

    return kill_one


def fill_store() -> None:
    """Hold twice as much as the store has room for, and look at it again."""
    held = Held()
    held.put(2 * STORE_BYTES // MIB)
    if lost := held.num_lost():
        print(f"lost {lost}", flush=True)


# Who watches it.


class Watch:
    """Starts drivers, ends them, and writes down what they have.

    Args:
        folder: of the run.
        weather: what is broken.
        seed: of the moments of it.
    """

    def __init__(self, folder: Path, weather: Weather, seed: int) -> None:
        self.folder, self.weather, self.seed = folder, weather, seed
        self.samples: list[Sample] = []
        self.counts = {"faults": 0, "lost": 0, "SIGTERM": 0, "SIGKILL": 0, "wrong_exit_codes": 0}
        self.left_behind = 0
        self.began = time.monotonic()

    def run(self, seconds: float) -> None:
        """Drivers, one after the other, for so long."""
        until = self.began + seconds
        for life in itertools.count():
            if (left := until - time.monotonic()) <= 0:
                return
            is_last = left < 1.5 * self.weather.driver
            self._live(life, left if is_last else self.weather.driver)

    def _live(self, life: int, seconds: float) -> None:
        until = time.monotonic() + seconds
        number = signal.SIGKILL if life % 2 else signal.SIGTERM
        with self._driver(life) as driver:
            process = psutil.Process(driver.pid)
            while (left := until - time.monotonic()) > 0:
                assert driver.poll() is None, f"the driver has ended by itself: {driver.returncode}"
                self._look(life, process)
                time.sleep(min(1.0, left))
            family = process.children(recursive=True)
            driver.send_signal(number)
            code = driver.wait(60)
        self.counts[number.name] += 1
        self.counts["wrong_exit_codes"] += code != (143 if number == signal.SIGTERM else -number)
        self.left_behind += len(psutil.wait_procs(family, timeout=5.0)[1])

    @contextlib.contextmanager
    def _driver(self, life: int) -> Iterator[subprocess.Popen[str]]:
        arguments = [str(self.folder), json.dumps(self.weather), str(self.seed + life)]
        command = [sys.executable, "-m", "benchmarks.soak", "--drive", *arguments]
        with subprocess.Popen(command, cwd=facts.ROOT, stdout=subprocess.PIPE, text=True) as driver:
            reader = threading.Thread(target=self._read, args=(driver,), daemon=True)
            reader.start()
            try:
                yield driver
            finally:
                driver.kill()
                reader.join(5.0)

    def _read(self, driver: subprocess.Popen[str]) -> None:
        assert driver.stdout is not None
        for line in driver.stdout:
            word, *number = line.split() or [""]
            if word == "fault":
                self.counts["faults"] += 1
            elif word == "lost":
                self.counts["lost"] += int(number[0])

    def _look(self, life: int, process: psutil.Process) -> None:
        now = time.monotonic() - self.began
        with contextlib.suppress(psutil.Error, OSError):
            self.samples.append(Sample(life, now, *_has(process)))


def _has(process: psutil.Process) -> tuple[float, int, int, int, int]:
    """MiB, descriptors, segments of shared memory, processes below it, threads."""
    files = [_target(entry) for entry in Path(f"/proc/{process.pid}/fd").iterdir()]
    segments = sum("memfd:" in file for file in files)
    below = len(process.children(recursive=True))
    rss = process.memory_info()
    own = (rss.rss - rss.shared) / MIB  # segments of the store are counted by themselves
    return own, len(files), segments, below, process.num_threads()


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:
        return ""


# What it comes to.


def growth(samples: list[Sample], name: str, warm_s: float = WARM_S) -> dict[str, float]:
    """By how much something grows in an hour of a driver's life, least squares over all lives.

    Returns:
        The slope, its standard error, the median, and the most that there was.
    """
    xs, ys = [], []
    for _, group in itertools.groupby(samples, key=lambda sample: sample.life):
        life = list(group)
        late = [each for each in life if each.at - life[0].at > warm_s]
        if len(late) < 10:
            continue
        x = np.array([each.at for each in late]) / 3600
        y = np.array([float(getattr(each, name)) for each in late])
        xs.append(x - x.mean())
        ys.append(y - y.mean())
    values = [float(getattr(each, name)) for each in samples]
    found = {"median": round(float(np.median(values)), 1), "most": round(max(values), 1)}
    if not xs:
        return found
    x, y = np.concatenate(xs), np.concatenate(ys)
    slope = float(x @ y / (x @ x))
    error = float(np.sqrt(((y - slope * x) ** 2).sum() / max(1, len(x) - 2) / (x @ x)))
    return {"per_hour": round(slope, 2), "standard_error": round(error, 2)} | found


def is_flat(name: str, found: dict[str, float]) -> bool:
    """Whether it grows by no more than what counts as nothing, or by what may be chance."""
    if "per_hour" not in found:
        return False
    return found["per_hour"] - 2 * found["standard_error"] <= MOST[name]


def curve(folder: Path) -> dict[str, Any]:
    """What the record of a run says: when it had learnt, how good it was then, what is missing."""
    rows = [*read_json_lines(folder / NAME / PROGRESS)]
    steps = [row["num_env_steps_sampled_lifetime"] for row in rows]
    returns = [float(row.get(RETURN, 0.0)) for row in rows]
    learnt = next((i for i, each in enumerate(returns) if each >= chaos.THRESHOLD), None)
    numbers = [row["training_iteration"] for row in rows]
    broken = [int(row.get(FAILURES, 0)) for row in rows]
    later = returns[learnt:] if learnt is not None else []
    return {
        "iterations": len(rows),
        "env_steps": steps[-1],
        "env_faults": sum(max(0, b - a) for a, b in itertools.pairwise([0, *broken])),
        "env_steps_to_475": None if learnt is None else steps[learnt],
        "median_return_since": round(float(np.median(later)), 1) if later else None,
        "has_gaps_or_steps_back": numbers != [*range(1, len(rows) + 1)]
        or any(b <= a for a, b in itertools.pairwise(steps)),
    }


def soak(seconds: float, clean_seconds: float, weather: Weather, seed: int = 1) -> dict[str, Any]:
    """A run among faults, and a clean one; what has grown, and both curves."""
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(Path(folder, "faults"), weather, seed)
        watch.run(seconds)
        found = {name: growth(watch.samples, name) for name in MOST}
        curves = {"faults": curve(watch.folder)}
        if clean_seconds:
            clean = Watch(Path(folder, "clean"), CLEAN, seed)
            clean.run(clean_seconds)
            curves["clean"] = curve(clean.folder)
    return {
        "seconds": round(time.monotonic() - watch.began - clean_seconds),
        "weather": weather._asdict(),
        "counts": watch.counts | {"left_behind": watch.left_behind},
        "growth": {name: each | {"is_flat": is_flat(name, each)} for name, each in found.items()},
        "curves": curves,
        "samples": thinned(watch.samples),
    }


def thinned(samples: list[Sample], most: int = 60) -> list[list[float]]:
    """Some of them, evenly spread."""
    step = max(1, len(samples) // most)
    return [[round(float(value), 1) for value in sample] for sample in samples[::step]]


def told(found: dict[str, Any]) -> str:
    """All but the samples."""
    return json.dumps({name: each for name, each in found.items() if name != "samples"}, indent=1)


def main() -> None:
    """Soak, print what came of it, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--clean-minutes", type=float, default=3.0)
    parser.add_argument("--dry", action="store_true", help="write no file")
    parser.add_argument("--drive", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drive:
        folder, weather, seed = arguments.drive
        warnings.simplefilter("ignore")
        drive(Path(folder), Weather(*json.loads(weather)), int(seed))
        return
    found = soak(60 * arguments.minutes, 60 * arguments.clean_minutes, Weather())
    print(told(found))
    if not arguments.dry:
        facts.write("soak", found, columns=Sample._fields, most_per_hour=MOST)


if __name__ == "__main__":
    main()
