"""Training while somebody else keeps more in the object store than there is room for.

What does not fit goes to disk and is read from there again. Then the disk is full, too, which
whoever brings more is told of; training waits until there is room again, and goes on.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rllib import core
from rllib.algorithm import Algorithm
from rllib.config.file import load_plan
from rllib.core.exceptions import CoreError, OutOfDiskError
from rllib.core.util.state import list_stores
from rllib.preload import PRELOAD

MIB = 2**20
STORE_BYTES = 24 * MIB
DISK_BYTES = 64 * MIB
ITERATIONS = 3
SETTINGS = ["num_env_runners=2", "num_envs_per_env_runner=32", "rollout_fragment_length=512"]
LEARNER = ["num_learners=1", "learner_snapshot_every_s=0.1", "model_config={fcnet_hiddens: [256]}"]
"""An actor whose snapshots and weights need room, too."""
BATCH = ["train_batch_size_per_learner=32768", "minibatch_size=4096", "num_epochs=1"]


class Held:
    """Values of one MiB each, every one of which can be told from the others."""

    def __init__(self) -> None:
        self.refs: list[core.ObjectRef[Any]] = []

    def put(self, num: int) -> None:
        """Hold so many more.

        Raises:
            OutOfDiskError: there is no room for one, neither in the store nor on disk.
        """
        for _ in range(num):
            self.refs.append(core.put(_value(len(self.refs))))

    def num_lost(self) -> int:
        """How many are not what they were, or cannot be had."""
        return sum(not _is_there(ref, number) for number, ref in enumerate(self.refs))


def _value(number: int) -> Any:
    return np.full(MIB // 8, float(number))


def _is_there(ref: core.ObjectRef[Any], number: int) -> bool:
    try:
        return bool((core.get(ref, timeout=60) == number).all())
    except CoreError:
        return False


def store_full(seconds: float) -> dict[str, Any]:
    """Training with the store full twice over, and with the disk full as well for ``seconds``."""
    with (
        small_disk() as disk,
        core.init(
            num_cpus=8,
            object_store_memory=STORE_BYTES,
            object_spilling_directory=str(disk),
            preload=PRELOAD,
        ),
        load_plan("ppo_cartpole", [*SETTINGS, *LEARNER, *BATCH]).config.build_algo() as algo,
    ):
        return _trained(algo, seconds)


def _trained(algo: Algorithm, seconds: float) -> dict[str, Any]:
    held = Held()
    steps = {"before": _steps(algo)}
    held.put(2 * STORE_BYTES // MIB)
    found: dict[str, Any] = {"held_mib": len(held.refs), "spilled_mib": _spilled() // MIB}
    steps["while the store is full"] = _steps(algo)
    lost, refusal = held.num_lost(), _fill_disk(held)
    lost += held.num_lost()
    end = threading.Timer(seconds, held.refs.clear)
    end.start()
    began = time.perf_counter()
    steps["while the disk is full, too, until there is room again"] = _steps(algo)
    waited = time.perf_counter() - began
    end.join()
    return found | {
        "lost": lost,
        "refusal": refusal,
        "disk_full_s": seconds,
        "iterations_then_took_s": round(waited, 1),
        "env_steps": steps | {"after": _steps(algo)},
    }


def _steps(algo: Algorithm) -> int:
    """Env steps that were trained on in some iterations."""
    before = algo.num_env_steps_sampled_lifetime
    for _ in range(ITERATIONS):
        algo.train()
    return algo.num_env_steps_sampled_lifetime - before


def _spilled() -> int:
    return sum(store.spilled for store in list_stores())


def _fill_disk(held: Held) -> str:
    """Hold as much as the disk takes; the name and first line of what is said then."""
    try:
        held.put(DISK_BYTES // MIB)
    except OutOfDiskError as error:
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return ""


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system of ``DISK_BYTES``; takes the right to mount one.

    Raises:
        PermissionError: that is missing.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            raise PermissionError("a small disk takes the right to mount a file system")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


if __name__ == "__main__":
    print(store_full(5.0))
