"""The driver's runtime: wires the node service, its template and the process's own runtime."""

from __future__ import annotations

import os
import secrets

import psutil

from rllib.core.native import platform
from rllib.core.native.engine import NativeRuntime
from rllib.core.native.interrupts import InterruptGuard
from rllib.core.native.ledger import LEDGER, Cells, Ledger
from rllib.core.native.node import Node
from rllib.core.native.scheduler import Scheduler
from rllib.core.native.session import Session
from rllib.core.native.spawn import TemplateProcess
from rllib.core.native.spillfiles import SPILL
from rllib.core.native.storekeeper import StoreKeeper

_STORE_SHARE = 0.3


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
    total = {"CPU": float(platform.usable_cores()), **amounts}
    session = Session(object_spilling_directory)
    me = os.urandom(16)
    namespace = namespace or secrets.token_hex(8)  # anonymous: names are the driver's own
    cells = Cells.create(session.directory / LEDGER)
    keeper = StoreKeeper(me, cells, store_bytes, session.directory / SPILL)
    ledger = Ledger(cells, keeper.driver_cell, store_bytes)
    runtime = DriverRuntime(me, session, namespace, ledger)
    with runtime.lock:  # nothing is dispatched before all of it is there
        runtime.node = Node(
            runtime,
            Scheduler(total, lambda: os.urandom(16)),
            lambda: TemplateProcess(session, preload),
            lambda worker: keeper.order(worker, namespace),
            keeper,
            log_to_driver,
        )
    runtime.interrupts.install()
    return runtime


class DriverRuntime(NativeRuntime):
    """A `NativeRuntime` that owns the session."""

    def __init__(self, me: bytes, session: Session, namespace: str, ledger: Ledger) -> None:
        super().__init__(me, session.directory, namespace, ledger)
        self.interrupts = InterruptGuard(self.lock, self.reactor)
        self._session = session

    def shutdown(self) -> None:
        """End everything."""
        super().shutdown()
        self.interrupts.remove()
        self._session.close()

    def after_fork(self) -> None:
        """The session, too, stays the parent's."""
        self.interrupts.remove()
        self._session.abandon()
        super().after_fork()
