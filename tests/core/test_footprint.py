"""What a runtime costs while it does nothing: processor time, memory, and open doors."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rllib.core.native import platform

MIB = 2**20
MEMORY_MIB = 150
IDLE_SHARE = 0.005
ATTEMPTS = 5
WATCHED_S = 1.0

CODE = """
import sys
from rllib import core
core.init(num_cpus=2)
core.get([core.remote(lambda: 1).remote() for _ in range(100)])
print("up", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["linux", "portable"])
def runtime(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[psutil.Process]]:
    """All processes of a runtime that has run some tasks on two CPUs."""
    monkeypatch.setenv(platform.VARIABLE, "1" if request.param == "portable" else "0")
    driver = subprocess.Popen(
        [sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == "up\n"
    root = psutil.Process(driver.pid)
    yield [root, *root.children(recursive=True)]
    driver.communicate()


def spent_s(processes: list[psutil.Process]) -> float:
    """Processor time of all their threads, exact to the nanosecond."""
    files = [
        file
        for process in processes
        for file in Path(f"/proc/{process.pid}").glob("task/*/schedstat")
    ]
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9


def test_an_idle_runtime_costs_little(runtime: list[psutil.Process]) -> None:
    idle = 1.0
    for _ in range(ATTEMPTS):  # on a busy machine, what was done before takes a while to settle
        before = spent_s(runtime)
        threading.Event().wait(WATCHED_S)
        idle = (spent_s(runtime) - before) / WATCHED_S
        if idle < IDLE_SHARE:
            break
    facts = [process.memory_full_info() for process in runtime]
    rss, pss = (sum(getattr(fact, name) for fact in facts) / MIB for name in ("rss", "pss"))
    print(f"{len(facts)} processes, RSS {rss:.0f} MiB, PSS {pss:.0f} MiB, idle {idle:.2%}")
    assert len(facts) >= 4
    assert pss <= rss <= MEMORY_MIB
    assert idle < IDLE_SHARE
    assert not any(process.net_connections(kind="inet") for process in runtime)
