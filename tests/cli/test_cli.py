"""The command as users run it: real processes, exit codes, signals, and what is left behind."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from patience import wait_until

from rllib.checkpoints.checkpoint import load_metadata
from rllib.checkpoints.folder import CheckpointFolder
from rllib.runs.record import read_json_lines

HERE = Path(__file__).parent
PATH = f"{HERE}{os.pathsep}{HERE.parent.parent}"
"""The algorithms beside this file, and the project that this file belongs to."""
TOY = """\
algorithm: counting_algo:Counting
environment:
  env: CartPole-v1
checkpointing:
  checkpoint_frequency: 2
stop:
  training_iteration: 9
"""
PPO = """\
algorithm: telling_ppo:TellingPPO
environment:
  env: CartPole-v1
env_runners:
  num_env_runners: 1
  num_envs_per_env_runner: 4
training:
  lr: 1e-3
  train_batch_size_per_learner: 256
  minibatch_size: 128
  num_epochs: 2
learners:
  num_learners: 1
rl_module:
  model_config:
    fcnet_hiddens: [16]
checkpointing:
  checkpoint_frequency: 3
stop:
  training_iteration: 12
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """``start(*arguments, **environment)`` runs ``rllib`` in an empty folder; none survives."""
    monkeypatch.chdir(tmp_path)
    Path("toy.yaml").write_text(TOY)
    Path("ppo.yaml").write_text(PPO)
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, terminal: Any = None, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "rllib", *arguments],
            stdout=subprocess.PIPE if terminal is None else terminal,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONPATH": PATH, "OMP_NUM_THREADS": "1"} | environment,
            start_new_session=terminal is not None,
            preexec_fn=None if terminal is None else take_terminal,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def take_terminal() -> None:
    """Make standard output the terminal that controls this process."""
    fcntl.ioctl(1, termios.TIOCSCTTY, 0)


def finish(process: "subprocess.Popen[str]", timeout: float = 30) -> tuple[int, str]:
    """Exit code and the rest of the output."""
    output, _ = process.communicate(timeout=timeout)
    return process.returncode, output


def wait_for_line(process: "subprocess.Popen[str]", beginning: str) -> None:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        if line.startswith(beginning):
            return
        seen.append(line)
    raise AssertionError(f"no line {beginning!r} in: {''.join(seen)}")


def iterations(name: str) -> list[float]:
    return [row["training_iteration"] for row in read_json_lines(Path("runs", name, PROGRESS))]


PROGRESS = "progress.jsonl"


def test_a_run_does_not_depend_on_who_reads_along(start: Start) -> None:
    run = start("train", "--config", "toy.yaml", "--stop", "training_iteration=400")
    wait_for_line(run, "rllib train")
    assert run.stdout is not None
    run.stdout.close()
    run.stdout = None  # nothing is left to be read at the end either
    assert run.wait(timeout=30) == 0
    assert iterations("toy") == list(range(1, 401))


# Start.


def test_version(start: Start) -> None:
    import rllib

    assert finish(start("--version")) == (0, f"rllib {rllib.__version__}\n")


def test_the_options_of_train_do_not_grow(start: Start) -> None:
    """What can be set in a config is no option; see the module docstring of ``rllib.cli``."""
    code, text = finish(start("train", "--help", COLUMNS="200"))
    options = {word for word in text.split() if word.startswith("--")}
    assert code == 0
    assert options == {
        "--config",
        "--stop",
        "--fresh",
        "--grace",
        "--profile",
        "--resume-with-changes",
        "--name",
        "--runs-dir",
        "--address",
        "--seeds",
        "--dry-run",
        "--log-format",
        "--help",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--config", "toy.yaml", "gama=1"], "did you mean 'gamma'?"),
        (["train", "--config", "bad.yaml"], "bad.yaml:2:3: lr: should be a valid number"),
        (["train", "--config", "broken.yaml"], "broken.yaml:1:5: "),
        (["train", "--config", "nothing.yaml"], "nothing.yaml: no such file"),
        (["train", "--config", "ppo_cartpol"], "did you mean 'ppo_cartpole'?"),
        (["train", "--config", "toy.yaml", "env=CartPole-v9"], "did you mean 'CartPole-v1'?"),
        (["train", "--config", "toy.yaml", "--stop", "steps=1"], "unknown metric"),
        (["train", "--config", "toy.yaml", "--stop", "steps"], "write it as key=value"),
        (["train", "--config", "toy.yaml", "--address", "moon"], "moon"),
        (["train", "--config", "toy.yaml", "--seeds", "5..1"], "write them as 1..5 or 1,4,7"),
        (["train", "--config", "toy.yaml", "--dry-run", "gama=1"], "did you mean 'gamma'?"),
        (["train", "--config", "toy.yaml", "--runs-dir", "toy.yaml"], "cannot be written"),
        (["train"], "--config"),
        (["trian"], "train"),
    ],
)
def test_bad_input_exits_with_2_and_one_message(
    start: Start, arguments: list[str], message: str
) -> None:
    Path("broken.yaml").write_text("a: [")
    Path("bad.yaml").write_text("training:\n  lr: x\nalgorithm: counting_algo:Counting\n")
    code, output = finish(start(*arguments))
    assert code == 2
    assert message in output
    assert "Traceback" not in output
    assert not Path("runs").exists()


