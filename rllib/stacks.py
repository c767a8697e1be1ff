"""What processes are doing: the Python stacks of their threads, also of those that hang.

An actor that called ``listen`` writes its stacks to a file without a name when it gets a signal,
from C, whatever its interpreter does; processes of the same user read it through ``/proc``. Linux
alone has such files; elsewhere only this process can be asked.
"""

import faulthandler
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

NAME = "rllib-stacks"
ANSWER_S = 1.0
"""Seconds that a process may take to write them."""


def listen(actor: Any = None) -> None:
    """Be ready to tell the stacks of this process, an actor's."""
    if not hasattr(os, "memfd_create"):
        return
    file = os.memfd_create(NAME, os.MFD_CLOEXEC)
    faulthandler.register(signal.SIGUSR2, file, all_threads=True)


def of_all() -> str:
    """Stacks of this process and of all that it has started."""
    parts = [_titled(psutil.Process(), of_this_process())]
    parts += [_titled(child, text) for child, text in _of_children()]
    return "\n".join(parts)


def of_this_process() -> str:
    """Stacks of all threads here."""
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read()


def _of_children() -> Iterator[tuple[psutil.Process, str]]:
    if sys.platform != "linux":
        return
    for child in psutil.Process().children(recursive=True):
        if (file := _file_of(child.pid)) is not None:
            yield child, _ask(child.pid, file)


def _file_of(pid: int) -> Path | None:
    """The file of a process that listens."""
    try:
        files = [*Path(f"/proc/{pid}/fd").iterdir()]
        return next((file for file in files if NAME in str(file.readlink())), None)
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


def _titled(process: psutil.Process, text: str) -> str:
    try:
        title = f"process {process.pid} ({' '.join(process.cmdline())[:80]}, {process.status()})"
    except psutil.Error:
        title = f"process {process.pid}"
    return f"{title}\n{text}"
