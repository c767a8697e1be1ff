"""How long training stands still for a checkpoint, and how much is written for it.

A row is a preset with its replay buffer full. Between two checkpoints it trains ``--seconds``::

    python -m benchmarks.checkpoint_pause
    python -m benchmarks.checkpoint_pause ppo_cartpole --dry
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from benchmarks import facts
from rllib import core
from rllib.algorithm import Algorithm
from rllib.checkpoints.rows import SavedRows
from rllib.config.file import load_plan
from rllib.off_policy import OffPolicy
from rllib.preload import PRELOAD
from rllib.runs.saver import in_thread
from rllib.workers import fetch_sample

ROWS: dict[str, list[str]] = {
    "ppo_cartpole": ["num_env_runners=2"],
    "ppo_halfcheetah": [],
    "impala_cartpole": ["num_env_runners=2"],
    "dqn_cartpole": ["replay_buffer_config.capacity=1000000", "rollout_fragment_length=100"],
    "sac_halfcheetah": ["replay_buffer_config.capacity=1000000", "rollout_fragment_length=100"],
    "rainbow_minatar_breakout": ["rollout_fragment_length=100"],
}
LIMIT_S = 0.05


def measure(preset: str, num: int, seconds: float) -> dict[str, Any]:
    """Of some checkpoints: the pauses, and bytes and seconds of their writing."""
    config = load_plan(preset, ROWS[preset]).config
    pauses, written, took = [], [], []
    with tempfile.TemporaryDirectory() as folder, config.build_algo() as algo:
        algo.train()
        fill(algo)
        saved = algo.snapshot(SavedRows()).write(Path(folder, "first"))
        for number in range(num):
            ends = time.perf_counter() + seconds
            while time.perf_counter() < ends:
                algo.train()
            started = time.perf_counter()
            snapshot = algo.snapshot(saved)
            pauses.append(time.perf_counter() - started)
            path = Path(folder, str(number))
            writing = in_thread(lambda snapshot=snapshot, path=path: snapshot.write(path))
            while not writing.done():
                algo.train()
            saved = writing.result()
            took.append(time.perf_counter() - started)
            written.append(sum(f.stat().st_size for f in path.iterdir() if f.stat().st_nlink == 1))
    return {
        "pause_ms": facts.summary([1000 * each for each in pauses]),
        "new_bytes": facts.summary(written),
        "seconds_in_background": facts.summary(took),
        "within_limit": max(pauses) <= LIMIT_S,
    }


def fill(algo: Algorithm) -> None:
    """Add what was sampled again and again, until replay buffers are full."""
    if not isinstance(algo, OffPolicy):
        return
    samples = algo.env_runner_group.sample(algo.num_env_steps_sampled_lifetime, True)
    batch = fetch_sample(samples.batches[0], 60.0)
    for replay in algo.replays.values():
        while len(replay) < replay.capacity:
            replay.add(batch, 99)
            replay.end_streams(99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", default=list(ROWS))
    parser.add_argument("--num", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--dry", action="store_true", help="write no file")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    results = facts.known_results("checkpoint_pause")
    with core.init(num_cpus=4, preload=PRELOAD):
        for name in arguments.rows:
            results[name] = measure(name, arguments.num, arguments.seconds)
            print(name, results[name], flush=True)
    if not arguments.dry:
        facts.write("checkpoint_pause", results, limit_s=LIMIT_S)


if __name__ == "__main__":
    main()
