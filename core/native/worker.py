"""A worker process: a runtime that also runs what others ask for."""

from __future__ import annotations

import atexit
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from rllib.core import api, trace
from rllib.core.exceptions import ObjectLostError, to_raise
from rllib.core.facts import Where
from rllib.core.native import wire
from rllib.core.native.archives import Package
from rllib.core.native.call import Build, current_job
from rllib.core.native.connection import Connection, Frame
from rllib.core.native.engine import NativeRuntime
from rllib.core.native.environment import Environment
from rllib.core.native.executor import Executor
from rllib.core.native.interrupts import InterruptGuard
from rllib.core.native.lanes import Job
from rllib.core.native.ledger import LEDGER, Cells, Ledger
from rllib.core.native.node_link import NodeSocket
from rllib.core.native.peers import Peer
from rllib.core.native.process import exit_process
from rllib.core.native.sites import key_of
from rllib.core.records import ActorShape
from rllib.core.runtime_env import JOB, NAMESPACE


def main(order: wire.Make, directory: str, control: int) -> NoReturn:
    """Serve until the node ends or user code exits."""
    atexit._clear()  # what was registered before is for the end of the template
    runtime = WorkerRuntime(order, Path(directory))
    with runtime.lock:  # nothing is dispatched before it is there: a question may have come
        conn = Connection(socket.socket(fileno=control))
        runtime.node = NodeSocket(runtime, conn, lambda: exit_process(0))
    api.adopt(runtime)
    runtime.interrupts.install()
    if order.logging:
        from rllib.core.logs import apply_text

        apply_text(order.logging)
    with runtime.lock:
        runtime.node.tell(wire.WorkerReady(order.worker))
    try:
        runtime.executor.run()
    except SystemExit as error:
        runtime.executor.leave(error)


class WorkerRuntime(NativeRuntime):
    """A `NativeRuntime` that can be called."""

    def __init__(self, order: wire.Make, directory: Path) -> None:
        self.executor = Executor(self)
        self._waiting = 0
        self._retiring = False
        ledger = Ledger(Cells.open(directory / LEDGER), order.cell, order.store_bytes)
        super().__init__(order.worker, directory, order.namespace, ledger)
        self.driver = self.calls.agent = order.driver
        self.recorder = trace.recorder(directory, "worker")
        self.assignment = wire.Assignment({})
        self._environment = Environment(directory, self._fetch)
        self.interrupts = InterruptGuard(self.lock, self.reactor, self.executor.take_interrupt)

    def on_node(self, record: Any) -> None:
        """A message of the node service."""
        if isinstance(record, wire.Retire):
            self._retiring = True  # looked at by the flush that follows
        else:
            super().on_node(record)

    def flush(self) -> None:
        """Write what waits; and go, if this worker is to go and nobody needs it any more."""
        if self.recorder is not None:
            self.recorder.flush()
        super().flush()
        if self._retiring and not self._is_needed():
            exit_process(0)

    def _is_needed(self) -> bool:
        """Whether others hold objects or actors of this process, or it still waits for others."""
        is_waiting = self.peers.any_inflight() or self.tasks.under_way or self.executor.under_way
        return is_waiting or bool(self.values.lendings) or self.actor_calls.under_way

    def on_call(self, peer: Peer, frame: Frame) -> None:
        """Run it, in the executor's time."""
        self.executor.accept(peer, frame)

    def account(self, topic: wire.Topic) -> bytes:
        """With what runs here."""
        from rllib.core.native import accounts

        return accounts.account(self, topic, self.executor.progress())

    def on_wanted(self, peer: Peer, seq: int) -> None:
        """Send it at once."""
        self.executor.wanted(peer, seq)

    def on_stays(self, record: wire.Stays) -> None:
        """Tell the owner where its result is."""
        self.executor.stays(record)

    def on_recall(self, peer: Peer, calls: list[int]) -> None:
        """Hand back what was not begun."""
        self.executor.hand_back(peer, set(calls))

    def on_assigned(self, given: wire.Assignment) -> None:
        """What the next calls may use, and where they run."""
        self.assignment = given
        self.placing.adopt(given)
        self._environment.show_gpus(given.gpus)
        self._environment.adopt(given.environment)
        self.namespace = self._environment.fields.get(NAMESPACE, self.namespace)
        self.job = self._environment.fields.get(JOB, self.job)
        if not self._environment.is_entered:
            self.executor.prepare = self._environment.enter

    def _fetch(self, package: Package) -> memoryview | None:
        """The archive of a snapshot that was taken on another node."""
        if key_of(package.keeper) == key_of(self.me):
            return None
        ref = self.find_exposed(package.keeper, package.number)
        self.wait([ref], 1, None)
        if isinstance(ref.outcome, Exception):
            raise to_raise(ref.outcome)
        if ref.outcome is None or ref.outcome.region is None:
            raise ObjectLostError("it is no archive")
        return ref.outcome.region.parts(ref)[0]

    def host(self, order: wire.PlaceActor, build: Build) -> None:
        """Hand it to the driver, which outlives this process."""
        self.hand_over(order, build)

    def on_cancel(self, peer: Peer, order: wire.Cancel) -> None:
        """Stop it."""
        self.executor.cancel(peer, order)

    def on_taken(self, peer: Peer, seq: int, total: int) -> None:
        """Let the generator go on."""
        self.executor.taken(peer, seq, total)

    def where(self) -> Where:
        """What is known of the job that runs in this thread or coroutine."""
        where = super().where()
        self._describe(self.assignment, where)
        job: Job | None = current_job.get()
        if job is not None:
            self.executor.describe(job, where)
        return where

    def _describe(self, given: wire.Assignment, where: Where) -> None:
        """Fill in what the node has given to the lease or actor here."""
        where.resources, where.gpus = given.resources, given.gpus
        where.placement_group_id = given.group.hex() or None
        where.captures_children = given.captures
        fields = self._environment.fields
        where.runtime_env = {k: value for k, value in fields.items() if not k.startswith("_")}
        if given.actor:
            where.actor_id, where.actor_name = given.actor.hex(), given.name
            where.restarts = given.restarts
            where.shape = ActorShape.load(self.executor.shape)
            with self.lock:
                where.actor = self.actor_calls.link(given.actor, None)

    def shutdown(self) -> None:
        """Inside a worker that ends the worker."""
        exit_process(0)

    def wait_for(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """A task that waits for others lends them its CPU, and hands back those sent ahead."""
        if not self.executor.in_task:
            return super().wait_for(done, timeout)
        with self.lock:
            self.executor.hand_back()
        self._count_waiting(1)
        try:
            return super().wait_for(done, timeout)
        finally:
            self._count_waiting(-1)

    def _count_waiting(self, change: int) -> None:
        """Threads of the task that wait; the node hears of the first and of the last."""
        with self.lock:
            before, self._waiting = self._waiting, self._waiting + change
            if not (before and self._waiting):
                self.node.tell(wire.Blocked(bool(self._waiting)))
