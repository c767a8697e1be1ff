"""Kills, signals and their traces, counted: what must never happen, tried out many times.

A row is a number of trials and what came of them::

    python -m benchmarks.chaos_checks                       # all rows, in full
    python -m benchmarks.chaos_checks "killed while writing" --num 20 --dry
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil

from benchmarks import facts
from benchmarks.chaos_hostile import hostile_refused
from benchmarks.chaos_memory import GONE_S, memory_capped
from benchmarks.chaos_resume import resumed_alike
from benchmarks.chaos_store import store_full
from rllib.checkpoints.checkpoint import load_metadata
from rllib.checkpoints.folder import CheckpointFolder
from rllib.runs.record import PROGRESS, read_json_lines

WRITER = """
import itertools, sys
import numpy as np
from pathlib import Path
from rllib.checkpoints.checkpoint import load, save, saved_rows
from rllib.checkpoints.folder import CheckpointFolder
from rllib.checkpoints.rows import Rows, SavedRows

folder = CheckpointFolder(Path(sys.argv[1]), keep=2)
for path in folder.all():  # all that has a name is whole, not the latest alone
    state, metadata = load(path)
    rows = np.concatenate([piece["rows"] for piece in state["log"]])
    assert metadata["n"] == state["n"] == folder.iteration_of(path), path
    assert (rows == np.arange(1000 * state["n"])).all(), path
    assert (state["array"] == state["n"]).all(), path
latest = folder.latest()
folder.clean()
first = folder.iteration_of(latest) if latest else 0
saved = SavedRows(saved_rows(latest)) if latest else SavedRows()
print(f"from {first}", flush=True)
for n in itertools.count(first + 1):
    kept = saved.kept("log", 0, 1000 * n, 8)
    begin = kept[-1].piece.stop if kept else 0
    fresh = {"first": begin, "rows": np.arange(begin, 1000 * n)}
    state = {"n": n, "array": np.full(20_000, n), "log": Rows("log", kept, fresh, begin, 1000 * n)}
    saved = SavedRows(save(folder.path_for(n), state, metadata={"n": n}))
    folder.publish(folder.path_for(n))
    print(n, flush=True)
"""


def killed_while_writing(num: int) -> dict[str, Any]:
    """One series of checkpoints, whose writer is killed again and again, and goes on from it."""
    rng, lost, published = random.Random(1), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(num):
            command = [sys.executable, "-c", WRITER, str(Path(folder, "checkpoints"))]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
                assert writer.stdout is not None
                said = writer.stdout.readline().split()
                if len(said) != 2 or int(said[1]) < published:
                    lost += 1  # its assertion is on the terminal
                    break
                for _ in range(rng.randrange(1, 4)):
                    published = int(writer.stdout.readline())
                time.sleep(rng.random() * 0.02)  # at any moment of the next one
                writer.kill()
    return {"kills": num, "unreadable_or_lost": lost, "checkpoints": published}


RUN = """\
algorithm: {algorithm}
environment:
  env: CartPole-v1
env_runners:
  num_env_runners: {runners}
  num_envs_per_env_runner: 2
learners:
  num_learners: {learners}
rl_module:
  model_config:
    fcnet_hiddens: [16]
{more}checkpointing:
  checkpoint_frequency: 2
