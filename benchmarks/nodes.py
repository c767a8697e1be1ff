"""How fast two nodes talk to each other: ours and Ray's, each of which simulates them on one host.

The driver is on the first node, the actor on the second; no memory is shared between the two. Runs
of both alternate, so that a slow minute of the machine hits both::

    python -m benchmarks.nodes
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import facts

MIB = 2**20
ENGINES = ("rllib", "ray")
WINDOW_S = 1.0


def main() -> None:
    """Measure, print a table, write the JSON file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", choices=ENGINES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        json.dump(measure(arguments.child), sys.stdout)
        return
    runs: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}
    for _ in range(arguments.repeats):
        for engine in ENGINES:
            runs[engine].append(facts.run_child("benchmarks.nodes", "--child", engine))
    table = {
        row: {engine: facts.summary([run[row] for run in runs[engine]]) for engine in ENGINES}
        for row in runs["rllib"][0]
        if row != "seconds"
    }
    for row, found in table.items():
        ours, rays = (found[engine]["median"] for engine in ENGINES)
        print(f"{row:40} {ours:>12,.2f} {rays:>12,.2f} {ours / rays:6.1f}x")
    facts.write("nodes", table, unit="per second; gigabytes are 1e9 bytes/s")


def measure(engine: str) -> dict[str, float]:
    """All rows on one engine."""
    os.environ["RLLIB_HOME"] = tempfile.mkdtemp()
    return _on_ours() if engine == "rllib" else _on_ray()


def _on_ours() -> dict[str, float]:
    from rllib import core
    from rllib.core.testing import Cluster

    with Cluster(head={"num_cpus": 1}) as cluster:
        cluster.add_node(num_cpus=1, resources={"far": 1})
        core.init(address=cluster.address)
        return _rows(core)


def _on_ray() -> dict[str, float]:
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1, resources={"far": 1})
        ray.init(address=cluster.address, log_to_driver=False)
        return _rows(ray)
    finally:
        ray.shutdown()
        cluster.shutdown()


def _rows(api: Any) -> dict[str, float]:
    class Far:
        def nothing(self) -> None:
            pass

        def size(self, array: Any) -> int:
            return int(array.nbytes)

        def put(self, size: int, count: int) -> list[Any]:
            return [api.put(np.ones(size, np.uint8)) for _ in range(count)]

    actor = api.remote(num_cpus=0, resources={"far": 1})(Far).remote()
    api.get(actor.nothing.remote())
    array = np.ones(MIB, np.uint8)

    def pull() -> float:
        refs = api.get(actor.put.remote(100 * MIB, 2))
        began = time.perf_counter()
        for ref in refs:
            api.get(ref)
        return len(refs) * 100 * MIB / 1e9 / (time.perf_counter() - began)

    pull()
    return {
        "actor calls, one after the other": _rate(lambda: api.get(actor.nothing.remote()), 1),
        "actor calls, 1,000 at a time": _rate(
            lambda: api.get([actor.nothing.remote() for _ in range(1_000)]), 1_000
        ),
        "calls with 1 MiB, one after the other": _rate(
            lambda: api.get(actor.size.remote(array)), 1
        ),
        "calls with 1 MiB, 20 at a time": _rate(
            lambda: api.get([actor.size.remote(array) for _ in range(20)]), 20
        ),
        "gigabytes of 100 MiB objects": statistics.median(pull() for _ in range(3)),
    }


def _rate(once: Callable[[], object], units: int) -> float:
    once()
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < WINDOW_S:
        once()
        done += units
    return done / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
