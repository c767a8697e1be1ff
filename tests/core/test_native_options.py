"""Options whose effect shows in processes, threads and queues of the native engine."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import wait_until

from rllib import core
from rllib.core.exceptions import ActorDiedError, PendingCallsLimitExceeded


@pytest.fixture(scope="module", autouse=True)
def native() -> Iterator[None]:
    with core.init(num_cpus=2):
        yield


def test_a_worker_leaves_after_max_calls() -> None:
    @core.remote(max_calls=2)
    def pid() -> int:
        return os.getpid()

    one_by_one = [core.get(pid.remote()) for _ in range(6)]
    assert one_by_one[0] == one_by_one[1]
    assert len(set(one_by_one)) == 3
    at_once = core.get([pid.remote() for _ in range(20)])
    assert all(at_once.count(each) <= 2 for each in at_once)


@pytest.mark.parametrize("end", ["leave", "__ray_terminate__"])
def test_an_actor_that_ends_in_order_runs_its_exit_functions(tmp_path: Path, end: str) -> None:
    @core.remote
    class Leaver:
        def __init__(self) -> None:
            import atexit

            atexit.register((tmp_path / "left").touch)

        def leave(self) -> None:
            core.actor.exit_actor()

    with pytest.raises(ActorDiedError):
        core.get(getattr(Leaver.remote(), end).remote())
    assert (tmp_path / "left").exists()


def test_groups_run_beside_each_other() -> None:
    @core.remote(concurrency_groups={"io": 2, "net": 1})
    class Grouped:
        def __init__(self) -> None:
            self.go = threading.Barrier(3)

        @core.method(concurrency_group="io")
        def io(self) -> bool:
            return self.go.wait(10) >= 0

        def plain(self) -> bool:
            return self.go.wait(10) >= 0

    grouped = Grouped.remote()
    refs = [grouped.io.remote(), grouped.io.remote(), grouped.plain.remote()]
    assert core.get(refs, timeout=10) == [True] * 3
    moved = grouped.plain.options(concurrency_group="net").remote()
    assert core.get([moved, grouped.io.remote(), grouped.io.remote()], timeout=10)
    with pytest.raises(ValueError, match="disk"):
        grouped.plain.options(concurrency_group="disk")


def test_a_caller_may_not_run_too_far_ahead(tmp_path: Path) -> None:
    @core.remote(max_pending_calls=2)
    class Slow:
        def wait(self) -> None:
            wait_until((tmp_path / "go").exists)

    slow = Slow.remote()
    refs = [slow.wait.remote() for _ in range(2)]
    with pytest.raises(PendingCallsLimitExceeded, match="max_pending_calls"):
        slow.wait.remote()
    (tmp_path / "go").touch()
    core.get(refs)
    core.get(slow.wait.remote())
