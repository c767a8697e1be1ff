"""On what machine a run was begun or continued, and by which command: a line of JSON each time."""

import contextlib
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import BinaryIO, TypedDict

import msgspec
import psutil

STARTS = "starts.jsonl"
PACKAGES = ("rllib-scale", "torch", "numpy", "gymnasium")
_GPUS = Path("/proc/driver/nvidia/gpus")
_CPUS = Path("/proc/cpuinfo")
_GIT_S = 2.0


class Machine(TypedDict):
    """The facts of ``machine``."""

    host: str
    system: str
    cpu: str
    cores: int | None
    memory_gib: float
    gpus: list[str]
    python: str
    versions: dict[str, str]
    commit: str | None


class Start(Machine):
    """When, by which command, after which training iteration, and on which machine."""

    time: str
    command: str
    iteration: int


def write_start(folder: Path, iteration: int) -> None:
    """Note that training begins or goes on now, in this process.

    Args:
        folder: of the run.
        iteration: after which it goes on; 0 at the beginning.
    """
    start: Start = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command(),
        "iteration": iteration,
        **machine(),
    }
    with (folder / STARTS).open("ab+") as file:
        file.write(b"\n" * _is_torn(file) + json.dumps(start).encode() + b"\n")


def _is_torn(file: BinaryIO) -> bool:
    """Whether the last line has no end, as it was cut off."""
    if not file.seek(0, os.SEEK_END):
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


def read_starts(folder: Path) -> list[Start]:
    """All starts of a run, the first one first; runs of older versions have none."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for line in (folder / STARTS).read_bytes().splitlines():
            with contextlib.suppress(ValueError, RecursionError):  # torn, or no start
                found.append(msgspec.json.decode(line, type=Start))
    return found


def command() -> str:
    """What was typed to start this process, as a shell would take it."""
    program = Path(sys.argv[0])
    is_package = program.name == "__main__.py"
    return shlex.join([program.parent.name if is_package else program.name, *sys.argv[1:]])


def machine() -> Machine:
    """What this machine is, without asking a GPU's driver, which would begin to use it."""
    return {
        "host": platform.node(),
        "system": platform.platform(terse=True),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": list(_gpus()),
        "python": platform.python_version(),
        "versions": dict(_versions()),
        "commit": _commit(),
    }


def words(start: Machine) -> str:
    """The machine of a start in one line."""
    gpus = ", ".join(start["gpus"]) or "no GPU"
    cores = f"{start['cores']} core{'s' * (start['cores'] != 1)} of {start['cpu']}"
    return f"{start['host']}: {cores}, {start['memory_gib']:g} GiB, {gpus}, {start['system']}"


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in _CPUS.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpus() -> Iterator[str]:
    for file in sorted(_GPUS.glob("*/information")):
        for line in file.read_text().splitlines():
            if line.startswith("Model:"):
                yield line.partition(":")[2].strip()


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            yield name, version(name)


def _commit() -> str | None:
    """Of the folder that the command was given in."""
    git = ["git", "rev-parse", "--short=12", "HEAD"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(git, capture_output=True, text=True, timeout=_GIT_S, check=True)
        return done.stdout.strip()
    return None
