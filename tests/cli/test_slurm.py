"""The batch script for SLURM: what is in it, and that it works, with SLURM's programs played."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import deployed
import pytest
from patience import patience, wait_until

from rllib.deployment.slurm import SlurmJob, script
from rllib.deployment.training import Training

SRUN = f"""#!{sys.executable}
import signal, subprocess, sys
words = sys.argv[1:]
options = dict(word.partition("=")[::2] for word in words if word.startswith("--"))
command = next(words[n:] for n, word in enumerate(words) if not word.startswith("--"))
tasks = [subprocess.Popen(command) for _ in range(int(options["--ntasks"]))]
signal.signal(signal.SIGTERM, lambda *_: [task.terminate() for task in tasks])
codes = [task.wait() for task in tasks]
sys.exit(max(128 - code if code < 0 else code for code in codes))
"""
SCONTROL = """#!/bin/sh
case "$1 $2" in
    "show hostnames") printf '%s\\n' $3 ;;
    requeue*) echo "$2" > requeued ;;
esac
"""


def test_what_is_asked_for_is_in_the_script() -> None:
    training = Training("ppo.yaml", ("env=My Env-v0",), ("time=1",), name="my run")
    job = SlurmJob(3, 16, 2, "1:00:00", "gpu", "me", "module load python", with_tls=True)
    text = script(job, training)
    lines = text.splitlines()
    for wanted in (
        "--job-name='my run'",
        "--nodes=3",
        "--cpus-per-task=16",
        "--gpus-per-node=2",
        "--time=1:00:00",
        "--partition=gpu",
        "--account=me",
    ):
        assert f"#SBATCH {wanted}" in lines
    assert "module load python" in lines
    assert "--insecure" not in text
    (train,) = [line for line in lines if " rllib train " in line]
    words = shlex.split(train)
    assert words[words.index("--name") + 1] == "my run"
    assert "env=My Env-v0" in words
    assert "--insecure" in script(SlurmJob(1, 1), training)
    assert "gpus-per-node" not in script(SlurmJob(1, 1), training)


@pytest.mark.parametrize("job", [SlurmJob(1, 1), SlurmJob(4, 8, 1, setup="true", with_tls=True)])
def test_a_shell_finds_nothing_wrong_with_it(tmp_path: Path, job: SlurmJob) -> None:
    path = tmp_path / "job.sh"
    path.write_text(script(job, Training("ppo_cartpole", ("lr=1e-3",))))
    subprocess.run(["bash", "-n", path], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", path], check=True)


class Job:
    """A SLURM job of two nodes, both of which are this machine."""

    def __init__(self, folder: Path) -> None:
        nodes = f"{deployed.reachable_address()} second"
        environment = deployed.on_path(folder / "bin", {"srun": SRUN, "scontrol": SCONTROL})
        self.folder = folder
        self._environment = {
            **environment,
            "SLURM_JOB_ID": str(deployed.free_port(20_000, 30_000) - 20_000),
            "SLURM_JOB_NODELIST": nodes,
            "SLURM_JOB_NUM_NODES": "2",
        }

    def start(self, steps: int) -> "subprocess.Popen[str]":
        """Run the script that `rllib slurm` prints, until so many env steps are made."""
        settings = ["num_env_runners=2", "num_envs_per_env_runner=4"]
        order = ["rllib", "slurm", "--config", "ppo_cartpole", "--nodes", "2", "--cpus-per-node"]
        stop = ["--stop", f"num_env_steps_sampled_lifetime={steps}"]
        printed = subprocess.run(
            [*order, "1", *stop, *settings],
            env=self._environment,
            cwd=self.folder,
            check=True,
            capture_output=True,
            text=True,
        )
        return subprocess.Popen(
            ["bash", "-c", printed.stdout],
            env=self._environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def rows(self) -> int:
        """How many iterations have been written."""
        path = self.folder / "runs" / "ppo_cartpole" / "progress.jsonl"
        return len(path.read_text().splitlines()) if path.exists() else 0


def test_a_job_trains_on_its_nodes_and_goes_on_when_it_was_queued_again(tmp_path: Path) -> None:
    job = Job(tmp_path)
    first = job.start(steps=10**9)
    wait_until(lambda: job.rows or first.poll() is not None, patience(60))
    assert first.poll() is None, first.communicate()[0]
    os.kill(first.pid, signal.SIGTERM)  # as SLURM does before the time is up
    told = first.communicate(timeout=patience(60))[0]
    assert first.returncode == 128 + signal.SIGTERM, told
    assert "Nodes: 2" in told
    assert (tmp_path / "requeued").exists()
    before = job.rows
    second = job.start(steps=before * 4_000 + 1)
    told = second.communicate(timeout=patience(60))[0]
    assert second.returncode == 0, told
    assert "finished" in told
    assert job.rows > before
    assert not list(tmp_path.glob(".rllib-*"))
