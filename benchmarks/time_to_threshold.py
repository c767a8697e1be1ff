"""Seconds from the command's start until a preset has learnt: the figure a user feels.

Each run is the real command in a process of its own, imports and process starts included. Layouts
alternate within a seed. With ``--twice`` every run is done again, and the hashes of the parameters
are compared::

    python -m benchmarks.time_to_threshold --seeds 1 2 3 --twice
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import facts
from rllib.checkpoints import checkpoint
from rllib.checkpoints.folder import CheckpointFolder

LAYOUTS = {
    "2 env runner actors, 1 learner actor": ["num_env_runners=2", "num_learners=1"],
    "all in one process": ["num_env_runners=0", "num_learners=0"],
}


def main() -> None:
    """Measure, print, write the JSON file."""
    arguments = _arguments()
    results: dict[str, dict[str, Any]] = {layout: {} for layout in LAYOUTS}
    for seed in arguments.seeds:
        for layout, settings in LAYOUTS.items():
            runs = [_run(arguments.preset, seed, settings) for _ in range(1 + arguments.twice)]
            results[layout][f"seed {seed}"] = runs
            print(f"{layout:40} seed {seed}: {_line(runs)}", flush=True)
    if not arguments.dry:
        facts.write("time_to_threshold", results, preset=arguments.preset, layouts=LAYOUTS)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="ppo_cartpole")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--twice", action="store_true", help="repeat each run, compare hashes")
    parser.add_argument("--dry", action="store_true", help="write no file")
    return parser.parse_args()


def _run(preset: str, seed: int, settings: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "rllib", "train", "--config", preset, f"seed={seed}"]
        started = time.perf_counter()
        subprocess.run(
            [*command, *settings, "--runs-dir", folder], check=True, stdout=subprocess.DEVNULL
        )
        elapsed = time.perf_counter() - started
        return {"seconds": round(elapsed, 2), **_outcome(Path(folder) / preset)}


def _outcome(run: Path) -> dict[str, Any]:
    last = json.loads((run / "progress.jsonl").read_text().splitlines()[-1])
    latest = CheckpointFolder(run / "checkpoints", keep=1).latest()
    assert latest is not None, f"{run} has no checkpoint"
    return {
        "episode_return_mean": last["env_runners/episode_return_mean"],
        "env_steps": last["num_env_steps_sampled_lifetime"],
        "training_seconds": round(last["time_total_s"], 2),
        "params_hash": checkpoint.load_metadata(latest)["params_hash"],
    }


def _line(runs: list[dict[str, Any]]) -> str:
    first = runs[0]
    same = len({run["params_hash"] for run in runs}) == 1
    repeated = "" if len(runs) == 1 else f", repeated: {'same' if same else 'OTHER'} parameters"
    seconds = " and ".join(f"{run['seconds']:.1f} s" for run in runs)
    return (
        f"{seconds} ({first['training_seconds']:.1f} s training), {first['env_steps']:,} env steps,"
        f" return {first['episode_return_mean']:.1f}{repeated}"
    )


if __name__ == "__main__":
    main()
