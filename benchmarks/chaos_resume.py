"""Asynchronous runs that are killed and resumed learn as those that go through: over seeds.

Which fragment comes when is left to the machine, so that no two runs are alike, and what is to be
the same is the distribution: of the env steps until the preset's return is reached. Of each seed
one run goes through, and one is killed (``kill -9``) amid learning and goes on by the same command.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import facts
from rllib.checkpoints.checkpoint import load_metadata
from rllib.checkpoints.folder import CheckpointFolder
from rllib.runs.record import PROGRESS, read_json_lines

STEPS = "num_env_steps_sampled_lifetime"
PRESETS = {"impala_cartpole": 120_000, "appo_cartpole": 80_000}
"""Killed after so many env steps, of which a run needs some three times as many."""
MOST = 2_000_000
"""Env steps, after which it would count as not learnt."""


def resumed_alike(num: int) -> dict[str, Any]:
    """So many seeds of each preset, whole and killed."""
    found = {}
    for preset, kill_after in PRESETS.items():
        pairs = [_pair(preset, seed, kill_after) for seed in range(1, num + 1)]
        found[preset] = compared([whole for whole, _ in pairs], [killed for _, killed in pairs])
    return {"by_preset": found, "differ": sum(each["p"] < 0.01 for each in found.values())}


def compared(whole: list[int], killed: list[int], draws: int = 20_000) -> dict[str, Any]:
    """Both medians, and how often chance alone sets means as far apart (a permutation test)."""
    values, chance = np.array([*whole, *killed], np.float64), np.random.default_rng(1)
    apart = abs(np.mean(whole) - np.mean(killed))
    drawn = chance.permuted(np.tile(values, (draws, 1)), axis=1)
    by_chance = np.abs(drawn[:, : len(whole)].mean(1) - drawn[:, len(whole) :].mean(1))
    return {
        "env_steps_whole": facts.summary(whole),
        "env_steps_killed": facts.summary(killed),
        "p": round(float((by_chance >= apart - 1e-9).mean()), 4),
    }


def _pair(preset: str, seed: int, kill_after: int) -> tuple[int, int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        _train(path, preset, seed, "whole").wait()
        killed = _train(path, preset, seed, "killed")
        while _saved(path / "runs" / "killed") < kill_after:
            assert killed.poll() is None, "it has ended by itself"
            time.sleep(0.005)
        killed.kill()
        killed.wait()
        _train(path, preset, seed, "killed").wait()
        return _needed(path / "runs" / "whole"), _needed(path / "runs" / "killed")


def _train(folder: Path, preset: str, seed: int, name: str) -> subprocess.Popen[bytes]:
    stop = ["--stop", "env_runners/episode_return_mean=450", "--stop", f"{STEPS}={MOST}"]
    settings = [f"seed={seed}", "checkpoint_frequency=5", "checkpoint_every_s=null"]
    return facts.begin_run(folder, "--config", preset, *settings, *stop, "--name", name)


def _saved(run: Path) -> int:
    """Env steps of its newest checkpoint."""
    latest = CheckpointFolder(run / "checkpoints", keep=2).latest()
    return 0 if latest is None else int(load_metadata(latest)[STEPS])


def _needed(run: Path) -> int:
    """Env steps of the whole run, without a gap or a step back on the way."""
    rows = [*read_json_lines(run / PROGRESS)]
    iterations = [row["training_iteration"] for row in rows]
    assert iterations == [*range(1, len(rows) + 1)], f"{run.name}: {iterations}"
    return int(rows[-1][STEPS])
