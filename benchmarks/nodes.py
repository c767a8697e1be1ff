"""How fast two nodes talk to each other: ours, ours with TLS, and Ray's.

Each node is in a network namespace of its own, with an address of its own, where this process may
make some; else at an address of the loopback interface. The driver is on the first node, the actor
on the second; no memory is shared between the two. Runs alternate, so that a slow minute of the
machine hits all::

    python -m benchmarks.nodes
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import facts
from benchmarks.networks import Network, no_network

MIB = 2**20
RLLIB, TLS, RAY = "rllib", "rllib with TLS", "ray"
ENGINES = (RLLIB, TLS, RAY)
WINDOW_S = 1.0
READERS = 10


def main() -> None:
    """Measure, print a table, write the JSON file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--network", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        json.dump(measure(arguments.child, arguments.network), sys.stdout)
        return
    reason = no_network()
    where = f"loopback addresses, since {reason}" if reason else "network namespaces"
    runs = _alternate(arguments.repeats, in_network=not reason)
    table = {
        row: {engine: facts.summary([run[row] for run in runs[engine]]) for engine in ENGINES}
        for row in runs[RLLIB][0]
        if row != "seconds"
    }
    for row, found in table.items():
        print(_line(row, [found[engine]["median"] for engine in ENGINES]))
    facts.write("nodes", table, unit="per second; gigabytes are 1e9 bytes/s", nodes=where)


def _line(row: str, medians: list[float]) -> str:
    """As a row of the table in ``docs/clusters.md``."""
    ours, secured, rays = (f"{value:,.3g}" if value < 100 else f"{value:,.0f}" for value in medians)
    return f"| {row} | {ours} | {secured} | {rays} | {medians[0] / medians[2]:.1f}x |"


def _alternate(repeats: int, *, in_network: bool) -> dict[str, list[dict[str, float]]]:
    runs: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}
    with ExitStack() as opened:
        network = opened.enter_context(Network(2)) if in_network else None
        for _ in range(repeats):
            for engine in ENGINES:
                runs[engine].append(_run(engine, network))
    return runs


def _run(engine: str, network: Network | None) -> dict[str, float]:
    arguments = ["benchmarks.nodes", "--child", engine]
    if network is None:
        return facts.run_child(*arguments)
    arguments += ["--network", network.mark]
    return network.on(1, lambda: facts.run_child(*arguments))


def measure(engine: str, mark: str) -> dict[str, float]:
    """All rows on one engine."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["RLLIB_HOME"] = home
        network = Network(2, mark) if mark else None
        if engine == RAY:
            return _on_ray(network)
        if engine == TLS:
            certify(Path(home))
        return _on_ours(network)


def certify(folder: Path) -> None:
    """One certificate for all nodes, as ``docs/clusters.md`` makes it."""
    files = {"KEY": folder / "node.key", "CERT": folder / "node.pem", "CA": folder / "node.pem"}
    order = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        f"-subj /CN=rllib -addext subjectAltName=DNS:rllib -keyout {files['KEY']} -out "
        f"{files['CERT']}"
    )
    subprocess.run(order.split(), check=True, capture_output=True)
    for name, path in files.items():
        os.environ[f"RLLIB_TLS_{name}"] = str(path)


def _on_ours(network: Network | None) -> dict[str, float]:
    from rllib import core

    with _our_nodes(network) as address:
        core.init(address=address)
        try:
            return _rows(core)
        finally:
            core.shutdown()


@contextmanager
def _our_nodes(network: Network | None) -> Iterator[str]:
    from rllib.core.cluster.launch import Service
    from rllib.core.cluster.options import tls_of
    from rllib.core.cluster.service import Order

    def start(number: int, head: str, **amounts: float) -> Service:
        host = f"127.0.0.{number}" if network is None else network.address(number)
        order = Order(
            head=head, host=host, amounts=amounts, tls=tls_of(), insecure=True, quiet=True
        )
        return Service(order) if network is None else network.on(number, lambda: Service(order))

    head = start(1, "", CPU=1.0)
    far = start(2, head.running.address, CPU=1.0, far=1.0)
    try:
        yield head.running.address
    finally:
        far.stop()
        head.stop()


def _on_ray(network: Network | None) -> dict[str, float]:
    import ray
    from ray.cluster_utils import Cluster

    def at(number: int) -> dict[str, str]:
        return {} if network is None else {"node_ip_address": network.address(number)}

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **at(1)})
    try:
        with nullcontext() if network is None else network.entered(2):
            cluster.add_node(num_cpus=1, resources={"far": 1}, **at(2))
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

        def read(self, refs: list[Any]) -> int:
            return int(api.get(refs[0]).nbytes)

    remote = api.remote(num_cpus=0, resources={"far": 0.01})(Far)
    actor = remote.remote()
    api.get(actor.nothing.remote())
    array = np.ones(MIB, np.uint8)

    def pull() -> float:
        refs = api.get(actor.put.remote(100 * MIB, 2))
        began = time.perf_counter()
        for ref in refs:
            api.get(ref)
        return len(refs) * 100 * MIB / 1e9 / (time.perf_counter() - began)

    readers = [remote.remote() for _ in range(READERS)]
    api.get([each.nothing.remote() for each in readers])

    def read_by_many() -> float:
        ref = api.put(np.ones(100 * MIB, np.uint8))
        began = time.perf_counter()
        sizes = api.get([each.read.remote([ref]) for each in readers])
        return float(sum(sizes)) / 1e9 / (time.perf_counter() - began)

    pull()
    read_by_many()
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
        "the same, read by ten actors of a node": statistics.median(
            read_by_many() for _ in range(3)
        ),
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