# Signals and deaths.


def test_a_second_process_is_refused_while_the_first_trains(start: Start) -> None:
    first = start("train", "--config", "toy.yaml", BLOCK_AT="3")
    wait_for_line(first, "blocking")
    code, output = finish(start("train", "--config", "toy.yaml", "--fresh"))
    assert code == 2
    assert f"another process ({first.pid}) is training in this folder" in output
    first.kill()
    first.wait()
    assert finish(start("train", "--config", "toy.yaml"))[0] == 0
    assert iterations("toy") == list(range(1, 10))


def test_a_second_ctrl_c_ends_an_iteration_that_takes_long(start: Start) -> None:
    process = start("train", "--config", "toy.yaml", BLOCK_AT="6")
    wait_for_line(process, "blocking")
    process.send_signal(signal.SIGINT)
    wait_for_line(process, "stopping after this iteration")
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert time.monotonic() - sent < 3
    assert code == 130
    assert "stopped by Ctrl-C; the last checkpoint is" in output
    assert "env steps); the same command" in output


def test_sigterm_ends_within_ten_seconds_whatever_hangs(start: Start) -> None:
    process = start("train", "--config", "toy.yaml", BLOCK_AT="6", BLOCK_IN_STOP="1")
    wait_for_line(process, "blocking")
    wait_until(Path("runs/toy/checkpoints/latest").exists)
    sent = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code, _ = finish(process)
    assert time.monotonic() - sent < 10
    assert code == 143
    code, output = finish(start("train", "--config", "toy.yaml"))
    assert code == 0
    assert "continuing from runs/toy/checkpoints/iteration_" in output
    assert iterations("toy") == list(range(1, 10))


def test_sigterm_ends_within_the_grace_that_there_is(start: Start) -> None:
    process = start("train", "--config", "toy.yaml", "--grace", "3", BLOCK_AT="6")
    wait_for_line(process, "blocking")
    sent = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code, _ = finish(process)
    assert time.monotonic() - sent < 7  # without --grace it has 7.5 seconds
    assert code == 143


def test_a_signal_ends_all_seeds(start: Start) -> None:
    seeds = ("--seeds", "1..2", "--grace", "3")
    process = start("train", "--config", "toy.yaml", *seeds, BLOCK_AT="6")
    wait_for_line(process, "blocking")
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 143
    assert sorted(path.name for path in Path("runs").iterdir()) == ["toy_seed1"]


def newest(name: str) -> Path:
    latest = CheckpointFolder(Path("runs", name, "checkpoints"), keep=2).latest()
    assert latest is not None
    return latest


