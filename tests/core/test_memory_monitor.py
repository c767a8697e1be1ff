"""Memory that runs out: who is ended, and what those hear who wait for it."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import wait_until

from rllib import core
from rllib.core.native import memory_monitor
from rllib.core.native.control_groups import Usage
from rllib.core.native.memory_monitor import memory_usage
from rllib.core.native.platform import usable_cores
from rllib.core.native.victims import Occupant, choose_victim
from rllib.core.system_config import SystemConfig

A, B = b"owner a", b"owner b"


def _occupant(worker: str, owner: bytes, retriable: bool, turn: int, size: int = 100) -> Occupant:
    return Occupant(worker.encode(), owner, retriable, turn, size=size)


@pytest.mark.parametrize(
    ("occupants", "chosen"),
    [
        ([], None),
        ([_occupant("old", A, True, 1), _occupant("new", A, True, 2)], b"new"),
        ([_occupant("kept", A, False, 2), _occupant("again", A, True, 1)], b"again"),
        ([_occupant("only", A, False, 1)], b"only"),
        (
            [_occupant("a1", A, True, 1), _occupant("a2", A, True, 2), _occupant("b", B, True, 3)],
            b"a2",
        ),
        ([_occupant("large", A, True, 1), _occupant("small", A, True, 2, size=9)], b"large"),
    ],
)
def test_the_newest_that_can_run_again_of_the_owner_with_most_is_chosen(
    occupants: list[Occupant], chosen: bytes | None
) -> None:
    victim = choose_victim(occupants)
    assert (victim and victim.worker) == chosen


def _cgroup(folder: Path, prefix: str, names: tuple[str, str], stat: str) -> None:
    (folder / prefix).mkdir(exist_ok=True)
    for name, text in zip((*names, "memory.stat"), ("1000", "900", stat), strict=True):
        (folder / prefix / name).write_text(text)


def test_a_control_group_with_less_memory_counts_and_cached_files_do_not(tmp_path: Path) -> None:
    _cgroup(
        tmp_path,
        "",
        ("memory.max", "memory.current"),
        "anon 600\ninactive_file 100\nactive_file 50\n",
    )
    assert memory_usage(tmp_path) == Usage(750, 1000)


def test_a_control_group_of_the_first_version(tmp_path: Path) -> None:
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    _cgroup(tmp_path, "memory", names, "rss 600\ntotal_inactive_file 300\n")
    assert memory_usage(tmp_path) == Usage(600, 1000)


@pytest.mark.parametrize(
    ("line", "top", "names", "cached"),
    [
        ("0::/job/step", "", ("memory.max", "memory.current"), "inactive_file"),
        (
            "4:cpu,memory:/job/step",
            "memory",
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
            "total_inactive_file",
        ),
    ],
)
def test_of_groups_within_groups_the_one_that_leaves_least_counts(
    tmp_path: Path, line: str, top: str, names: tuple[str, str], cached: str
) -> None:
    (tmp_path / "own").write_text(f"1:cpuset:/else\n{line}\n")
    for path, limit, used in (("", 9000, 2000), ("job", 1000, 900), ("job/step", 800, 300)):
        folder = tmp_path / top / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / names[0]).write_text(f"{limit}\n")
        (folder / names[1]).write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"{cached} 50\n")
    assert memory_usage(tmp_path, tmp_path / "own") == Usage(850, 1000)


def test_without_a_limit_it_is_the_machine(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    usage = memory_usage(tmp_path)
    assert 0 < usage.share < 1
    assert usage.total > 1 << 28


@pytest.fixture
def pressure(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Set it, and memory is used up until one worker was ended for it."""
    high = threading.Event()

    def reading() -> Usage:
        used = 99 if high.is_set() else 10
        high.clear()
        return Usage(used, 100)

    monkeypatch.setattr(memory_monitor, "memory_usage", reading)
    monkeypatch.setattr(memory_monitor, "PATIENCE_S", 0.0)
    core.init(num_cpus=2, _system_config={"memory_monitor_refresh_ms": 10})
    yield high
    core.shutdown()


@core.remote
def block_once(marker: Path, forever: bool = False) -> str:
    """Block, the first time it runs."""
    if marker.exists() and not forever:
        return "ran again"
    marker.touch()
    threading.Event().wait()
    return "unreachable"


def test_a_task_without_retries_is_told_why(pressure: threading.Event, tmp_path: Path) -> None:
    ref = block_once.options(max_retries=0).remote(tmp_path / "began", forever=True)
    wait_until((tmp_path / "began").exists)
    pressure.set()
    with pytest.raises(core.exceptions.OutOfMemoryError, match=r"99% and more than 95%") as caught:
        core.get(ref, timeout=10)
    assert "block_once" in str(caught.value)
    assert "GiB" in str(caught.value)


