"""The process of a node service, from its order to its end.

It ends when it is told to (SIGTERM, SIGINT), when the process that started it with a lifeline ends,
and, unless it is the head, when the head is gone. Whatever the way: its workers end with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import sys
from pathlib import Path
from typing import NamedTuple, NoReturn, cast

import msgspec

from rllib.core.cluster.credentials import (
    ClusterError,
    Credentials,
    Tls,
    bare,
    check_exposure,
    is_anywhere,
    is_loopback,
    joined_address,
    own_address,
    read_token,
    split_address,
)
from rllib.core.cluster.dock import Dock
from rllib.core.cluster.gateway import Gateway
from rllib.core.cluster.options import TLS_VARIABLES
from rllib.core.cluster.services import AgentNode, HeadNode, ServiceNode
from rllib.core.labels import DRIVERS_OWN
from rllib.core.native.descriptors import raise_descriptors
from rllib.core.native.driver import DriverRuntime, start_driver
from rllib.core.system_config import system_config

RECORD = "service.json"
"""In the session's directory: what others on this machine may know of it."""

_WITH_STARTER = "the process that started it ended"

_SOMEWHERE = "192.0.2.1:9"
"""An address that is nobody's (RFC 5737): the way there is the way out of this machine."""


class Order(msgspec.Struct, kw_only=True):
    """What a node service is to be. No secrets: it is an argument of a process."""

    head: str = ""
    """Address of the head to join; empty for being it."""
    host: str = ""
    """Where to listen; by default on loopback, or where the head can reach it."""
    port: int = 0
    amounts: dict[str, float] = {}
    labels: dict[str, str] = {}
    object_store_memory: int | None = None
    namespace: str = ""
    preload: tuple[str, ...] = ()
    tls: Tls | None = None
    insecure: bool = False
    quiet: bool = False
    """Whether what workers print is shown to drivers alone."""
    lifeline: int = -1
    """A descriptor at whose end the service ends."""
    ready: int = -1
    """A descriptor on which to write one line of JSON: a `Running`, or ``{"error": ...}``."""
    join_timeout_s: float = 10.0


class Running(NamedTuple):
    """A node service that runs."""

    pid: int
    address: str
    head: str
    """Address of the head: its own, if it is that."""
    node: str
    session: str
    tls: list[str] | None
    everywhere: bool = False
    """Whether it listens at all addresses of the machine."""


def main(order: Order) -> NoReturn:
    """Run a node service; returns to nobody."""
    raise_descriptors()
    end = _End(order.lifeline)
    try:
        running, runtime, gateway = _start(order, end)
    except (ClusterError, OSError, ValueError) as error:
        _answer(order.ready, {"error": str(error)})
        sys.exit(1)
    _answer(order.ready, running._asdict())
    reason = end.wait()
    if DRIVERS_OWN not in order.labels or reason != _WITH_STARTER:  # else it is bound to be so
        print(f"rllib node service at {running.address}: {reason}", file=sys.stderr, flush=True)
    gateway.stop()
    runtime.shutdown()
    sys.exit(0)


def _answer(fd: int, said: object) -> None:
    text = json.dumps(said)
    if fd < 0:
        print(text, flush=True)
        return
    with contextlib.suppress(BrokenPipeError), os.fdopen(fd, "w") as stream:
        stream.write(text + "\n")


def _start(order: Order, end: _End) -> tuple[Running, DriverRuntime, Gateway]:
    host = bare(order.host) or _host_for(order)
    check_exposure(host, order.tls, insecure=order.insecure)
    credentials = Credentials(read_token(make=not order.head), order.tls)
    if order.tls:  # workers know by it that the cluster encrypts, and drivers among them how
        os.environ.update(zip(TLS_VARIABLES, order.tls, strict=True))
    runtime = start_driver(
        order.namespace or "default",
        order.amounts,
        object_store_memory=order.object_store_memory,
        object_spilling_directory=None,
        labels=order.labels,
        logging="",
        log_to_driver=not order.quiet,
        preload=order.preload,
        runtime_env={},
        system_config=system_config(None),
        temp_dir="",
        node_type=AgentNode if order.head else HeadNode,
    )
    node = cast(ServiceNode, runtime.node)
    session = Path(runtime.where().session)
    node.gateway = gateway = Gateway(
        session, runtime.me, credentials, node, Dock(runtime, node.copies.give_up)
    )
    try:
        node.site.address = _reachable(gateway.start(host, order.port), order.head)
        _take_part(node, order, end)
    except BaseException:
        gateway.stop()
        runtime.shutdown()
        raise
    running = Running(
        os.getpid(),
        node.site.address,
        order.head or node.site.address,
        node.site.node,
        str(session),
        list(order.tls) if order.tls else None,
        is_anywhere(host),
    )
    (session / RECORD).write_text(json.dumps(running._asdict()))
    return running, runtime, gateway


def _take_part(node: ServiceNode, order: Order, end: _End) -> None:
    if isinstance(node, AgentNode):
        node.ended = end.because
        node.join(order.head, order.join_timeout_s)
    else:
        node.gateway.learn({node.site.key: node.site.address})


def _reachable(bound: str, head: str) -> str:
    """The address that others are told."""
    host, port = split_address(bound)
    if not is_anywhere(host):
        return bound
    return joined_address(own_address(head or _SOMEWHERE), port)


def _host_for(order: Order) -> str:
    """Loopback, unless the head is elsewhere."""
    if not order.head or is_loopback(split_address(order.head)[0]):
        return "127.0.0.1"
    return own_address(order.head)


class _End:
    """Waits for whatever ends the service first."""

    def __init__(self, lifeline: int) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._lifeline = lifeline
        self._reason = ""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: object) -> None:
        self.because(f"stopped by {signal.Signals(number).name}")

    def because(self, reason: str) -> None:
        """End for that reason. From any thread; the first counts."""
        self._reason = self._reason or reason
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"!")

    def wait(self) -> str:
        """Why it ends."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._read, selectors.EVENT_READ)
            if self._lifeline >= 0:
                selector.register(self._lifeline, selectors.EVENT_READ)
            selector.select()
        return self._reason or _WITH_STARTER


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Order))
