"""Training speed beside other systems, on one machine in one run.

Systems take turns, each in a process of its own; peers live in virtual environments of their own,
which are made on demand, and one that cannot run is printed as such::

    python -m benchmarks.speed --cleanrl ~/cleanrl
    python -m benchmarks.speed --rows ppo_cartpole dqn_cartpole --peers sb3 --repeats 5
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import facts
from benchmarks.peers.environments import FOLDER, PEERS, Peer, PeerUnavailable

OURS = "rllib"
TIME_TO = "time_to_475"
TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Row:
    """What is measured, of whom, and how many times the best peer we want to be."""

    name: str
    peers: tuple[str, ...]
    goal: str


ROWS = (
    Row("ppo_cartpole", ("cleanrl", "sb3", "ray-rllib"), "4x CleanRL"),
    Row(TIME_TO, ("sb3",), "4.0 s"),
    Row("appo_cartpole", ("sample-factory", "ray-rllib"), "80,000/s"),
    Row("ppo_halfcheetah", ("sb3", "ray-rllib"), "5x SB3"),
    Row("sac_halfcheetah", ("sb3",), "2.5x SB3"),
    Row("dqn_cartpole", ("sb3",), "3x SB3"),
    Row("dqn_cartpole_64", ("sb3",), "3x SB3"),
    Row("ppo_pong", ("sb3",), "3.5x SB3"),
)


def main() -> None:
    """Measure, print, write the JSON file."""
    arguments = _arguments()
    if arguments.cleanrl:
        os.environ["CLEANRL"] = str(arguments.cleanrl)
    results = facts.known_results("speed")
    for row in (row for row in ROWS if row.name in arguments.rows):
        systems = [OURS, *(name for name in row.peers if name in arguments.peers)]
        found: dict[str, list[Any]] = {system: [] for system in systems}
        for _ in range(arguments.repeats):
            for system in systems:
                found[system].append(measure(system, row.name, arguments.seconds))
        results[row.name] = {"goal": row.goal, "unit": unit(row.name)} | {
            system: _summed(values) for system, values in found.items()
        }
        print(line(row.name, results[row.name]), flush=True)
    if not arguments.dry:
        facts.write("speed", results, about=_ABOUT)


_ABOUT = (
    "env steps per second of training, without imports and the first iteration; "
    f"{TIME_TO}: seconds from the start of the process until the mean return of 100 episodes is 475"
)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    names = [row.name for row in ROWS]
    parser.add_argument("--rows", nargs="+", choices=names, default=names)
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--cleanrl", type=Path, help="a checkout of CleanRL")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="write no file")
    return parser.parse_args()


def measure(system: str, row: str, seconds: float) -> float | str:
    """Env steps per second, or seconds; a text says why there is no figure."""
    try:
        if row == TIME_TO:
            return _our_time() if system == OURS else _their_time(PEERS[system])
        found = _ours(row, seconds) if system == OURS else _theirs(PEERS[system], row, seconds)
        return float(found["env_steps"] / found["seconds"])
    except PeerUnavailable as error:
        return str(error)


def _ours(row: str, seconds: float) -> dict[str, Any]:
    module = "rllib.benchmarking.measure"
    return _printed([sys.executable, "-m", module, row, "--seconds", str(seconds)])


def _our_time() -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = ["train", "--config", "ppo_cartpole", "--runs-dir", folder]
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "rllib", *command], check=True, stdout=subprocess.DEVNULL
        )
        return time.perf_counter() - began


def _theirs(peer: Peer, row: str, seconds: float) -> dict[str, Any]:
    return _printed([str(peer.python()), str(FOLDER / peer.program), row, str(seconds)])


def _their_time(peer: Peer) -> float:
    peer.python()
    began = time.perf_counter()
    _theirs(peer, TIME_TO, 0)
    return time.perf_counter() - began


def _printed(command: list[str]) -> dict[str, Any]:
    """What a program's last line says. Raises `PeerUnavailable` with its last words."""
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment
        )
    except subprocess.TimeoutExpired:
        raise PeerUnavailable(f"took longer than {TIMEOUT_S:.0f} s") from None
    if done.returncode:
        raise PeerUnavailable(" ".join(done.stderr.strip().splitlines()[-1:]) or "failed silently")
    printed: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return printed


def unit(row: str) -> str:
    """Of a row's figures."""
    return "s" if row == TIME_TO else "env steps/s"


def _summed(values: list[float | str]) -> dict[str, Any]:
    numbers = [value for value in values if isinstance(value, float)]
    if not numbers:
        return {"cannot run": str(values[0])}
    return facts.summary(numbers)


def ratio(result: dict[str, Any], system: str) -> float | None:
    """How many times as fast as a peer ours is; None where one of the two has no figure."""
    ours, theirs = (result[each].get("median") for each in (OURS, system))
    if ours is None or theirs is None:
        return None
    return float(theirs / ours if result["unit"] == "s" else ours / theirs)


def line(name: str, result: dict[str, Any]) -> str:
    """A row for people: figures, and how many times each peer's ours is."""
    parts = [f"{name:16}"]
    for system in (key for key in result if key in (OURS, *PEERS)):
        figure = result[system].get("median")
        if figure is None:
            parts.append(f"{system}: cannot run: {result[system]['cannot run']}")
            continue
        times = ratio(result, system)
        more = f" ({times:.1f}x)" if times is not None and system != OURS else ""
        parts.append(f"{system} {figure:,.4g}{more}")
    return "   ".join([*parts, f"(goal {result['goal']})"])


if __name__ == "__main__":
    main()
