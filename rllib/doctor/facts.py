"""What this machine is like; every function yields findings about one subject."""

import os
import platform
import resource
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import psutil

import rllib
from rllib import kernels
from rllib.cores import usable_cores

Level = Literal["ok", "note", "warning", "error"]
GIB = 2**30
SHARED_MEMORY = Path("/dev/shm")
CGROUP = Path("/sys/fs/cgroup")
PACKAGES = ("torch", "numpy", "gymnasium", "pydantic", "tensorboardX")
EXTRAS = {
    "atari": "ale_py",
    "box2d": "Box2D",
    "envpool": "envpool",
    "export": "onnxruntime",
    "mujoco": "mujoco",
    "multiagent": "pettingzoo",
    "plots": "matplotlib",
    "ray": "ray",
    "video": "imageio_ffmpeg",
}
"""Module by which one sees whether an extra is installed."""


@dataclass(frozen=True)
class Fact:
    """Something about the machine.

    Attributes:
        level: how bad it is.
        subject: in a word.
        text: what there is, and where it is no good, what to do.
    """

    level: Level
    subject: str
    text: str

    def __str__(self) -> str:
        mark = "" if self.level in ("ok", "note") else f"{self.level.upper()}: "
        return f"{self.subject:<14} {mark}{self.text}"


def versions() -> Iterator[Fact]:
    """Python, this package and those that it stands on."""
    level: Level = "ok" if sys.version_info >= (3, 11) else "error"
    where = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Fact(level, "python", f"{where}, rllib {rllib.__version__}")
    yield Fact("ok", "packages", ", ".join(f"{name} {_version(name)}" for name in PACKAGES))
    there = [extra for extra, module in EXTRAS.items() if find_spec(module)]
    missing = sorted(set(EXTRAS) - set(there))
    absent = f"; not installed: {', '.join(missing)}" if missing else ""
    is_compiled = kernels.library() is not None
    yield Fact("ok" if is_compiled else "note", "kernels", kernels.state())
    yield Fact("note", "extras", f"{', '.join(there) or 'none'}{absent}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(no version)"


def cores() -> Iterator[Fact]:
    """Cores that may be used, and how busy they are."""
    usable, all_of_them = usable_cores(), os.cpu_count() or 1
    limit = cgroup_cores()
    text = f"{usable} of {all_of_them} may be used"
    if limit is not None and limit < usable:
        yield Fact("warning", "cores", f"{text}, but a cgroup grants {limit:g}: count with those")
    else:
        yield Fact("ok", "cores", text)
    load = os.getloadavg()[0]
    if load > usable:
        yield Fact("warning", "load", f"{load:.1f} on {usable} cores: others compute here, too")


def cgroup_cores(root: Path = CGROUP) -> float | None:
    """Cores that the container may take, where it has a limit."""
    quota, _, period = _read(root / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.strip().isdigit() else None


def memory(root: Path = CGROUP) -> Iterator[Fact]:
    """Memory, also of the container, and what is shared."""
    free, total = psutil.virtual_memory().available, psutil.virtual_memory().total
    level: Level = "ok" if free >= 2 * GIB else "warning"
    yield Fact(level, "memory", f"{free / GIB:.1f} of {total / GIB:.1f} GiB are free")
    limit = _read(root / "memory.max")
    if limit.isdigit() and int(limit) < total:
        yield Fact("note", "memory limit", f"a cgroup grants {int(limit) / GIB:.1f} GiB")
    if SHARED_MEMORY.is_dir():
        usage = shutil.disk_usage(SHARED_MEMORY)
        level = "ok" if usage.free >= GIB // 4 else "warning"
        hint = "" if level == "ok" else ": in Docker, --shm-size=1g"
        yield Fact(level, "/dev/shm", f"{usage.free / GIB:.1f} GiB are free{hint}")


def disk(folder: Path) -> Iterator[Fact]:
    """Room for runs, and whether they can be written."""
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
    free = shutil.disk_usage(there).free
    level: Level = "ok" if free >= GIB else "warning"
    yield Fact(level, "disk", f"{free / GIB:.1f} GiB are free in {there}")
    if not os.access(there, os.W_OK):
        yield Fact("error", "disk", f"{there} cannot be written: choose another by --runs-dir")


def limits() -> Iterator[Fact]:
    """Open files and processes."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    level: Level = "ok" if files >= 1024 else "warning"
    hint = "" if level == "ok" else ": raise it by ulimit -n 4096"
    yield Fact(level, "open files", f"at most {_number(files)}{hint}")
    processes, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    level = "ok" if processes < 0 or processes >= 512 else "warning"
    hint = "" if level == "ok" else ": raise it by ulimit -u 4096"
    yield Fact(level, "processes", f"at most {_number(processes)}{hint}")


def _number(limit: int) -> str:
    return "any number" if limit < 0 or limit > 2**60 else f"{limit:,}"


def gpus() -> Iterator[Fact]:
    """Devices that torch can use."""
    import torch

    if not torch.cuda.is_available():
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "a CPU build of torch"
        yield Fact("note", "gpu", f"none that torch can use ({built})")
        return
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        yield Fact("ok", "gpu", f"{name}: {free / GIB:.1f} of {total / GIB:.1f} GiB are free")


def network() -> Iterator[Fact]:
    """Whether this machine can listen on its loopback and knows its own name."""
    try:
        with socket.create_server(("127.0.0.1", 0)):
            yield Fact("ok", "ports", "one can listen on 127.0.0.1")
    except OSError as error:
        yield Fact("error", "ports", f"nobody can listen on 127.0.0.1: {error.strerror}")
    try:
        socket.gethostbyname(socket.gethostname())
    except OSError:
        text = f"{socket.gethostname()!r} has no address: TensorBoard by its name will not be found"
        yield Fact("note", "host name", text)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # no cgroups of version 2 here
        return ""


def all_facts(runs_dir: Path) -> Iterator[Fact]:
    """Every finding about the machine."""
    subjects: list[Callable[[], Iterator[Fact]]] = [versions, cores, memory, limits, gpus, network]
    for subject in subjects:
        yield from subject()
    yield from disk(runs_dir)
