"""What a test may leave behind: nothing. Snapshots of this process and of all that it started.

Processes are found by a mark in their environment, which children inherit however far they are
re-parented; everything else by looking at this process and at the folder of session directories.
"""

import gc
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from patience import patience

MARK = f"RLLIB_TEST_RUN={secrets.token_hex(8)}"
PATIENCE_S = 5.0
MOST_KEPT_BY_RAY = 40
_FREE_TO_STAY = ("/", "anon_inode:inotify")  # files of libraries: caches, devices, terminals
_kept_by_ray: set[str] = set()
_ray_is_shared = False


def mark_this_process(folder: str) -> None:
    """Have children carry the mark, and sessions live in a folder of this test run alone."""
    name, value = MARK.split("=")
    os.environ[name] = value
    os.environ["TMPDIR"] = tempfile.tempdir = folder


def processes() -> set[str]:
    """Every living process that this one or a descendant has started."""
    return {found for path in Path("/proc").iterdir() for found in _marked(path)}


def _marked(path: Path) -> Iterator[str]:
    if not path.name.isdigit() or int(path.name) == os.getpid():
        return
    try:
        if MARK.encode() not in (path / "environ").read_bytes():
            return
        state = (path / "stat").read_text().rpartition(")")[2].split()[0]
        command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return  # it ended, or is another user's
    if state != "Z" and not (_ray_is_shared and _is_rays(command)):
        yield f"process {path.name}: {command[:100]}"


def _is_rays(command: str) -> bool:
    return command.startswith("ray::") or "/ray/" in command or " -m ray." in command


def descriptors() -> set[str]:
    """Open descriptors: sockets, pipes, shared memory, epoll sets, processes; files of sessions."""
    found = set()
    for entry in os.scandir("/proc/self/fd"):
        try:
            target = str(Path(entry.path).readlink())
        except OSError:
            continue  # the descriptor of this very listing
        if int(entry.name) <= 2:
            continue  # whoever captures output replaces them as he likes
        if not target.startswith(_FREE_TO_STAY) or "/rllib-" in target or "memfd:" in target:
            found.add(f"descriptor {entry.name}: {target}")
    return found - _kept_by_ray


@contextmanager
def ray_at_work() -> Iterator[None]:
    """Around the use of Ray: its library keeps pollers open that it has made in this process, and
    two or three sockets of every session. Its processes, and all else, must go as ours do."""
    before = descriptors()
    yield
    kept = descriptors() - before
    assert len(kept) <= MOST_KEPT_BY_RAY, f"Ray has left too much open: {sorted(kept)}"
    _kept_by_ray.update(kept)


@contextmanager
def ray_shared() -> Iterator[None]:
    """Around a Ray for many modules: its processes are the leak of none of them, but all end; those
    of a second one with those of the first."""
    global _ray_is_shared
    if _ray_is_shared:
        yield
        return
    before, _ray_is_shared = processes(), True
    yield
    _ray_is_shared = False
    left = _left(processes, before, PATIENCE_S)
    assert not left, f"Ray has left behind: {sorted(left)}"


def mappings() -> set[str]:
    """Mapped segments of shared memory, and files of sessions."""
    text = Path("/proc/self/maps").read_text()
    marks = ("memfd:rllib", "/rllib-")
    return {f"mapping {line}" for line in text.splitlines() if any(m in line for m in marks)}


def threads() -> set[str]:
    """Threads that keep the interpreter from ending, or belong to the runtime."""
    return {
        f"thread {thread.name} ({thread.ident})"
        for thread in threading.enumerate()
        if thread.name.startswith("rllib-")
        or not (thread.daemon or thread.name.startswith("pytest_timeout"))
    }


def session_directories() -> set[str]:
    """Directories of runtimes, living or not."""
    base = Path(tempfile.gettempdir()) / f"rllib-{os.getuid()}"
    return {f"session {path}" for path in base.iterdir()} if base.exists() else set()


def snapshot() -> set[str]:
    """Everything that is there now."""
    return processes() | descriptors() | mappings() | threads() | session_directories()


def left_behind(before: set[str], patience_s: float = PATIENCE_S) -> set[str]:
    """What has come since ``before`` and does not go away by itself in time."""
    return _left(snapshot, before, patience_s)


def _left(look: Callable[[], set[str]], before: set[str], patience_s: float) -> set[str]:
    deadline = time.monotonic() + patience(patience_s)
    while leaks := look() - before:
        gc.collect()  # what is only waiting for the collector is no leak
        if time.monotonic() > deadline:
            break
        threading.Event().wait(0.01)
    return leaks
