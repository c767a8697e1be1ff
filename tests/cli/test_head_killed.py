"""A head that is killed amid a run, and the run that goes on with another one."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import clusters
import psutil
from patience import patience, wait_until

from rllib.core.cluster.launch import local_services

TRAIN = (
    *("train", "--config", "ppo_cartpole", "num_env_runners=2", "num_envs_per_env_runner=4"),
    *("checkpoint_frequency=1", "--stop", "env_runners/episode_return_mean=501"),
)


def rows(folder: Path) -> list[dict[str, Any]]:
    path = folder / "runs" / "ppo_cartpole" / "progress.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def start(command: clusters.Command) -> str:
    """A cluster of two nodes; its address."""
    command("start", "--head", "--port", "0", "--num-cpus", "1")
    address = next(each.head for each in local_services())
    command("start", "--address", address, "--num-cpus", "1")
    return address


def test_a_run_whose_head_is_killed_says_so_and_goes_on_with_another(
    command: clusters.Command, tmp_path: Path
) -> None:
    address = start(command)
    training = clusters.begin(tmp_path, *TRAIN, "--address", address)
    wait_until(lambda: len(rows(tmp_path)) > 1 or training.poll() is not None, patience(60))
    assert training.poll() is None, training.communicate()[0]
    services = [psutil.Process(each.pid) for each in local_services()]
    family = [*services, *(child for each in services for child in each.children(recursive=True))]
    head = next(each.pid for each in local_services() if each.address == address)
    os.kill(head, signal.SIGKILL)
    told = training.communicate(timeout=patience(30))[0]
    assert training.returncode == 1, told
    assert "the node service of this driver is gone, or the head of its cluster" in told
    assert not psutil.wait_procs(family, timeout=patience(30))[1]
    before = rows(tmp_path)
    more = before[-1]["num_env_steps_sampled_lifetime"] + 1
    again = start(command)
    stop = ("--stop", f"num_env_steps_sampled_lifetime={more}")
    assert "finished" in command(*TRAIN, *stop, "--address", again)
    after = rows(tmp_path)
    assert after[: len(before) - 1] == before[:-1], "what was written stays"
    iterations = [row["training_iteration"] for row in after]
    assert iterations == [*range(1, len(after) + 1)]
    assert after[-1]["num_env_steps_sampled_lifetime"] >= more
