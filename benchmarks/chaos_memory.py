"""Training in a control group of little memory, while its environments take more and more of it.

Env runners are ended one after the other before the kernel ends something at random, and others
take their place; what is in the object store stays there, and training goes on::

    python -m benchmarks.chaos_memory --gib 6 --seconds 60
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import psutil

from benchmarks import facts
from benchmarks.chaos_store import MIB, Held
from rllib import core
from rllib.algorithm import Algorithm
from rllib.config.file import load_plan
from rllib.core.native.control_groups import ROOT
from rllib.preload import preload_for

GIB = 1024 * MIB
HELD_MIB = 256
NUM_RUNNERS = 4
TOLD = "ran out of memory"
GONE_S = 5.0
"""Seconds after a driver's end in which everything of its own is gone."""


class Hoarder(gym.Wrapper[Any, Any, Any, Any]):
    """CartPole that keeps so many bytes of each step."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(gym.make("CartPole-v1"))
        self.bytes_per_step = config["bytes_per_step"]
        self.kept: list[Any] = []

    def step(self, action: Any) -> Any:
        self.kept.append(np.ones(self.bytes_per_step, np.uint8))
        return super().step(action)


def trained(seconds: float, bytes_per_step: int, enough: int) -> dict[str, Any]:
    """What came of training for some time, or until ``enough`` env runners were started anew."""
    config = load_plan("ppo_cartpole").config.copy()
    config.environment(Hoarder, env_config={"bytes_per_step": bytes_per_step})
    config.env_runners(num_env_runners=NUM_RUNNERS, num_envs_per_env_runner=4)
    config.fault_tolerance(max_num_env_runner_restarts=10**6)
    with (
        core.init(num_cpus=8, preload=preload_for("PPO"), log_to_driver=False),
        config.build_algo() as algo,
        warnings.catch_warnings(record=True) as told,
    ):
        warnings.simplefilter("always")
        held = Held()
        held.put(HELD_MIB)
        result = _until(algo, time.monotonic() + seconds, enough)
        stories = [str(each.message) for each in told if TOLD in str(each.message)]
        return {
            "env_steps": result["num_env_steps_sampled_lifetime"],
            "env_runners_ended": len(stories),
            "restarts": result["fault_tolerance"]["num_remote_worker_restarts"],
            "healthy": result["fault_tolerance"]["num_healthy_workers"],
            "told": _sentence(stories[0]) if stories else "",
            "lost": held.num_lost(),
        }


def _until(algo: Algorithm, deadline: float, enough: int) -> dict[str, Any]:
    while True:
        result = algo.train()
        restarts = result["fault_tolerance"]["num_remote_worker_restarts"]
        if restarts >= enough or time.monotonic() > deadline:
            return result


def _sentence(story: str) -> str:
    """The one with the figures."""
    return next(line.strip() for line in story.splitlines() if TOLD in line)


def memory_capped(
    seconds: float, gib: float = 6.0, bytes_per_step: int = 128 * 1024, enough: int = 10**9
) -> dict[str, Any]:
    """`trained`, in a process that may have so much memory.

    Raises:
        PermissionError: control groups cannot be made here.
    """
    with control_group(int(gib * GIB)) as group:
        given = json.dumps([seconds, bytes_per_step, enough])
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.chaos_memory", "--child", given],
            cwd=facts.ROOT,
            stdout=subprocess.PIPE,
            check=True,
            preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())),
        )
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return (
            {"gib": gib, "trained_s": seconds}
            | found
            | {"ended_by_the_kernel": ended_by_kernel(group)}
        )


@contextmanager
def control_group(most_bytes: int) -> Iterator[Path]:
    """One with a limit of memory, in the first or second version; gone in the end.

    Raises:
        PermissionError: it cannot be made.
    """
    is_second = (ROOT / "cgroup.controllers").exists()
    group = (ROOT if is_second else ROOT / "memory") / f"rllib-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise PermissionError(f"a control group cannot be made: {error}") from None
    try:
        _limit(group, "memory.max" if is_second else "memory.limit_in_bytes", most_bytes)
        yield group
    finally:
        _remove(group)


def _limit(group: Path, name: str, most_bytes: int) -> None:
    try:
        (group / name).write_text(str(most_bytes))
        if (swap := group / "memory.swap.max").exists():
            swap.write_text("0")
    except OSError as error:
        raise PermissionError(f"memory cannot be limited here: {error}") from None


def _remove(group: Path) -> None:
    """Once the last process in it has ended, of which some may be about to."""
    processes = [psutil.Process(int(pid)) for pid in (group / "cgroup.procs").read_text().split()]
    psutil.wait_procs(processes, timeout=GONE_S)
    group.rmdir()


def ended_by_kernel(group: Path) -> int:
    """Processes of the group that the kernel has ended for want of memory."""
    events = next(
        each for each in ("memory.events", "memory.oom_control") if (group / each).exists()
    )
    rows = dict(line.split() for line in (group / events).read_text().splitlines())
    return int(rows["oom_kill"])


def main() -> None:
    """Print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=6.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--bytes-per-step", type=int, default=128 * 1024)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(trained(*json.loads(arguments.child))))
        return
    print(memory_capped(arguments.seconds, arguments.gib, arguments.bytes_per_step))


if __name__ == "__main__":
    main()
