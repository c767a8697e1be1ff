"""The driver's runtime: wires the node service, its template and the process's own runtime."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import psutil

from rllib.core import trace
from rllib.core.native import platform, wire
from rllib.core.native.call import Build, Target
from rllib.core.native.control_groups import Usage
from rllib.core.native.engine import NativeRuntime
from rllib.core.native.gpus import gpu_labels, gpu_resource, visible_gpus
from rllib.core.native.interrupts import InterruptGuard
from rllib.core.native.ledger import LEDGER, Cells, Ledger
from rllib.core.native.memory_monitor import MemoryMonitor
from rllib.core.native.node import Node
from rllib.core.native.peers import Peer
from rllib.core.native.scheduler import Scheduler
from rllib.core.native.session import Session, node_id
from rllib.core.native.sites import new_process_id, node_key
from rllib.core.native.spawn import TemplateProcess
from rllib.core.native.spillfiles import SPILL
from rllib.core.native.storekeeper import StoreKeeper
from rllib.core.system_config import SystemConfig

_STORE_SHARE = 0.3
_MEMORY_SHARE = 0.7


def start_driver(
    namespace: str,
    amounts: dict[str, float],
    *,
    object_store_memory: int | None,
    object_spilling_directory: str | None,
    labels: Mapping[str, str],
    logging: str,
    log_to_driver: bool,
    preload: tuple[str, ...],
    runtime_env: Mapping[str, Any],
    system_config: SystemConfig,
    temp_dir: str,
    node_type: type[Node] = Node,
) -> DriverRuntime:
    """Start the native engine on this machine; with a ``node_type`` for nodes that are not alone,
    see `rllib.core.cluster.services`."""
    memory = psutil.virtual_memory().total
    store_bytes = object_store_memory or int(memory * _STORE_SHARE)
    gpus = visible_gpus(amounts.get("GPU"))
    total = {
        "CPU": float(platform.usable_cores()),
        "memory": float(int(memory * _MEMORY_SHARE)),
        "GPU": float(len(gpus)),
        **(gpu_resource() if gpus else {}),
        **amounts,
    }
    session = Session(object_spilling_directory, temp_dir)
    if trace.is_wanted():
        (session.directory / trace.FOLDER).mkdir()
    node = node_id(session.directory)
    me = new_process_id(node_key(node))
    namespace = namespace or secrets.token_hex(8)  # anonymous: names are the driver's own
    cells = Cells.create(session.directory / LEDGER)
    keeper = StoreKeeper(me, cells, store_bytes, session.directory / SPILL)
    ledger = Ledger(cells, keeper.driver_cell, store_bytes)
    runtime = DriverRuntime(me, session, namespace, ledger)
    with runtime.lock:  # nothing is dispatched before all of it is there
        runtime.node = node_type(
            runtime,
            Scheduler(
                _positive(total),
                lambda: new_process_id(node_key(node)),
                node,
                gpus,
                {**(gpu_labels() if gpus else {}), **labels},
                node_key(node),
            ),
            lambda: TemplateProcess(session, preload),
            lambda worker: keeper.order(worker, namespace, logging),
            keeper,
            log_to_driver,
            bare_output=bool(logging),  # a prefix would spoil what was formatted
        )
    runtime.placing.enter(runtime_env)
    runtime.watch_memory(system_config)
    runtime.interrupts.install()
    return runtime


def _positive(amounts: dict[str, float]) -> dict[str, float]:
    """Without what there is nothing of; but a node always says how many CPUs it has."""
    return {name: value for name, value in amounts.items() if value or name == "CPU"}


class DriverRuntime(NativeRuntime):
    """A `NativeRuntime` that owns the session."""

    node: Node

    def __init__(self, me: bytes, session: Session, namespace: str, ledger: Ledger) -> None:
        super().__init__(me, session.directory, namespace, ledger)
        self.driver = me
        self.recorder = trace.recorder(session.directory, "driver")
        self.interrupts = InterruptGuard(self.lock, self.reactor)
        self._session = session
        self._monitor: MemoryMonitor | None = None

    def host(self, order: wire.PlaceActor, build: Build) -> None:
        """Be its owner."""
        self._host(self.me, order, build)

    def _host(self, client: bytes, order: wire.PlaceActor, build: Build) -> None:
        self.node.tell_for(client, order)
        self.actor_calls.host(order.actor, build)  # at once dead where the name was taken

    def on_host(self, peer: Peer, host: wire.Host) -> None:
        """Order and construct a worker's detached actor."""
        args = self.values.incoming(host.args, peer, handed=True)
        intern = host.constructor
        details = {"concurrency": intern.concurrency, "groups": intern.groups}
        target = Target(intern.kind, intern.name, intern.blob, **details, shape=intern.shape)
        self._host(peer.process, host.order, Build(target, args))

    def on_fetch_for(self, peer: Peer, wanted: wire.FetchFor) -> None:
        """Have the node get it."""
        self.node.fetch_for(peer, wanted)

    def on_keep(self, peer: Peer, record: wire.Keep) -> None:
        """Have the node keep it."""
        self.node.keep(peer, record)

    def on_claimed(self, peer: Peer, claim: int) -> None:
        """Have the node note it."""
        self.node.claimed(claim)

    def watch_memory(self, config: SystemConfig) -> None:
        """End workers before the machine's memory is used up."""

        def relieve(usage: Usage) -> int:
            with self.lock:
                return self.node.relieve(usage, config.memory_usage_threshold)

        self._monitor = MemoryMonitor(config, relieve)

    def shutdown(self) -> None:
        """End everything."""
        if self._monitor is not None:
            self._monitor.stop()
        super().shutdown()
        self.interrupts.remove()
        self._session.close()

    def after_fork(self) -> None:
        """The session, too, stays the parent's."""
        self.interrupts.remove()
        self._session.abandon()
        super().after_fork()
