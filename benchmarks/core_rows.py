"""How fast the runtime is: objects, tasks and actor calls, per second.

The rows are those of Ray's microbenchmark, sized for two cores, plus the rows that matter most to
sampling. Any engine with the Ray-shaped API runs them; with several engines their runs alternate,
so that a slow minute of the machine hits all of them::

    python -m benchmarks.core_rows                         # rllib.core alone
    python -m benchmarks.core_rows --engine rllib.core --engine ray --repeats 3
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import facts

MIB = 2**20
WINDOWS = 4

Row = tuple[str, Callable[[], Any], float]
"""Name, one repetition, and how many units it counts for."""


def main() -> None:
    """Measure, print a table, write the JSON file."""
    arguments = _arguments()
    if arguments.child:
        json.dump(measure(arguments.child, arguments.rows, arguments.secs), sys.stdout)
        return
    runs: dict[str, list[dict[str, float]]] = {engine: [] for engine in arguments.engine}
    for repeat in range(arguments.repeats):
        for engine in arguments.engine:
            print(f"run {repeat + 1} of {arguments.repeats}: {engine}", file=sys.stderr)
            runs[engine].append(_run_child(engine, arguments))
    table = _table(runs)
    _print(table, arguments.engine)
    if not arguments.dry:
        facts.write("core_rows", table, unit="per second; gigabytes are GiB/s")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--engine", action="append", help="module with the API; repeatable")
    parser.add_argument("--rows", default="", help="only rows whose name contains this")
    parser.add_argument("--secs", type=float, default=0.5, help="length of one window")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="write no file")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.engine = arguments.engine or ["rllib.core"]
    return arguments


def _run_child(engine: str, arguments: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.core_rows", "--child", engine]
    command += ["--rows", arguments.rows, "--secs", str(arguments.secs)]
    done = subprocess.run(command, cwd=facts.ROOT, stdout=subprocess.PIPE, check=True)
    rows: dict[str, float] = json.loads(done.stdout)
    return rows


def _table(runs: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, Any]]:
    names = next(iter(runs.values()))[0]
    return {
        name: {
            engine: facts.summary([run[name] for run in repeats])
            for engine, repeats in runs.items()
        }
        for name in names
    }


def _print(table: dict[str, dict[str, Any]], engines: list[str]) -> None:
    print(f"{'per second':44}" + "".join(f"{engine:>14}" for engine in engines))
    for name, row in table.items():
        medians = [row[engine]["median"] for engine in engines]
        ratio = f"   {medians[0] / medians[1]:6.1f}x" if len(medians) == 2 else ""
        print(f"{name:44}" + "".join(f"{value:14,.1f}" for value in medians) + ratio)


# -- in a process of its own, on one engine --------------------------------------------------------


def measure(engine: str, wanted: str, secs: float) -> dict[str, float]:
    """The median rate of every wanted row on one engine."""
    api = importlib.import_module(engine)
    api.init(num_cpus=2)
    try:
        return {
            name: _rate(function, secs) * units
            for name, function, units in rows(api)
            if wanted in name
        }
    finally:
        api.shutdown()


def _rate(function: Callable[[], Any], secs: float) -> float:
    """Calls per second: the median of a few windows after a warm-up."""
    step = max(1, int(_window(function, secs, 1) * secs) // 10)
    return statistics.median(_window(function, secs, step) for _ in range(WINDOWS))


def _window(function: Callable[[], Any], secs: float, step: int) -> float:
    started, calls = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < secs:
        for _ in range(step):
            function()
        calls += step
    return calls / elapsed


def rows(api: Any) -> list[Row]:
    """All rows; their actors and objects exist from here on."""
    return [
        *_object_rows(api),
        *_task_rows(api),
        *_actor_rows(api),
        *_async_rows(api),
        *_fan_rows(api),
        *_group_rows(api),
    ]


def _object_rows(api: Any) -> list[Row]:
    small = api.put(0)
    large, medium = np.zeros(100 * MIB // 8), np.zeros(MIB // 8)
    stored = api.put(large)
    return [
        ("get small", lambda: api.get(small), 1),
        ("put small", lambda: api.put(0), 1),
        ("put gigabytes (100 MiB)", lambda: api.put(large), 100 / 1024),
        ("put gigabytes (1 MiB)", lambda: api.put(medium), 1 / 1024),
        ("get 100 MiB (zero copy)", lambda: api.get(stored), 1),
    ]


def _task_rows(api: Any) -> list[Row]:
    @api.remote
    def small() -> bytes:
        return b"ok"

    @api.remote
    def many_refs() -> list[Any]:
        return [api.put(index) for index in range(10_000)]

    @api.remote
    def count(n: int) -> Any:
        for number in range(n):  # noqa: UP028 (Ray sends into generators; a range does not take it)
            yield number

    @api.remote
    def puts() -> None:
        for _ in range(100):
            api.put(0)

    @api.remote
    def large_puts() -> None:
        for _ in range(10):
            api.put(np.zeros(MIB))

    refs = many_refs.remote()

    def wait_1k() -> None:
        waiting = [small.remote() for _ in range(1000)]
        while waiting:
            _, waiting = api.wait(waiting)

    return [
        ("tasks sync", lambda: api.get(small.remote()), 1),
        ("tasks async", lambda: api.get([small.remote() for _ in range(1000)]), 1000),
        ("wait 1k refs", wait_1k, 1),
        ("get object containing 10k refs", lambda: api.get(refs), 1),
        ("multi client put calls", lambda: api.get([puts.remote() for _ in range(4)]), 400),
        (
            "multi client put gigabytes (8 MiB)",
            lambda: api.get([large_puts.remote() for _ in range(10)]),
            10 * 10 * 8 / 1024,
        ),
        ("generator of 100 results", lambda: api.get(list(count.remote(100))), 100),
    ]


def _actor_rows(api: Any) -> list[Row]:
    @api.remote(num_cpus=0)
    class Actor:
        def small(self) -> bytes:
            return b"ok"

        def first(self, array: Any) -> float:
            return float(array[0])

    actor = Actor.remote()
    crowd = Actor.options(max_concurrency=16).remote()
    medium, large = np.zeros(MIB // 8), api.put(np.zeros(100 * MIB // 8))

    def cycle() -> None:
        newborn = Actor.remote()
        api.get(newborn.small.remote())
        api.kill(newborn)

    return [
        ("1:1 actor calls sync", lambda: api.get(actor.small.remote()), 1),
        ("1:1 actor calls async", _thousand(api, actor.small), 1000),
        ("1:1 actor calls, 1 MiB array argument", lambda: api.get(actor.first.remote(medium)), 1),
        ("1:1 actor calls, 100 MiB by reference", lambda: api.get(actor.first.remote(large)), 1),
        ("1:1 actor calls concurrent", _thousand(api, crowd.small), 1000),
        ("actor create + call + kill", cycle, 1),
    ]


def _thousand(api: Any, method: Any, *args: Any) -> Callable[[], Any]:
    return lambda: api.get([method.remote(*args) for _ in range(1000)])


def _async_rows(api: Any) -> list[Row]:
    @api.remote(num_cpus=0)
    class AsyncActor:
        async def small(self, x: Any = None) -> bytes:
            return b"ok"

    actor = AsyncActor.remote()
    return [
        ("1:1 async-actor calls sync", lambda: api.get(actor.small.remote()), 1),
        ("1:1 async-actor calls async", _thousand(api, actor.small), 1000),
        ("1:1 async-actor calls with argument async", _thousand(api, actor.small, 1), 1000),
    ]


def _fan_rows(api: Any) -> list[Row]:
    @api.remote(num_cpus=0)
    class Server:
        def small(self, x: Any = None) -> bytes:
            return b"ok"

    @api.remote(num_cpus=0)
    class Client:
        def batch(self, servers: list[Any], count: int) -> None:
            api.get([server.small.remote() for server in servers for _ in range(count)])

        def batch_with_argument(self, servers: list[Any], count: int) -> None:
            x = api.put(0)
            api.get([server.small.remote(x) for server in servers for _ in range(count)])

    servers = [Server.remote() for _ in range(2)]
    clients = [Client.remote() for _ in range(2)]

    def with_argument() -> None:
        pairs = zip(clients, servers, strict=True)
        api.get([client.batch_with_argument.remote([server], 500) for client, server in pairs])

    return [
        ("1:n actor calls async", lambda: api.get(clients[0].batch.remote(servers, 1000)), 2000),
        (
            "n:n actor calls async",
            lambda: api.get([client.batch.remote(servers, 500) for client in clients]),
            2000,
        ),
        ("n:n actor calls with argument async", with_argument, 1000),
    ]


def _group_rows(api: Any) -> list[Row]:
    util = importlib.import_module(f"{api.__name__}.util")

    def group() -> None:
        one = util.placement_group([{"CPU": 0.001}])
        one.wait(30)
        util.remove_placement_group(one)

    return [("placement group create + remove", group, 1)]


if __name__ == "__main__":
    main()