def descendants(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def assert_all_end(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []


def test_killed_in_the_middle_the_same_command_continues_the_same_run(start: Start) -> None:
    assert finish(start("train", "--config", "ppo.yaml", "--name", "whole"))[0] == 0
    process = start("train", "--config", "ppo.yaml", BLOCK_AT="9")
    wait_for_line(process, "blocking")
    wait_until(Path("runs/ppo/checkpoints/latest").exists)
    children = descendants(process)
    process.kill()
    process.wait()
    assert children
    assert_all_end(children)
    code, output = finish(start("train", "--config", "ppo.yaml"))
    assert code == 0
    assert "continuing from runs/ppo/checkpoints/iteration_" in output
    assert iterations("ppo") == list(range(1, 13))
    assert curve("ppo") == curve("whole")
    whole, continued = load_metadata(newest("whole")), load_metadata(newest("ppo"))
    assert whole["params_hash"] == continued["params_hash"]


def curve(name: str) -> list[tuple[object, ...]]:
    keys = ("num_env_steps_sampled_lifetime", "env_runners/episode_return_mean")
    rows = read_json_lines(Path("runs", name, PROGRESS))
    return [tuple(row.get(key) for key in keys) for row in rows]


APART = ("gym_env_vectorize_mode=async",)
HERE_ONLY = ("num_env_runners=0", "num_learners=0")


@pytest.mark.parametrize(
    ("signum", "code", "settings"),
    [
        (signal.SIGINT, 130, ()),
        (signal.SIGTERM, 143, ()),
        (signal.SIGUSR1, 138, ()),
        (signal.SIGHUP, 129, ()),
        (signal.SIGINT, 130, (*APART, *HERE_ONLY)),
        (signal.SIGTERM, 143, (*APART, *HERE_ONLY)),
        (signal.SIGHUP, 129, (*APART, *HERE_ONLY)),
        (signal.SIGTERM, 143, APART),
    ],
)
def test_interrupted_it_leaves_a_checkpoint_and_no_process(
    start: Start, signum: int, code: int, settings: tuple[str, ...]
) -> None:
    endless = ("--stop", "training_iteration=1_000_000")
    process = start("train", "--config", "ppo.yaml", *settings, *endless)
    wait_for_line(process, "trained 2")
    children = descendants(process)
    sent = time.monotonic()
    # The terminal sends Ctrl-C to the workers as well, and so does SLURM the others.
    for each in [*children, process]:
        each.send_signal(signum)
    found, output = finish(process)
    assert time.monotonic() - sent < 10
    assert found == code, output
    assert "Traceback" not in output
    assert "the same command continues from there" in output
    assert load_metadata(newest("ppo"))["training_iteration"] == iterations("ppo")[-1]
    assert_all_end(children)


@pytest.mark.parametrize("settings", [(), HERE_ONLY], ids=["actors", "here"])
def test_a_terminal_that_is_closed_leaves_a_checkpoint(
    start: Start, settings: tuple[str, ...]
) -> None:
    """The live view is written to it until then, and by another thread still a moment later."""
    endless = ("--stop", "training_iteration=1_000_000")
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "wb", buffering=0) as terminal:
        process = start("train", "--config", "ppo.yaml", *settings, *endless, terminal=terminal)
    with os.fdopen(ours, "rb", buffering=0) as screen:
        while not iterations("ppo"):
            screen.read(2**16)
    assert process.wait(timeout=30) == 129
    assert load_metadata(newest("ppo"))["training_iteration"] == iterations("ppo")[-1]


def test_a_killed_worker_ends_the_run_with_the_cause(start: Start) -> None:
    endless = ("--stop", "training_iteration=1_000_000")
    process = start("train", "--config", "ppo.yaml", "restart_failed_env_runners=false", *endless)
    wait_for_line(process, "trained 4")
    children = descendants(process)
    leaves = [child for child in children if not child.children()]
    leaves[-1].kill()
    code, output = finish(process)
    assert code == 1, output
    assert "training failed: " in output
    assert "SIGKILL" in output
    assert "the last checkpoint is runs/ppo/checkpoints/iteration_" in output
    assert_all_end(children)


def test_what_hangs_is_written_down(start: Start) -> None:
    settings = ["env=broken_envs:Hangs-v0", "stall_timeout_s=2", "num_learners=0"]
    process = start("train", "--config", "ppo.yaml", *settings)
    wait_for_line(process, "no progress for 2 seconds (stall_timeout_s); what every process")
    (report,) = Path("runs", "ppo", "stalls").glob("*.txt")
    assert "in fall_over" in report.read_text()
    children = descendants(process)
    process.kill()
    assert_all_end(children)


@pytest.mark.parametrize(
    ("env", "runners", "messages"),
    [
        ("Raises-v0", "1", ["ValueError: the robot fell over", "in fall_over"]),
        ("NaN-v0", "0", ["obs", "nan"]),
    ],
)
def test_a_broken_env_ends_the_run_with_its_own_traceback(
    start: Start, runners: str, env: str, messages: list[str]
) -> None:
    overrides = [f"env=broken_envs:{env}", f"num_env_runners={runners}", "num_learners=0"]
    overrides.append("restart_failed_env_runners=false")
    process = start(
        "train", "--config", "ppo.yaml", *overrides, "--stop", "training_iteration=1_000_000"
    )
    code, output = finish(process)
    assert code == 1, output
    for message in messages:
        assert message in output
    assert "training failed: " in output
    assert "rllib/runs/session.py" not in output
    assert "the last checkpoint is runs/ppo/checkpoints/iteration_" in output


def test_the_last_line_of_progress_is_never_torn(start: Start) -> None:
    process = start("train", "--config", "toy.yaml", BLOCK_AT="8")
    wait_for_line(process, "blocking")
    lines = Path("runs/toy", PROGRESS).read_text().splitlines()
    assert [json.loads(line)["training_iteration"] for line in lines] == list(range(1, 8))