"""
PPO_MORE = "training:\n  train_batch_size_per_learner: 128\n  minibatch_size: 64\n  num_epochs: 2\n"
OFF_MORE = (
    "training:\n  num_steps_sampled_before_learning_starts: 100\n"
    "  train_batch_size_per_learner: 16\nreporting:\n  min_sample_timesteps_per_iteration: 128\n"
)
ALGORITHMS = {"PPO": PPO_MORE, "DQN": OFF_MORE, "SAC": OFF_MORE}
LAYOUTS = {"inline": (0, 0), "actors": (2, 1), "2 learners": (2, 2)}


def same_hash(num: int) -> dict[str, Any]:
    """2N iterations in one go, and N iterations, kill -9, N iterations, by algorithm and layout."""
    found: dict[str, Any] = {}
    pairs = [(a, layout) for layout in LAYOUTS for a in ALGORITHMS]
    for algorithm, layout in pairs[:num]:
        with tempfile.TemporaryDirectory() as folder:
            found[f"{algorithm}, {layout}"] = _is_same(Path(folder), algorithm, layout)
    return {"is_same": found, "differ": sum(not same for same in found.values())}


def _is_same(folder: Path, algorithm: str, layout: str) -> bool:
    runners, learners = LAYOUTS[layout]
    text = RUN.format(
        algorithm=algorithm, runners=runners, learners=learners, more=ALGORITHMS[algorithm]
    )
    (folder / "run.yaml").write_text(text)
    _rllib(folder, "--stop", "training_iteration=12", "--name", "whole").wait()
    killed = _rllib(folder, "--name", "killed")
    while _newest(folder, "killed") < 4:  # what comes after the newest is lost with it
        assert killed.poll() is None, "it has ended by itself"
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    if _newest(folder, "killed") > 12:
        return _is_same_at(folder, _newest(folder, "killed"))
    return _is_same_at(folder, 12)


def _is_same_at(folder: Path, iteration: int) -> bool:
    stop = ("--stop", f"training_iteration={iteration}")
    _rllib(folder, *stop, "--name", "whole").wait()
    _rllib(folder, *stop, "--name", "killed").wait()
    hashes = set()
    for name in ("whole", "killed"):
        latest = CheckpointFolder(folder / "runs" / name / "checkpoints", keep=2).latest()
        assert latest is not None, f"{name} has no checkpoint"
        hashes.add((load_metadata(latest)["params_hash"], latest.name))
        rows = [*read_json_lines(folder / "runs" / name / PROGRESS)]
        if [row["training_iteration"] for row in rows] != [*range(1, iteration + 1)]:
            return False  # a gap, a step back or a double point
    return len(hashes) == 1


def _newest(folder: Path, name: str) -> int:
    checkpoints = CheckpointFolder(folder / "runs" / name / "checkpoints", keep=2)
    latest = checkpoints.latest()
    return checkpoints.iteration_of(latest) if latest is not None else 0


def _rllib(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    one_thread = {"OMP_NUM_THREADS": "1"}
    return facts.begin_run(folder, "--config", "run.yaml", *arguments, environ=one_thread)


SIGNALS = {"INT": signal.SIGINT, "TERM": signal.SIGTERM, "KILL": signal.SIGKILL}


def driver_ended(num: int, names: Iterable[str] = SIGNALS) -> dict[str, Any]:
    """INT, TERM and KILL of a driver with actors, ``num`` times each; what is left of it."""
    return {name: _ended(SIGNALS[name], num) for name in names}


def _ended(number: signal.Signals, num: int) -> dict[str, int]:
    rng = random.Random(int(number))
    left = dict.fromkeys(("orphans", "segments", "sockets", "ports", "wrong_exit_codes"), 0)
    for _ in range(num):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "run.yaml").write_text(
                RUN.format(algorithm="PPO", runners=2, learners=1, more=PPO_MORE)
            )
            before = _traces()
            driver = _rllib(Path(folder))
            progress = Path(folder, "runs", "run", PROGRESS)
            while not (progress.exists() and progress.stat().st_size):
                assert driver.poll() is None, "it has ended by itself"
                time.sleep(0.01)
            time.sleep(rng.random() * 0.3)
            family = psutil.Process(driver.pid).children(recursive=True)
            ports = _listening([psutil.Process(driver.pid), *family])
            driver.send_signal(number)
            code = driver.wait(30)
            _, alive = psutil.wait_procs(family, timeout=GONE_S)
            left["orphans"] += len(alive)
            for name, there in _traces(driver.pid).items():
                left[name] += len(there - before[name])
            left["ports"] += len(ports & _listening(psutil.process_iter()))
            wanted = -number if number == signal.SIGKILL else 128 + number
            left["wrong_exit_codes"] += code != wanted
    return {"drivers": num} | left


def _listening(processes: Iterable[psutil.Process]) -> set[int]:
    """Ports that some processes listen on."""
    found: set[int] = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found |= {
                each.laddr.port
                for each in process.net_connections("inet")
                if each.status == psutil.CONN_LISTEN
            }
    return found


def _traces(pid: int | None = None) -> dict[str, set[str]]:
    """Shared memory with a name, and folders of sockets, of one driver or of all."""
    sessions = Path(tempfile.gettempdir()).glob(f"rllib-*/{pid or '*'}-*")
    own = f"{pid}*" if pid else ""
    return {
        "segments": {str(path) for path in Path("/dev/shm").glob(f"*rllib*{own}")},
        "sockets": {str(path) for path in sessions},
    }


ROWS: dict[str, tuple[Callable[[int], dict[str, Any]], int]] = {
    "killed while writing": (killed_while_writing, 200),
    "same hash after kill -9": (same_hash, len(ALGORITHMS) * len(LAYOUTS)),
    "asynchronous runs resumed": (resumed_alike, 20),
    "driver ended": (driver_ended, 50),
    "store and disk full": (store_full, 30),
    "memory capped": (memory_capped, 60),
    "hostile files": (hostile_refused, 1000),
}


def main() -> None:
    """Run the rows, print what came of each, and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", default=list(ROWS))
    parser.add_argument("--num", type=int, help="trials of each row, or seconds")
    parser.add_argument("--dry", action="store_true", help="write no file")
    arguments = parser.parse_args()
    results = facts.known_results("chaos_checks")
    for name in arguments.rows:
        function, num = ROWS[name]
        started = time.perf_counter()
        results[name] = function(arguments.num or num)
        results[name]["seconds"] = round(time.perf_counter() - started, 1)
        print(name, results[name], flush=True)
        if not arguments.dry:
            facts.write("chaos_checks", results)


if __name__ == "__main__":
    main()