def test_a_task_with_retries_runs_again_and_uses_none_of_them(
    pressure: threading.Event, tmp_path: Path
) -> None:
    @core.remote(max_retries=1)
    def block_twice(folder: Path) -> int:
        runs = len(list(folder.iterdir()))
        (folder / str(runs)).touch()
        if runs < 2:
            threading.Event().wait()
        return runs

    ref = block_twice.remote(tmp_path)
    for run in range(2):
        wait_until((tmp_path / str(run)).exists)
        pressure.set()
    assert core.get(ref, timeout=10) == 2


class Hoarder:
    """An actor that blocks on demand."""

    def block(self, marker: Path) -> None:
        """Never returns."""
        marker.touch()
        threading.Event().wait()

    def ping(self) -> str:
        """Returns."""
        return "pong"


@pytest.mark.parametrize("max_restarts", [0, 1])
def test_calls_of_an_ended_actor_are_told_why(
    pressure: threading.Event, tmp_path: Path, max_restarts: int
) -> None:
    actor: Any = core.remote(Hoarder).options(max_restarts=max_restarts).remote()
    ref = actor.block.remote(tmp_path / "began")
    wait_until((tmp_path / "began").exists)
    pressure.set()
    with pytest.raises(core.exceptions.OutOfMemoryError, match="Hoarder"):
        core.get(ref, timeout=10)
    if max_restarts:
        assert core.get(actor.ping.remote(), timeout=10) == "pong"
    else:
        with pytest.raises(core.exceptions.OutOfMemoryError):
            core.get(actor.ping.remote(), timeout=10)


def test_the_next_one_is_ended_when_the_last_one_is_gone_and_memory_still_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there, looks, ended = {101}, threading.Semaphore(0), []
    monkeypatch.setattr(memory_monitor, "PATIENCE_S", 60.0)
    monkeypatch.setattr(memory_monitor, "is_there", lambda pid: pid in there)

    def reading() -> Usage:
        looks.release()
        return Usage(99, 100)

    def relieve(_usage: Usage) -> int:
        ended.append(101 + len(ended))
        return ended[-1]

    monkeypatch.setattr(memory_monitor, "memory_usage", reading)
    monitor = memory_monitor.MemoryMonitor(SystemConfig(memory_monitor_refresh_ms=1), relieve)
    try:
        for _ in range(5):
            assert looks.acquire(timeout=10)
        assert ended == [101]  # its memory is not free yet
        there.clear()
        wait_until(lambda: len(ended) > 1)
    finally:
        monitor.stop()


def test_what_cannot_be_read_for_a_while_is_read_later(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, relieved = iter([OSError(24, "Too many open files"), ValueError()]), threading.Event()

    def reading() -> Usage:
        for error in looks:
            raise error
        return Usage(99, 100)

    def relieve(_usage: Usage) -> int:
        relieved.set()
        return 0

    monkeypatch.setattr(memory_monitor, "memory_usage", reading)
    monitor = memory_monitor.MemoryMonitor(SystemConfig(memory_monitor_refresh_ms=1), relieve)
    try:
        assert relieved.wait(10)
    finally:
        monitor.stop()


def test_a_process_that_ended_is_not_there() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    wait_until(lambda: not memory_monitor.is_there(child.pid))  # a zombie
    child.wait()
    assert not memory_monitor.is_there(child.pid)
    assert memory_monitor.is_there(os.getpid())


def test_nobody_is_ended_where_nobody_is_at_work(pressure: threading.Event) -> None:
    pressure.set()
    wait_until(lambda: not pressure.is_set())
    assert core.get(core.remote(lambda: 5).remote(), timeout=10) == 5


def test_the_next_look_comes_before_all_cores_could_have_filled_the_memory() -> None:
    cores = usable_cores()
    gib = 2**30
    assert memory_monitor.filling_s(Usage(90 * gib, 100 * gib), 0.9) == pytest.approx(0)
    assert memory_monitor.filling_s(Usage(89 * gib, 100 * gib), 0.9) <= 0.5 / cores + 1e-9
    assert memory_monitor.filling_s(Usage(0, 2**50), 0.9) == 1
    assert memory_monitor.filling_s(Usage(99 * gib, 100 * gib), 0.9) < 0


def test_nearly_full_memory_is_looked_at_before_it_can_be_full() -> None:
    cores = usable_cores()
    gib = 2**30

    def look_s(used: float) -> float:
        return memory_monitor.next_look_s(Usage(int(used * gib), 64 * gib), 0.95, 0.25)

    assert look_s(1) >= 0.25
    assert 0.02 <= look_s(63.5) <= max(0.02, 0.5 / (2 * cores) / 2 + 1e-9)
    assert look_s(64) == 0.02
