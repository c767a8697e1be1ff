"""How soon the command line answers: seconds from its start, beside those of ``import torch``.

::

    python -m benchmarks.command_line             # writes the table of docs/command-line.md as well
    python -m benchmarks.command_line --repeats 3 --dry

Each round measures every row once, so that a machine that is slow for a while is so for all of
them; one round before them warms caches up and counts nothing.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import facts
from benchmarks.marked import put

PAGE = facts.ROOT / "docs" / "command-line.md"
RLLIB = [sys.executable, "-m", "rllib"]
TRAIN = ["train", "--config", "ppo_cartpole"]
RESULT = "iteration "
"""What a line begins with that tells of a result."""
BASH = {
    "_RLLIB_COMPLETE": "complete_bash",
    "COMP_WORDS": "rllib train --config ppo_c",
    "COMP_CWORD": "3",
}
ZSH = {"_RLLIB_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "rllib train --dr"}


def main() -> None:
    """Measure, print a table, write the JSON file and the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--dry", action="store_true", help="write no file")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    results = measured(arguments.repeats)
    for name, row in results.items():
        print(f"{name:50} {row['median']:7.3f} s  ({row['min']:.3f} to {row['max']:.3f})")
    if not arguments.dry:
        facts.write("command_line", results, unit="seconds", load_before=round(load, 2))
        PAGE.write_text(filled(PAGE.read_text()))


def filled(page: str) -> str:
    """The page with the table of the results that there are."""
    return put(page, "command_line", table(facts.known_results("command_line")))


def measured(repeats: int) -> dict[str, Any]:
    """Each row's seconds, interleaved."""
    seconds: dict[str, list[float]] = {name: [] for name in ROWS}
    for number in range(repeats + 1):
        for name, row in ROWS.items():
            taken = row()
            if number:  # the first round warms up
                seconds[name].append(taken)
    return {name: facts.summary(values) for name, values in seconds.items()}


def until_it_ends(command: list[str], more: dict[str, str] | None = None) -> float:
    """Seconds from a command's start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        subprocess.run(
            command,
            cwd=folder,
            env=_environment() | (more or {}),
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return time.perf_counter() - started


def until_it_learns() -> float:
    """Seconds from the start of training to its first line with a result."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        process = subprocess.Popen(
            [*RLLIB, *TRAIN], cwd=folder, env=_environment(), stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        with process, process.stdout:
            found = any(line.startswith(RESULT) for line in process.stdout)
            taken = time.perf_counter() - started
            process.send_signal(signal.SIGTERM)
    assert found, f"it has ended with {process.returncode}, and no result"
    return taken


def _environment() -> dict[str, str]:
    """What pip installs is compiled already; a source tree is so after the first start."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    path = [str(facts.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(path)}


ROWS: dict[str, Callable[[], float]] = {
    'python -c "pass"': partial(until_it_ends, [sys.executable, "-c", "pass"]),
    'python -c "import torch"': partial(until_it_ends, [sys.executable, "-c", "import torch"]),
    "rllib --help": partial(until_it_ends, [*RLLIB, "--help"]),
    "Tab, in bash": partial(until_it_ends, RLLIB, BASH),
    "Tab, in zsh": partial(until_it_ends, RLLIB, ZSH),
    "rllib train --config ppo_cartpole, first result": until_it_learns,
    "rllib train --config ppo_cartpole --dry-run": partial(
        until_it_ends, [*RLLIB, *TRAIN, "--dry-run"]
    ),
}


def table(results: dict[str, Any]) -> str:
    """The page's table: medians and ranges."""
    lines = ["| | seconds, median | fastest to slowest |", "|---|---|---|"]
    for name, row in results.items():
        command, comma, rest = name.partition(", ")
        shown = name if command == "Tab" else f"`{command}`{comma}{rest}"
        lines.append(f"| {shown} | {row['median']:.2f} | {row['min']:.2f} to {row['max']:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
