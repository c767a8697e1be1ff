"""`cancel`: what has not begun does not begin, what runs stops, what has ended stays."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import wait_until

from rllib import core
from rllib.core.exceptions import TaskCancelledError

SOON = 10.0


@pytest.fixture(scope="module", autouse=True)
def native() -> Iterator[None]:
    with core.init(num_cpus=2):
        yield


def remote_busy() -> Any:
    @core.remote
    def busy(began: Path, children: int = 0) -> None:
        refs = [busy.remote(began.with_name(f"child{index}")) for index in range(children)]
        began.touch()
        if refs:
            core.get(refs)
        while True:
            sum(range(1000))

    return busy


def test_a_running_task_is_interrupted(tmp_path: Path) -> None:
    ref = remote_busy().remote(tmp_path / "began")
    wait_until((tmp_path / "began").exists)
    core.cancel(ref)
    with pytest.raises(TaskCancelledError, match="busy"):
        core.get(ref, timeout=SOON)


def test_a_sleeping_task_is_interrupted(tmp_path: Path) -> None:
    @core.remote
    def sleep() -> None:
        (tmp_path / "began").touch()
        time.sleep(3600)

    ref = sleep.remote()
    wait_until((tmp_path / "began").exists)
    core.cancel(ref)
    with pytest.raises(TaskCancelledError):
        core.get(ref, timeout=SOON)


def test_a_task_that_catches_the_interrupt_is_cancelled_all_the_same(tmp_path: Path) -> None:
    @core.remote
    def stubborn() -> str:
        try:
            (tmp_path / "began").touch()
            time.sleep(3600)
        except KeyboardInterrupt:
            (tmp_path / "caught").touch()
        return "done"

    ref = stubborn.remote()
    wait_until((tmp_path / "began").exists)
    core.cancel(ref)
    with pytest.raises(TaskCancelledError):
        core.get(ref, timeout=SOON)
    assert (tmp_path / "caught").exists()


def test_with_force_the_worker_ends_and_nothing_is_retried(tmp_path: Path) -> None:
    ref = remote_busy().options(max_retries=5).remote(tmp_path / "began")
    wait_until((tmp_path / "began").exists)
    (tmp_path / "began").unlink()
    core.cancel(ref, force=True)
    with pytest.raises(TaskCancelledError):
        core.get(ref, timeout=SOON)
    assert core.get(core.remote(lambda: 1).remote(), timeout=SOON) == 1
    assert not (tmp_path / "began").exists()


@pytest.mark.parametrize("force", [True, False])
def test_a_task_that_goes_on_can_be_cancelled_again(tmp_path: Path, force: bool) -> None:
    @core.remote
    def stubborn() -> None:
        try:
            (tmp_path / "began").touch()
            time.sleep(3600)
        except KeyboardInterrupt:
            (tmp_path / "interrupted").touch()
        time.sleep(3600)

    ref = stubborn.remote()
    wait_until((tmp_path / "began").exists)
    core.cancel(ref)
    wait_until((tmp_path / "interrupted").exists)
    core.cancel(ref, force=force)
    with pytest.raises(TaskCancelledError):
        core.get(ref, timeout=SOON)


def test_a_queued_task_never_begins(tmp_path: Path) -> None:
    busy = remote_busy()
    running = [busy.remote(tmp_path / f"began{index}") for index in range(2)]
    wait_until(lambda: all((tmp_path / f"began{index}").exists() for index in range(2)))
    queued = busy.remote(tmp_path / "never")
    needy = core.remote(lambda value: value).remote(queued)
    core.cancel(queued)
    with pytest.raises(TaskCancelledError):
        core.get(queued, timeout=SOON)
    for ref in running:
        core.cancel(ref)
    with pytest.raises(TaskCancelledError):
        core.get(needy, timeout=SOON)
    assert not (tmp_path / "never").exists()


def test_a_task_that_waits_for_its_arguments_never_begins(tmp_path: Path) -> None:
    first = remote_busy().remote(tmp_path / "began")
    second = core.remote(lambda _: (tmp_path / "never").touch()).remote(first)
    core.cancel(second)
    with pytest.raises(TaskCancelledError):
        core.get(second, timeout=SOON)
    core.cancel(first)
    with pytest.raises(TaskCancelledError):
        core.get(first, timeout=SOON)
    assert not (tmp_path / "never").exists()


def test_an_infeasible_task_can_be_cancelled() -> None:
    ref = core.remote(num_cpus=100)(lambda: 1).remote()
    core.cancel(ref)
    with pytest.raises(TaskCancelledError):
        core.get(ref, timeout=SOON)


@pytest.mark.parametrize("recursive", [True, False])
def test_children_end_with_their_parent_if_that_is_wanted(tmp_path: Path, recursive: bool) -> None:
    stop = tmp_path / "stop"

    @core.remote
    def child() -> None:
        try:
            (tmp_path / "child").touch()
            wait_until(stop.exists, 60)
        except KeyboardInterrupt:
            (tmp_path / "interrupted").touch()
        (tmp_path / "ended").touch()

    @core.remote
    def parent() -> None:
        core.get(child.remote())

    ref = parent.remote()
    wait_until((tmp_path / "child").exists)
    core.cancel(ref, recursive=recursive)
    with pytest.raises(TaskCancelledError):
        core.get(ref, timeout=SOON)
    if not recursive:
        stop.touch()
    wait_until((tmp_path / "ended").exists)
    assert (tmp_path / "interrupted").exists() == recursive


def test_what_has_ended_stays() -> None:
    ref = core.remote(lambda: 1).remote()
    assert core.get(ref) == 1
    core.cancel(ref)
    core.cancel(ref, force=True)
    assert core.get(ref) == 1
    value = core.put(2)
    core.cancel(value)
    assert core.get(value) == 2


def test_the_other_tasks_of_a_worker_are_left_alone() -> None:
    @core.remote
    def quick(x: int) -> int:
        return x

    core.get([quick.remote(0) for _ in range(20)])
    refs = [quick.remote(index) for index in range(300)]
    for ref in refs[::3]:
        core.cancel(ref)
    kept = [ref for index, ref in enumerate(refs) if index % 3]
    assert core.get(kept, timeout=SOON) == [index for index in range(300) if index % 3]
    for ref in refs[::3]:
        try:
            core.get(ref, timeout=SOON)
        except TaskCancelledError:
            continue


def test_a_borrower_can_cancel(tmp_path: Path) -> None:
    ref = remote_busy().remote(tmp_path / "began")
    wait_until((tmp_path / "began").exists)
    core.get(core.remote(lambda refs: core.cancel(refs[0])).remote([ref]), timeout=SOON)
    with pytest.raises(TaskCancelledError):
        core.get(ref, timeout=SOON)


class TestActors:
    def test_a_running_method_is_told(self, tmp_path: Path) -> None:
        @core.remote
        class Patient:
            def wait(self) -> str:
                (tmp_path / "began").touch()
                wait_until(core.get_runtime_context().is_canceled)
                return "told"

            def ping(self) -> int:
                return 1

        actor = Patient.remote()
        ref, queued, later = actor.wait.remote(), actor.ping.remote(), actor.ping.remote()
        wait_until((tmp_path / "began").exists)
        core.cancel(queued)
        core.cancel(ref)
        for each in (ref, queued):
            with pytest.raises(TaskCancelledError):
                core.get(each, timeout=SOON)
        assert core.get(later, timeout=SOON) == 1

    def test_a_coroutine_is_cancelled(self) -> None:
        @core.remote
        class Sleeper:
            def __init__(self) -> None:
                self.caught = 0

            async def sleep(self) -> None:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    self.caught += 1
                    raise

            async def get_caught(self) -> int:
                return self.caught

        actor = Sleeper.remote()
        refs = [actor.sleep.remote() for _ in range(5)]
        core.get(actor.get_caught.remote())
        for ref in refs:
            core.cancel(ref)
        for ref in refs:
            with pytest.raises(TaskCancelledError):
                core.get(ref, timeout=SOON)
        assert core.get(actor.get_caught.remote()) == 5

    def test_a_coroutine_that_waits_for_room_never_begins(self) -> None:
        @core.remote(max_concurrency=1, concurrency_groups={"aside": 1})
        class Sleeper:
            def __init__(self) -> None:
                self.begun: list[str] = []

            @core.method(concurrency_group="aside")
            async def ping(self) -> None:
                """Answers when the loop knows all calls that came before."""

            async def sleep(self, name: str) -> list[str]:
                self.begun.append(name)
                await asyncio.sleep(0.2)
                return self.begun

        actor = Sleeper.remote()
        first, second, third = (actor.sleep.remote(name) for name in ("a", "b", "c"))
        core.get(actor.ping.remote(), timeout=SOON)
        core.cancel(second)
        with pytest.raises(TaskCancelledError):
            core.get(second, timeout=SOON)
        assert core.get(first, timeout=SOON) == ["a"]
        assert core.get(third, timeout=SOON) == ["a", "c"]

    def test_a_thread_is_told(self, tmp_path: Path) -> None:
        @core.remote(max_concurrency=2)
        class Threaded:
            def wait(self) -> None:
                (tmp_path / "began").touch()
                wait_until(core.get_runtime_context().is_canceled)

        ref = Threaded.remote().wait.remote()
        wait_until((tmp_path / "began").exists)
        core.cancel(ref)
        with pytest.raises(TaskCancelledError):
            core.get(ref, timeout=SOON)

    def test_force_is_refused(self) -> None:
        @core.remote
        class Idle:
            def wait(self) -> None:
                wait_until(core.get_runtime_context().is_canceled)

        ref = Idle.remote().wait.remote()
        with pytest.raises(ValueError, match="kill"):
            core.cancel(ref, force=True)
        core.cancel(ref)
        with pytest.raises(TaskCancelledError):
            core.get(ref, timeout=SOON)


def test_a_generator_stops() -> None:
    @core.remote
    def endless() -> Iterator[int]:
        index = 0
        while True:
            yield (index := index + 1)

    results = endless.remote()
    assert core.get(next(results)) == 1
    core.cancel(results)
    *_values, last = results
    with pytest.raises(TaskCancelledError):
        core.get(last)
    with pytest.raises(StopIteration):
        next(results)


@pytest.mark.parametrize("wrong", [1, None, [], "ref"])
def test_only_references_can_be_cancelled(wrong: Any) -> None:
    with pytest.raises(TypeError, match="ObjectRef"):
        core.cancel(wrong)
