"""A driver on a node of a cluster: to the node it is one more client, and to user code the runtime.

It shares memory with the workers of its node, and talks to all others through the node's gateway.
The node, not the driver, owns workers; but each serves the tasks and actors of one driver alone.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rllib.core import trace
from rllib.core.cluster.credentials import ClusterError
from rllib.core.cluster.services import ATTACH
from rllib.core.exceptions import NodeDiedError, RuntimeClosedError
from rllib.core.native import wire
from rllib.core.native.call import Build
from rllib.core.native.connection import Connection
from rllib.core.native.engine import NativeRuntime
from rllib.core.native.interrupts import InterruptGuard
from rllib.core.native.ledger import LEDGER, Cells, Ledger
from rllib.core.native.node_link import NodeSocket
from rllib.core.native.output import Folder, Line, Printer
from rllib.core.native.session import JOB_BYTES, hex_id
from rllib.core.runtime_env import JOB, NAMESPACE, PATHS

_PATIENCE_S = 10.0


def attach(
    session: Path, namespace: str, *, log_to_driver: bool, release: Callable[[], None]
) -> AttachedRuntime:
    """Be a driver on the node that has this session; ``release`` is called at the end.

    Raises `ClusterError` where the node does not answer.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(_PATIENCE_S)
        sock.connect(str(session / ATTACH))
        control, order = _greeted(sock)
    except OSError as error:
        sock.close()
        raise ClusterError(f"the node service in {session} does not answer: {error}") from error
    namespace = namespace or secrets.token_hex(8)  # anonymous: names are the driver's own
    runtime = AttachedRuntime(order, session, namespace, log_to_driver, release)
    with runtime.lock:
        runtime.node = NodeSocket(runtime, control, runtime.node_gone)
        runtime.node.tell(wire.Made(order.worker, os.getpid()))
    runtime.interrupts.install()
    return runtime


def _greeted(sock: socket.socket) -> tuple[Connection, wire.Make]:
    """Wait for what the node says first."""
    size = wire.HEADER.size
    header = _exactly(sock, size)
    payload = _exactly(sock, wire.HEADER.unpack(header)[0])
    return Connection(sock), wire.read_record(payload)


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise ConnectionError("it closed the connection")
        data += more
    return data


class AttachedRuntime(NativeRuntime):
    """A `NativeRuntime` without a node of its own."""

    def __init__(
        self,
        order: wire.Make,
        session: Path,
        namespace: str,
        log_to_driver: bool,
        release: Callable[[], None],
    ) -> None:
        ledger = Ledger(Cells.open(session / LEDGER), order.cell, order.store_bytes)
        super().__init__(order.worker, session, namespace, ledger)
        self.driver = self.calls.agent = order.driver
        self.job = hex_id(order.worker.hex(), JOB_BYTES)
        self.recorder = trace.recorder(session, "driver")
        self.interrupts = InterruptGuard(self.lock, self.reactor)
        self._release = release
        self._lost = ""
        fold = os.environ.get("RLLIB_DEDUP_LOGS", "1") != "0"
        self._printer = Printer(Folder() if fold else None) if log_to_driver else None

    def set_environment(self, runtime_env: Mapping[str, Any]) -> None:
        """What everything starts with: that, and what workers, which are the node's, must know of
        this driver."""
        paths = [str(Path(path).absolute()) for path in sys.path]
        own = {PATHS: paths, NAMESPACE: self.namespace, JOB: self.job}
        self.placing.enter({**runtime_env, **own})

    def on_node(self, record: Any) -> None:
        """A message of the node service."""
        if isinstance(record, wire.Printed):
            if self._printer is not None:
                self._printer.show(
                    Line(record.text, record.label, record.pid, left_out=record.left_out)
                )
        else:
            super().on_node(record)

    def host(self, order: wire.PlaceActor, build: Build) -> None:
        """Hand it to the node service, which outlives this process, in one message."""
        self.hand_over(order, build)

    def node_gone(self) -> None:
        """The node service has ended: nothing will ever be answered."""
        if self._closed or self._lost:
            return
        self._lost = "the node service of this driver is gone, or the head of its cluster"
        for call in list(self.cancelling.unfinished()):
            call.resolve_all(NodeDiedError(self._lost))
        for ref, _value in self._unsettled.values():
            ref.resolve(NodeDiedError(self._lost))
        self._unsettled.clear()
        self._closed = True
        self.reactor.announce()

    def _check_open(self) -> None:
        if self._lost:
            raise NodeDiedError(f"{self._lost}; call shutdown() and init() again")
        if self._closed:
            raise RuntimeClosedError("the runtime was shut down; call init() again")

    def shutdown(self) -> None:
        """End this process's part."""
        if self._lost:
            self._closed = False  # what is left of it is to be closed all the same
        super().shutdown()
        self.interrupts.remove()
        if self._printer is not None:
            self._printer.close()
            self._printer = None
        self._release()

    def after_fork(self) -> None:
        """The node service stays the parent's."""
        self.interrupts.remove()
        super().after_fork()
