"""A run that makes no progress: what every process is doing is written down."""

import os
import threading
from pathlib import Path

import psutil
import pytest
from patience import wait_until

from rllib import core, stacks
from rllib.core.testing import Cluster
from rllib.runs.watchdog import STALLS, Watchdog


class Hangs:
    """An actor that waits where its stack says so."""

    def wait_for_godot(self):
        threading.Event().wait()


def reports(folder: Path) -> list[str]:
    return [path.read_text() for path in sorted((folder / STALLS).glob("*.txt"))]


def test_of_one_stall_there_is_one_report_and_then_the_run_is_stopped(tmp_path: Path) -> None:
    told: list[str] = []
    stopped = threading.Event()
    with Watchdog(tmp_path, 0.05, "stop", told.append, stopped.set) as watchdog:
        watchdog.progress()
        assert stopped.wait(10)
        assert not threading.Event().wait(0.2)  # several timeouts
        assert len(told) == 1
        (report,) = reports(tmp_path)
        assert report.startswith("no progress for 0.05 seconds")
        assert "test_of_one_stall_there_is_one_report" in report
        watchdog.progress()
        wait_until(lambda: len(told) == 2)  # another one


def test_progress_in_time_is_no_stall(tmp_path: Path) -> None:
    told: list[str] = []
    with Watchdog(tmp_path, 5.0, "stop", told.append, lambda: told.append("stopped")) as watchdog:
        for _ in range(3):
            watchdog.progress()
    with Watchdog(tmp_path, None, "report", told.append):
        pass
    assert told == []
    assert not (tmp_path / STALLS).exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    with Watchdog(tmp_path / "gone" / "gone", 0.05, "report", told.append):
        wait_until(lambda: told)
    assert "the stacks cannot be written" in told[0]


def test_the_stack_of_an_actor_that_hangs_is_there() -> None:
    if not hasattr(stacks.os, "memfd_create"):
        pytest.skip("Linux alone has files without a name")
    with core.init(num_cpus=1):
        actor = core.remote(Hangs).remote()
        core.get(actor.__ray_call__.remote(stacks.listen, core.get_runtime_context().get_job_id()))
        actor.wait_for_godot.remote()
        text: list[str] = []

        def is_told() -> bool:
            text[:] = [stacks.of_all()]
            return "wait_for_godot" in text[0]

        wait_until(is_told)
        assert "test_the_stack_of_an_actor_that_hangs_is_there" in text[0]
        core.kill(actor)


def test_one_that_ends_meanwhile_costs_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = psutil.pids()[-1] + 100_000
    monkeypatch.setattr(stacks, "_of_children", lambda: iter([(gone, "it waited\n")]))
    assert f"process {gone}\nit waited" in stacks.of_all()


def test_so_is_that_of_one_on_another_node() -> None:
    if not hasattr(stacks.os, "memfd_create"):
        pytest.skip("Linux alone has files without a name")
    with Cluster(head={"num_cpus": 0}) as cluster:
        cluster.add_node(num_cpus=1)
        core.init(address=cluster.address)
        actor = core.remote(Hangs).remote()
        core.get(actor.__ray_call__.remote(stacks.listen, core.get_runtime_context().get_job_id()))
        pid = core.get(actor.__ray_call__.remote(lambda actor: os.getpid()))
        actor.wait_for_godot.remote()
        wait_until(lambda: any("wait_for_godot" in text for _, _, text in stacks.of_nodes()))
        assert {found for _, found, _ in stacks.of_nodes()} == {pid}  # as all see all of this host
        core.shutdown()
