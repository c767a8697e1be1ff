"""What the runtime costs before and beside the work: time to the first task, memory, idle CPU, and
how long a worker waits for an object whose owner computes.

::

    python -m benchmarks.core_start                        # rllib.core alone
    python -m benchmarks.core_start --engine rllib.core --engine ray --repeats 3
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import psutil

from benchmarks import facts

MIB = 2**20
IDLE_S = 5.0
_ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
"""What pip installs is compiled already; a source tree is so after the first start, unless this
variable forbids it."""

_PROGRAM = """
import importlib, sys, time
started = time.perf_counter()
api = importlib.import_module(sys.argv[1])
imported = time.perf_counter()
api.init(num_cpus=2)
api.get(api.remote(lambda: 1).remote())
print(imported - started, time.perf_counter() - imported, flush=True)
sys.stdin.read()
"""

_BUSY_PROGRAM = """
import importlib, statistics, sys, time
import numpy as np
api = importlib.import_module(sys.argv[1])
api.init(num_cpus=2)
class Reader:
    def ready(self):
        pass
    def read(self, refs, pause):
        delays = []
        for ref in refs:
            time.sleep(pause)
            began = time.perf_counter()
            api.get(ref)
            delays.append(time.perf_counter() - began)
        return delays
reader = api.remote(Reader).remote()
api.get(reader.ready.remote())
busy_s, reads = float(sys.argv[2]), 50
refs = [api.put(np.full(1 << 17, number)) for number in range(reads)]
delays = reader.read.remote(refs, 0.8 * busy_s / reads)
until = time.perf_counter() + busy_s
total = 0
while time.perf_counter() < until:
    for number in range(1000):
        total += number * number
print(statistics.median(api.get(delays)), flush=True)
"""
BUSY_S = 10.0


def main() -> None:
    """Measure, print a table, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--engine", action="append", help="module with the API; repeatable")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="write no file")
    arguments = parser.parse_args()
    engines = arguments.engine or ["rllib.core"]
    runs: dict[str, list[dict[str, float]]] = {engine: [] for engine in engines}
    for _ in range(arguments.repeats):
        for engine in engines:
            runs[engine].append(measure(engine))
    table = {
        name: {engine: statistics.median(run[name] for run in runs[engine]) for engine in engines}
        for name in runs[engines[0]][0]
    }
    for name, row in table.items():
        print(f"{name:32}", *(f"{engine} {value:10.3f}" for engine, value in row.items()))
    if not arguments.dry:
        facts.write("core_start", table, unit="as the rows say")


def measure(engine: str) -> dict[str, float]:
    """One start of one engine in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", _PROGRAM, engine]
    driver = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=_ENVIRONMENT,
    )
    assert driver.stdin is not None
    assert driver.stdout is not None
    try:
        import_s, first_task_s = map(float, driver.stdout.readline().split())
        times = {"import, s": import_s, "init to first task, s": first_task_s}
        times |= _at_rest(driver.pid)
    finally:
        driver.stdin.close()
        driver.wait()
    return times | {"read of a busy owner, ms": _busy_read_ms(engine)}


def _busy_read_ms(engine: str) -> float:
    """Median time of a worker's first read of 1 MiB that the computing driver owns."""
    command = [sys.executable, "-W", "ignore", "-c", _BUSY_PROGRAM, engine, str(BUSY_S)]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        env=_ENVIRONMENT,
    )
    return 1000 * float(done.stdout.split()[-1])


def _at_rest(pid: int) -> dict[str, float]:
    """Of the driver and all that it has started, once they have nothing to do."""
    time.sleep(1.0)
    driver = psutil.Process(pid)
    processes = [driver, *driver.children(recursive=True)]
    before = _cpu_s(processes)
    time.sleep(IDLE_S)
    idle = (_cpu_s(processes) - before) / IDLE_S
    listeners = sum(
        connection.status == psutil.CONN_LISTEN
        for process in processes
        for connection in process.net_connections(kind="inet")
    )
    return {
        "processes": len(processes),
        "resident memory, MiB": sum(process.memory_info().rss for process in processes) / MIB,
        "idle CPU, % of a core": 100 * idle,
        "TCP listeners": listeners,
    }


def _cpu_s(processes: list[psutil.Process]) -> float:
    times: list[Any] = [process.cpu_times() for process in processes]
    return float(sum(each.user + each.system for each in times))


if __name__ == "__main__":
    main()
