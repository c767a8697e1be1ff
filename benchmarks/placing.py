"""How the cost of placing grows with a cluster, without any process: the scheduler alone.

::

    python -m benchmarks.placing

Every actor is ordered, its worker is started and ready, and its constructor returns, as the
messages of clients and workers have it. Nothing but the scheduler's own time is measured.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

from benchmarks.facts import write
from rllib.core.native import wire
from rllib.core.native.instructions import Start
from rllib.core.native.scheduler import Scheduler
from rllib.core.native.sites import KEY_BYTES, Site

SIZES = ((10, 1_000), (100, 10_000), (1_000, 10_000), (1_000, 100_000))
"""Nodes and actors."""


def key(number: int) -> bytes:
    """Of the node of that number."""
    return number.to_bytes(KEY_BYTES, "big")


def cluster(nodes: int, cpus: float) -> Scheduler:
    """A scheduler with so many nodes of so many CPUs."""
    workers = itertools.count()

    def ids(number: int) -> Any:
        return lambda: key(number) + next(workers).to_bytes(10, "big")

    scheduler = Scheduler({"CPU": cpus}, ids(0), "0", key=key(0))
    for number in range(1, nodes):
        node = str(number)
        scheduler.node_joined(
            Site(node, key(number), {"CPU": cpus}, ids(number), scheduler.out, host=node)
        )
    return scheduler


def place(scheduler: Scheduler, actors: int) -> None:
    """Place so many actors, each of which holds a CPU."""
    driver = key(0) + b"driver"
    held = {"CPU": 1.0}
    for number in range(actors):
        actor = number.to_bytes(16, "big")
        order = wire.PlaceActor(actor, "Actor", b"", held, wire.Needs(held))
        for instruction in scheduler.handle(driver, order):
            if isinstance(instruction, Start):
                scheduler.handle(instruction.worker, wire.WorkerReady(instruction.worker))
                scheduler.handle(instruction.worker, wire.ActorBuilt())


def seconds(nodes: int, actors: int) -> float:
    """What it takes to fill the cluster."""
    scheduler = cluster(nodes, actors / nodes)
    began = time.perf_counter()
    place(scheduler, actors)
    took = time.perf_counter() - began
    assert not any(site.pool.free["CPU"] for site in scheduler.sites)
    return took


def main() -> None:
    """Measure, print and write."""
    rows = [
        {"nodes": nodes, "actors": actors, "seconds": round(seconds(nodes, actors), 3)}
        for nodes, actors in SIZES
    ]
    for row in rows:
        print(row)
    write("placing", rows)


if __name__ == "__main__":
    main()
