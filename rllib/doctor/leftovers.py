"""Sessions of the runtime whose every process was killed: their folders, and who still uses them.

A session's folder is locked as long as its driver lives. As a rule a janitor removes it; where that
was killed as well, the next start of the runtime does, or this.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from rllib.core.native.session import base_directory
from rllib.core.native.spillfiles import remove_session


def dead_sessions(base: Path | None = None) -> list[Path]:
    """Folders of sessions whose driver is gone."""
    base = base or base_directory()
    return [folder for folder in sorted(base.iterdir()) if _is_dead(folder)]


def _is_dead(folder: Path) -> bool:
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False  # just being made, or just being removed
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def processes_of(folders: list[Path]) -> Iterator[psutil.Process]:
    """Processes of this user that were started for one of these folders."""
    names = [str(folder) for folder in folders]
    for process in psutil.process_iter(["uids", "cmdline"]):
        with contextlib.suppress(psutil.Error):
            uids, line = process.info["uids"], process.info["cmdline"] or []
            mine = uids is not None and uids.real == os.getuid() and process.pid != os.getpid()
            if mine and any(name in part for part in line for name in names):
                yield process


def remove(folders: list[Path]) -> int:
    """End the processes of dead sessions and remove the folders; returns how many ended."""
    processes = list(processes_of(folders))
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=5)
    for folder in folders:
        if _is_dead(folder):
            remove_session(folder)
    return len(processes)
