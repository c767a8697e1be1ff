"""What the runtime costs before and beside the work: time to the first task, memory, idle CPU.

::

    python -m benchmarks.core_start                        # rllib.core alone
    python -m benchmarks.core_start --engine rllib.core --engine ray --repeats 3
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from typing import Any

import psutil

from benchmarks import facts

MIB = 2**20
IDLE_S = 5.0

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
    )
    assert driver.stdin is not None
    assert driver.stdout is not None
    try:
        import_s, first_task_s = map(float, driver.stdout.readline().split())
        return {"import, s": import_s, "init to first task, s": first_task_s} | _at_rest(driver.pid)
    finally:
        driver.stdin.close()
        driver.wait()


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
