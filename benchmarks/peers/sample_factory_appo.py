"""Sample Factory's APPO, in its own environment; see the package's text."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

OPTIONS = {
    "algo": "APPO",
    "env": "CartPole-v1",
    "device": "cpu",
    "use_rnn": "False",
    "recurrence": "1",
    "with_vtrace": "False",
    "num_workers": "2",
    "num_envs_per_worker": "20",
    "batch_size": "512",
    "reward_scale": "0.1",
    "experiment": "cartpole",
}
"""Of its own example for CartPole, with two workers."""
NETWORK = ("--encoder_mlp_layers", "64", "64")


Mark = tuple[float, int]
"""Seconds of a clock, and frames so far."""


def main(row: str, seconds: float) -> None:
    """Train for a while and print what came of it, by the counts that it reports every few seconds;
    its own limit of time is not kept."""
    if row != "appo_cartpole":
        raise SystemExit(f"Sample Factory has no example for {row}")
    options = [f"--{name}={value}" for name, value in OPTIONS.items()]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "sf_examples.train_gym_env", *options, *NETWORK]
        process = subprocess.Popen(
            [*command, f"--train_dir={folder}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            (began, before), (ended, after) = _marks(process, seconds)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    print(json.dumps({"env_steps": after - before, "seconds": ended - began}))


def _marks(process: subprocess.Popen[str], seconds: float) -> tuple[Mark, Mark]:
    """The first report of frames, and the first one that is ``seconds`` later."""
    assert process.stdout is not None
    first: Mark | None = None
    for line in process.stdout:
        found = re.search(r"Total num frames: (\d+)", line)
        if found is None or not int(found[1]):
            continue
        mark = (time.perf_counter(), int(found[1]))
        first = first or mark
        if mark[0] - first[0] >= seconds:
            return first, mark
    raise SystemExit("it ended before it had reported what it did")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
