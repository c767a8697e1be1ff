"""What processes are doing: the Python stacks of their threads, also of those that hang.

An actor that called ``listen`` writes its stacks to a file without a name when it gets a signal,
from C, whatever its interpreter does; processes of the same user read it through ``/proc``. Linux
alone has such files; elsewhere only this process can be asked. What other nodes' actors do is asked
by a task on each of them.
"""

import faulthandler
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from rllib import core
from rllib.core import api
from rllib.core.util.scheduling_strategies import NodeAffinitySchedulingStrategy

NAME = "rllib-stacks"
ANSWER_S = 1.0
"""Seconds that a process may take to write them."""
NODES_S = 10.0
"""And all nodes."""

Told = tuple[str, int, str]
"""Host and number of a process, and its stacks with a title."""


def listen(actor: Any, job: str) -> None:
    """Be ready to tell the stacks of this process, an actor's of a driver with this job."""
    if not hasattr(os, "memfd_create"):
        return
    file = os.memfd_create(f"{NAME}-{job}", os.MFD_CLOEXEC)
    faulthandler.register(signal.SIGUSR2, file, all_threads=True)


def of_all() -> str:
    """Stacks of this process, of all that it has started, and of its actors on other nodes."""
    parts = [_titled(os.getpid(), of_this_process())]
    children = dict(_of_children())
    parts += [_titled(pid, text) for pid, text in children.items()]
    here = socket.gethostname()
    parts += [
        f"on {host}: {text}"
        for host, pid, text in of_nodes()
        if host != here or pid not in children
    ]
    return "\n".join(parts)


def of_this_process() -> str:
    """Stacks of all threads here."""
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read()


def of_nodes() -> list[Told]:
    """Stacks of the actors of this job, of all nodes that answer in time."""
    if not core.is_initialized() or api.runtime().serial:
        return []
    try:
        told = _ask_nodes()
        ready, _ = core.wait(told, num_returns=len(told), timeout=NODES_S)
        return sorted({each for handle in ready for each in core.get(handle)})
    except core.exceptions.CoreError as error:
        return [("nodes", 0, f"they do not tell: {error}\n")]


def _ask_nodes() -> list[Any]:
    job = core.get_runtime_context().get_job_id()
    ask = core.remote(num_cpus=0)(of_job)
    living = [node["NodeID"] for node in core.nodes() if node["Alive"]]
    places = [NodeAffinitySchedulingStrategy(each, soft=False) for each in living]
    return [ask.options(scheduling_strategy=place).remote(job) for place in places]


def of_job(job: str) -> list[Told]:
    """Stacks of the actors of a job on this machine."""
    host = socket.gethostname()
    found = []
    for pid in psutil.pids():
        if (file := _file_of(pid, f"{NAME}-{job}")) is not None:
            found.append((host, pid, _titled(pid, _ask(pid, file))))
    return found


def _of_children() -> Iterator[tuple[int, str]]:
    if sys.platform != "linux":
        return
    for child in psutil.Process().children(recursive=True):
        if (file := _file_of(child.pid)) is not None:
            yield child.pid, _ask(child.pid, file)


def _file_of(pid: int, name: str = NAME) -> Path | None:
    """The file of that name, or with more in it, of a process that listens."""
    try:
        files = [*Path(f"/proc/{pid}/fd").iterdir()]
        return next((file for file in files if name in str(file.readlink())), None)
    except OSError:  # it has ended
        return None


def _ask(pid: int, file: Path) -> str:
    try:
        before = seen = file.stat().st_size
        os.kill(pid, signal.SIGUSR2)
        until = time.monotonic() + ANSWER_S
        while time.monotonic() < until:
            time.sleep(0.02)
            size = file.stat().st_size
            if size > before and size == seen:
                break
            seen = size
        return file.read_bytes()[before:].decode(errors="replace") or "it does not answer\n"
    except OSError as error:
        return f"it has ended: {error.strerror}\n"


def _titled(pid: int, text: str) -> str:
    try:
        process = psutil.Process(pid)
        title = f"process {pid} ({' '.join(process.cmdline())[:80]}, {process.status()})"
    except psutil.Error:  # it has ended
        title = f"process {pid}"
    return f"{title}\n{text}"
