"""RLlib and Stable-Baselines3 through the same faults as ours, where they have such a thing.

Peers live in environments of their own (see ``benchmarks/peers``). A run ends when the return
is 475, when the time is up, or when it cannot go on; what is known is not run again::

    python -m benchmarks.chaos_peers
    python -m benchmarks.chaos_peers --peers sb3 --seeds 1 --dry
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks import facts
from benchmarks.peers.environments import FOLDER, RLLIB, SB3, Peer

FAULTS = {
    "ray-rllib": ("clean", "runners killed", "environments raise", "learner killed"),
    "sb3": ("runners killed", "environments raise"),
}
PROGRAMS = {"ray-rllib": (RLLIB, "ray_faults.py"), "sb3": (SB3, "sb3_faults.py")}
DRIVER = "driver killed"
LIMIT_S, MORE_S, GONE_S = 60.0, 90.0, 5.0


def main() -> None:
    """Run what is missing, print a line for each run, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", nargs="+", choices=list(PROGRAMS), default=list(PROGRAMS))
    parser.add_argument("--faults", nargs="+", help="some of them alone")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dry", action="store_true", help="write no file")
    arguments = parser.parse_args()
    results = facts.known_results("chaos_peers")
    for peer in arguments.peers:
        for fault in (*FAULTS[peer], DRIVER):
            if arguments.faults and fault not in arguments.faults:
                continue
            runs = results.setdefault(f"{peer}, {fault}", {"runs": {}})["runs"]
            for seed in arguments.seeds:
                if str(seed) in runs:
                    continue
                runs[str(seed)] = measured(peer, fault, seed)
                print(peer, fault, seed, runs[str(seed)], flush=True)
                if not arguments.dry:
                    facts.write("chaos_peers", results, limit_s=LIMIT_S)


def measured(peer: str, fault: str, seed: int) -> dict[str, Any]:
    """A run of a peer's."""
    if fault != DRIVER:
        return _printed(_run(*PROGRAMS[peer], fault, seed))
    with tempfile.TemporaryDirectory() as folder:
        _run(*PROGRAMS[peer], f"{DRIVER}, first", seed, folder)
        time.sleep(GONE_S)
        before = json.loads(Path(folder, "last.json").read_text())
        orphans = _ended(json.loads(Path(folder, "family.json").read_text()))
        after = _printed(_run(*PROGRAMS[peer], f"{DRIVER}, then", seed, folder))
        return {"before": before, "after": after, "orphans_after_5_s": orphans}


def _ended(pids: list[int]) -> int:
    """End what is left of a family whose head was killed; how many there were."""
    alive = [pid for pid in pids if psutil.pid_exists(pid)]
    for pid in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(alive)


def _run(peer: Peer, program: str, fault: str, seed: int, *more: str) -> str:
    """What a peer's program prints, in a session of its own, of which nothing is left."""
    path = str(FOLDER / program)
    command = [str(peer.python()), path, fault, str(seed), str(LIMIT_S), *more]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONWARNINGS": "ignore"}
    environment.pop("PYTHONPATH", None)
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            return process.communicate(timeout=LIMIT_S + MORE_S)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return ""


def _printed(text: str) -> dict[str, Any]:
    """The last line, as JSON; where there is none, the program had no end."""
    lines = [line for line in text.splitlines() if line.startswith("{")]
    found: dict[str, Any] = (
        json.loads(lines[-1], parse_constant=lambda _: None)
        if lines
        else {"reached": False, "hung": True}
    )
    return found


if __name__ == "__main__":
    main()
