"""The driver's runtime: wires the node service, its template and the process's own runtime."""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
from pathlib import Path

import psutil

from rllib.core.native.engine import NativeRuntime
from rllib.core.native.interrupts import InterruptGuard
from rllib.core.native.ledger import LEDGER, Cells, Ledger
from rllib.core.native.node import Node
from rllib.core.native.scheduler import Scheduler
from rllib.core.native.spawn import TemplateProcess
from rllib.core.native.spillfiles import SPILL, make_directory, remove_session
from rllib.core.native.storekeeper import StoreKeeper

_STORE_SHARE = 0.3
_MAX_SOCKET_PATH = 60
"""Of a directory: a Unix socket's path has 107 characters, of which a session needs the rest."""


def start_driver(
    namespace: str,
    amounts: dict[str, float],
    *,
    object_store_memory: int | None,
    object_spilling_directory: str | None,
    log_to_driver: bool,
    preload: tuple[str, ...],
) -> NativeRuntime:
    """Start the native engine on this machine."""
    store_bytes = object_store_memory or int(psutil.virtual_memory().total * _STORE_SHARE)
    total = {"CPU": float(len(os.sched_getaffinity(0))), **amounts}
    directory, lock = _new_session(object_spilling_directory)
    me = os.urandom(16)
    namespace = namespace or secrets.token_hex(8)  # anonymous: names are the driver's own
    cells = Cells.create(directory / LEDGER)
    keeper = StoreKeeper(me, cells, store_bytes, directory / SPILL)
    ledger = Ledger(cells, keeper.driver_cell, store_bytes)
    runtime = DriverRuntime(me, directory, namespace, ledger, lock)
    with runtime.lock:  # nothing is dispatched before all of it is there
        runtime.node = Node(
            runtime,
            Scheduler(total, lambda: os.urandom(16)),
            lambda: TemplateProcess(directory, preload),
            lambda worker: keeper.order(worker, namespace),
            keeper,
            log_to_driver,
        )
    runtime.interrupts.install()
    return runtime


class DriverRuntime(NativeRuntime):
    """A `NativeRuntime` that owns the session directory."""

    def __init__(
        self, me: bytes, directory: Path, namespace: str, ledger: Ledger, lock: int
    ) -> None:
        super().__init__(me, directory, namespace, ledger)
        self.interrupts = InterruptGuard(self.lock, self.reactor)
        self._session_lock = lock

    def shutdown(self) -> None:
        """End everything, and remove the session directory should the template have failed to."""
        super().shutdown()
        self.interrupts.remove()
        remove_session(self._directory)
        os.close(self._session_lock)

    def after_fork(self) -> None:
        """The directory, too, stays the parent's."""
        self.interrupts.remove()
        os.close(self._session_lock)
        super().after_fork()


def _new_session(spill: str | None) -> tuple[Path, int]:
    """A directory of this user's alone, and the lock that says that its driver lives."""
    directory, lock = _locked_directory()
    try:
        make_directory(directory, spill)
    except ValueError:
        remove_session(directory)
        os.close(lock)
        raise
    return directory, lock


def _locked_directory() -> tuple[Path, int]:
    base = _base_directory()
    _remove_stale(base)
    while True:
        directory = base / f"{os.getpid()}-{secrets.token_hex(4)}"
        directory.mkdir(mode=0o700)
        lock = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (directory / "lock").exists():
            return directory, lock
        os.close(lock)  # somebody who was cleaning up took it for a stale one, between two lines


def _base_directory() -> Path:
    """``<tmp>/rllib-<uid>``, or below /tmp where the path would not fit into a socket address."""
    base = Path(tempfile.gettempdir()) / f"rllib-{os.getuid()}"
    if len(str(base)) > _MAX_SOCKET_PATH - 20:
        base = Path("/tmp") / base.name
    base.mkdir(mode=0o700, exist_ok=True)
    facts = base.stat()
    if facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise PermissionError(
            f"{base} must belong to this user alone (mode 0700), it has mode "
            f"{facts.st_mode & 0o777:o} and owner {facts.st_uid}; remove it or set TMPDIR"
        )
    return base


def _remove_stale(base: Path) -> None:
    """Remove sessions whose driver and template were both killed."""
    for directory in base.iterdir():
        try:
            lock = os.open(directory / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # just being made, or just being removed
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_session(directory)
        except BlockingIOError:
            continue  # its driver lives
        finally:
            os.close(lock)
