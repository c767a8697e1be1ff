"""The commands of the page on many machines, as they are written there, on three "machines"."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import deployed
import pytest
from patience import patience, wait_until

from rllib.core.cluster.launch import local_services, stop_all

PAGE = (deployed.ROOT / "docs" / "clusters.md").read_text()
SSH = '#!/bin/sh\nRLLIB_HOME=$PWD/$1; export RLLIB_HOME; shift; exec "$@"\n'
NEVER = (
    " --stop num_env_steps_sampled_lifetime=1000000000 --stop env_runners/episode_return_mean=501"
)
CPUS = {"head": 2, "worker1": 1, "worker2": 1}


def lines() -> Iterator[tuple[str, str]]:
    """Machine and command, one after the other."""
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        yield from re.findall(r"^(\w+)\$ +(.*)$", block, re.MULTILINE)


class Machines:
    """A folder and an environment for all; each has a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = deployed.on_path(folder / "bin", {"ssh": SSH})
        self._environments = {name: {**path, "RLLIB_HOME": str(folder / name)} for name in CPUS}
        self._here = {
            "10.0.0.1": "127.0.0.1",
            "6379": str(deployed.free_port(20_000, 30_000)),
            "--head": "--head --port 6379",
        }

    def begin(self, machine: str, command: str) -> "subprocess.Popen[str]":
        """Start one of the commands there."""
        for there, here in reversed(self._here.items()):
            command = command.replace(there, here)
        if command.startswith("rllib start"):
            command += f" --num-cpus {CPUS[machine]}"
        return subprocess.Popen(
            ["bash", "-c", f"exec {command}" if command.startswith("rllib train") else command],
            cwd=self.folder,
            env=self._environments[machine],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, machine: str, command: str) -> str:
        """What it prints. Variables that it exports stay."""
        if command.startswith("export "):
            pairs = (word.split("=", 1) for word in command.split()[1:])
            self._environments[machine].update(dict(pairs))
            return ""
        process = self.begin(machine, command)
        told = process.communicate(timeout=patience(60))[0]
        assert process.returncode == 0, told
        return told

    def rows(self) -> list[dict[str, Any]]:
        """What the run has written."""
        path = self.folder / "runs" / "impala_cartpole" / "progress.jsonl"
        written = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in written]


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    yield Machines(tmp_path)
    stop_all()


def until(happened: Callable[[], Any], training: "subprocess.Popen[str]") -> None:
    wait_until(lambda: happened() or training.poll() is not None, patience(60))
    assert training.poll() is None, training.communicate()[0]


def test_impala_trains_on_three_nodes_and_goes_on_when_one_is_killed(machines: Machines) -> None:
    *before, (_, train), (_, stop) = lines()
    for machine, command in before:
        told = machines.run(machine, command)
    assert "Nodes: 3" in told
    training = machines.begin("head", train + NEVER)
    until(lambda: len(machines.rows()) > 1, training)
    status = json.loads(machines.run("head", "rllib status --json"))
    runners = [actor for actor in status["actors"] if actor["class"] == "EnvRunner"]
    assert len(runners) == 3
    assert all(node["store"]["capacity"] > 0 for node in status["nodes"])
    head = next(node["id"] for node in status["nodes"] if node["head"])
    lost = next(actor["node"] for actor in runners if actor["node"] != head)
    service = next(each for each in local_services() if each.node == lost)
    os.kill(service.pid, signal.SIGKILL)
    until(lambda: restarts(machines.rows()[-1]) > 0, training)
    there = len(machines.rows())
    until(lambda: len(machines.rows()) > there + 1, training)
    status = json.loads(machines.run("head", "rllib status --json"))
    alive = {node["id"] for node in status["nodes"] if node["alive"]}
    assert len(alive) == 2
    assert {actor["node"] for actor in status["actors"]} <= alive
    (death,) = [each for each in status["deaths"] if each["what"].startswith("node")]
    assert death["what"] == f"node {lost[:12]}"
    assert "is gone" in death["why"]
    training.send_signal(signal.SIGTERM)
    told = training.communicate(timeout=patience(60))[0]
    assert training.returncode == 128 + signal.SIGTERM, told
    steps = [row["num_env_steps_sampled_lifetime"] for row in machines.rows()]
    assert steps == sorted(set(steps)), "a curve without a step back"
    assert machines.run("head", stop).count("stopped the node") == 2


def restarts(row: dict[str, Any]) -> int:
    return int(row.get("fault_tolerance/num_remote_worker_restarts", 0))


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_the_same_config_runs_on_ray_with_one_changed_flag(machines: Machines) -> None:
    (train,) = [command for _, command in lines() if command.startswith("rllib train")]
    flag = "--address 10.0.0.1:6379"
    assert flag in train
    small = "num_env_runners=1 --stop num_env_steps_sampled_lifetime=2000"
    assert "finished" in machines.run("head", f"{train.replace(flag, '--address ray')} {small}")
    assert machines.rows()[-1]["num_env_steps_sampled_lifetime"] >= 2000
