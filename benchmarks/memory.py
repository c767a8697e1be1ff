"""What training takes of memory, and whether that grows: 1 M env steps of CartPole.

With APPO and two env runner actors; each process is looked at after the first iteration that
learns, and every so many env steps from there on. Besides, how many bytes an env step takes on its
way from an env runner into the object store, from where learners read it in place::

    python -m benchmarks.memory
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import psutil

from benchmarks import facts
from rllib import core
from rllib.algorithm import Algorithm
from rllib.config.file import load_plan

ROW = "appo_cartpole"
WARM_UP = 100_000
"""Env steps before the first look: caches, windows and the allocator's arenas are full by then."""
MAIN, RUNNER = "main process", "env runner"
MIB = 2**20


def main() -> None:
    """Measure, print, write the JSON file."""
    arguments = _arguments()
    results = measure(arguments.env_steps, arguments.looks)
    for name, process in results["processes"].items():
        print(
            f"{name}: {process['mib'][0]:.1f} MiB of its own, "
            f"{process['growth_mib']:+.2f} MiB in {results['env_steps']:,} env steps"
        )
    print(f"{results['bytes_per_env_step']:.1f} bytes into the store for each env step")
    if not arguments.dry:
        facts.write("memory", results, about=_ABOUT)


_ABOUT = (
    f"row {ROW}: memory of each process that it shares with no other (USS) at every look, MiB; "
    "growth from the median of the first third of the looks to that of the last"
)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--env-steps", type=int, default=1_000_000)
    parser.add_argument("--looks", type=int, default=21)
    parser.add_argument("--dry", action="store_true", help="write no file")
    return parser.parse_args()


def measure(env_steps: int, num_looks: int, warm_up: int = WARM_UP) -> dict[str, Any]:
    """Memory over so many env steps after the first ones, and bytes of each env step."""
    path = files("rllib.benchmarking") / "rows" / f"{ROW}.yaml"
    with load_plan(str(path), []).config.build_algo() as algo:
        processes = _processes(algo)
        begin = _train_until(algo, warm_up)
        looks = []
        for look in range(num_looks):
            end = _train_until(algo, warm_up + env_steps * look // max(1, num_looks - 1))
            looks.append({name: own_mib(process) for name, process in processes.items()})
        size = _bytes_per_env_step(algo)
    curves = {name: [look[name] for look in looks] for name in processes}
    return {
        "env_steps": end - begin,
        "bytes_per_env_step": round(size, 1),
        "processes": {
            name: {"mib": curve, "growth_mib": growth(curve)} for name, curve in curves.items()
        },
    }


def _processes(algo: Algorithm) -> dict[str, psutil.Process]:
    pids = algo.env_runner_group.foreach_env_runner(_pid, local_env_runner=False)
    runners = {f"{RUNNER} {index}": psutil.Process(pid) for index, pid in enumerate(pids, 1)}
    return {MAIN: psutil.Process()} | runners


def _pid(_runner: Any) -> int:
    return psutil.Process().pid


def _train_until(algo: Algorithm, env_steps: int) -> int:
    """Train until so many have been sampled in all; returns how many that are."""
    steps = 0
    while steps < max(1, env_steps):
        steps = int(algo.train()["num_env_steps_sampled_lifetime"])
    return steps


def own_mib(process: psutil.Process) -> float:
    """What would be free if it ended."""
    return round(process.memory_full_info().uss / MIB, 2)


def growth(curve: Sequence[float]) -> float:
    """From the median of the first third to that of the last."""
    third = max(1, len(curve) // 3)
    first, last = (float(facts.summary(part)["median"]) for part in (curve[:third], curve[-third:]))
    return round(last - first, 2)


def _bytes_per_env_step(algo: Algorithm) -> float:
    samples = algo.env_runner_group.sample()
    sizes = [size_of(core.get(handle)) for handle in samples.batches]
    return sum(sizes) / sum(each.num_env_steps for each in samples.stats)


def size_of(value: Any) -> int:
    """Bytes of a value as it travels: what is pickled, and the arrays beside it."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return len(pickled) + sum(buffer.raw().nbytes for buffer in buffers)


if __name__ == "__main__":
    main()
