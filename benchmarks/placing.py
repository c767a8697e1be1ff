"""How the cost of placing grows with a cluster, without any process: the scheduler alone.

::

    python -m benchmarks.placing

Every actor is ordered, its worker is started and ready, and its constructor returns, as the
messages of clients and workers have it. Nothing but the scheduler's own time is measured.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from benchmarks.facts import write
from rllib.core.labels import parse
from rllib.core.native import wire
from rllib.core.native.instructions import Start, Tell
from rllib.core.native.scheduler import Scheduler
from rllib.core.native.sites import KEY_BYTES, Site

SIZES = ((10, 1_000), (100, 10_000), (1_000, 10_000), (1_000, 100_000))
"""Nodes and actors."""
BUNDLES = 10
"""Of each placement group."""
ONE_CPU = {"CPU": 1.0}
FAST = {"disk": "fast"}
"""The labels of every other node."""


def key(number: int) -> bytes:
    """Of the node of that number."""
    return number.to_bytes(KEY_BYTES, "big")


DRIVER = key(0) + b"driver"


class Simulation:
    """A scheduler with so many nodes, room for so many actors of a CPU, and its workers."""

    def __init__(self, nodes: int, actors: int) -> None:
        self.nodes, self.actors = nodes, actors
        self._cpus = {"CPU": actors / nodes}
        self._ids = itertools.count()
        self._starting: deque[bytes] = deque()
        self.granted: deque[int] = deque()
        self.scheduler = Scheduler(self._cpus, self._new_id(0), "0", key=key(0), labels=FAST)
        for number in range(1, nodes):
            self.join(number)

    def _new_id(self, node: int) -> Callable[[], bytes]:
        return lambda: key(node) + next(self._ids).to_bytes(10, "big")

    def join(self, number: int) -> None:
        """One more node, as large as the others."""
        node, new_id, out = str(number), self._new_id(number), self.scheduler.out
        labels = {} if number % 2 else FAST
        site = Site(node, key(number), self._cpus, new_id, out, labels=labels, host=node)
        self.perform(self.scheduler.node_joined(site))

    def tell(self, message: Any, client: bytes = DRIVER) -> None:
        """A message of a client."""
        self.perform(self.scheduler.handle(client, message))

    def perform(self, instructions: list[Any]) -> None:
        """Note which workers are started, and which leases granted."""
        for instruction in instructions:
            match instruction:
                case Start(worker):
                    self._starting.append(worker)
                case Tell(message=wire.LeaseGranted(lease)):
                    self.granted.append(lease)

    def order(self, number: int, **needs: Any) -> None:
        """An actor that holds a CPU."""
        wanted = wire.Needs(ONE_CPU, **needs)
        actor = number.to_bytes(16, "big")
        self.tell(wire.PlaceActor(actor, "Actor", b"", ONE_CPU, wanted, max_restarts=1))

    def run_workers(self, *, of_actors: bool = True) -> None:
        """Have every worker that was started be ready, and the actors in them constructed."""
        while self._starting:
            worker = self._starting.popleft()
            self.tell(wire.WorkerReady(worker), worker)
            if of_actors:
                self.tell(wire.ActorBuilt(), worker)

    def assert_full(self) -> None:
        """Every actor has its place."""
        assert self.scheduler.sites.free()["CPU"] == 0


def one_by_one(cluster: Simulation) -> None:
    """Each actor is constructed before the next is ordered."""
    for number in range(cluster.actors):
        cluster.order(number)
        cluster.run_workers()
    cluster.assert_full()


def all_ordered_first(cluster: Simulation, **needs: Any) -> None:
    """All actors are ordered before the first process is ready."""
    for number in range(cluster.actors):
        cluster.order(number, **needs)
    cluster.run_workers()
    cluster.assert_full()


def spread(cluster: Simulation) -> None:
    """The same, each to the node that is least in use."""
    all_ordered_first(cluster, spread=True)


def by_labels(cluster: Simulation) -> None:
    """Half of them, all to the nodes of a label."""
    for number in range(cluster.actors // 2):
        cluster.order(number, labels=(parse(FAST),))
    cluster.run_workers()
    assert cluster.scheduler.sites.free()["CPU"] == cluster.scheduler.sites.total()["CPU"] // 2


def in_groups(cluster: Simulation) -> None:
    """Each in its bundle of placement groups that spread over the nodes."""
    for number in range(cluster.actors // BUNDLES):
        group, bundles = number.to_bytes(16, "big"), [ONE_CPU] * BUNDLES
        cluster.tell(wire.CreateGroup(number, group, bundles, "STRICT_SPREAD"))
        for bundle in range(BUNDLES):
            cluster.order(number * BUNDLES + bundle, group=group, bundle=bundle)
    cluster.run_workers()
    cluster.assert_full()


def tasks_in_turn(cluster: Simulation) -> None:
    """Twice as many tasks as there are CPUs wait at the same time; each ends when all have begun
    that can."""
    for number in range(2 * cluster.actors):
        cluster.tell(wire.RequestLease(number, wire.Needs(ONE_CPU)))
    cluster.run_workers(of_actors=False)
    for _ in range(2 * cluster.actors):
        cluster.tell(wire.ReturnLease(cluster.granted.popleft()))


def a_node_is_lost(cluster: Simulation) -> None:
    """All ordered first; then the actors of one node after the other start again elsewhere, of
    every tenth node."""
    all_ordered_first(cluster)
    for number in range(1, cluster.nodes, 10):
        cluster.perform(cluster.scheduler.node_down(key(number), "lost", ()))
        cluster.join(cluster.nodes + number)
        cluster.run_workers()
    cluster.assert_full()


SCENES: dict[str, Callable[[Simulation], None]] = {
    "one by one": one_by_one,
    "all ordered first": all_ordered_first,
    "all ordered first, SPREAD": spread,
    "half of them, by labels": by_labels,
    "in placement groups": in_groups,
    "tasks, twice as many as fit": tasks_in_turn,
    "a tenth of the nodes lost": a_node_is_lost,
}


def seconds(scene: Callable[[Simulation], None], nodes: int, actors: int) -> float:
    """What the scheduler takes for it."""
    cluster = Simulation(nodes, actors)
    gc.collect()  # what the last scene left is not this one's
    began = time.perf_counter()
    scene(cluster)
    return time.perf_counter() - began


def main() -> None:
    """Measure, print and write."""
    rows = []
    for name, scene in SCENES.items():
        for nodes, actors in SIZES:
            took = round(seconds(scene, nodes, actors), 3)
            rows.append({"scene": name, "nodes": nodes, "actors": actors, "seconds": took})
            print(f"{name:28} {nodes:5} nodes {actors:7} actors {took:8.3f} s", flush=True)
    write("placing", rows)


if __name__ == "__main__":
    main()
