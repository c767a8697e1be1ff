"""Generators on the native engine: back-pressure, deaths, repeated runs."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patience import wait_until

from rllib import core
from rllib.core import exceptions


@pytest.fixture(scope="module", autouse=True)
def native() -> Iterator[None]:
    with core.init(num_cpus=2):
        yield


def test_a_generator_pauses_until_results_are_taken(tmp_path: Path) -> None:
    log = tmp_path / "log"

    @core.remote(_generator_backpressure_num_objects=2)
    def count(n: int) -> Iterator[int]:
        for index in range(n):
            with log.open("a") as file:
                file.write("x")
            yield index

    results = count.remote(10)
    wait_until(lambda: log.exists() and log.stat().st_size >= 2)
    ref = next(results)
    wait_until(lambda: log.stat().st_size >= 3)
    assert log.stat().st_size <= 4
    assert core.get([ref, *results]) == list(range(10))


def test_an_asynchronous_generator_pauses_too() -> None:
    @core.remote
    class Counter:
        def __init__(self) -> None:
            self.made = 0

        @core.method(_generator_backpressure_num_objects=3)
        async def count(self, n: int) -> AsyncIterator[int]:
            for index in range(n):
                self.made += 1
                yield index

        async def get_made(self) -> int:
            return self.made

    counter = Counter.remote()
    results = counter.count.remote(100)
    wait_until(lambda: core.get(counter.get_made.remote()) == 3)
    for _ in range(10):
        next(results)
    wait_until(lambda: core.get(counter.get_made.remote()) == 13)
    assert len(list(results)) == 90


def test_a_paused_generator_that_nobody_holds_runs_to_its_end(tmp_path: Path) -> None:
    done = tmp_path / "done"

    @core.remote(_generator_backpressure_num_objects=1)
    def count() -> Iterator[int]:
        yield from range(50)
        done.touch()

    results = count.remote()
    next(results)
    del results
    wait_until(done.exists)


def test_a_repeated_run_goes_on_where_the_first_one_died(tmp_path: Path) -> None:
    attempts = tmp_path / "attempts"

    @core.remote(max_retries=1)
    def count(n: int) -> Iterator[int]:
        with attempts.open("a") as file:
            file.write("x")
        first = attempts.stat().st_size == 1
        for index in range(n):
            if first and index == 3:
                os.kill(os.getpid(), 9)
            yield index

    assert [core.get(ref) for ref in count.remote(6)] == list(range(6))


def test_a_repeated_run_that_yields_less_is_an_error(tmp_path: Path) -> None:
    attempts = tmp_path / "attempts"

    @core.remote(max_retries=1)
    def shrinking() -> Iterator[int]:
        with attempts.open("a") as file:
            file.write("x")
        if attempts.stat().st_size > 1:
            yield 0
            return
        yield from range(3)
        wait_until(lambda: (tmp_path / "go").exists())
        os.kill(os.getpid(), 9)

    results = shrinking.remote()
    assert core.get([next(results) for _ in range(3)]) == [0, 1, 2]
    (tmp_path / "go").touch()
    with pytest.raises(exceptions.StreamReplayError, match="yielded 1 results, after 3"):
        core.get(next(results))


def test_the_death_of_its_process_is_the_last_result() -> None:
    @core.remote(max_retries=0)
    def dying() -> Iterator[int]:
        yield 0
        wait_until(lambda: core.get_runtime_context().get_task_id() is not None)
        os._exit(7)

    results = dying.remote()
    assert core.get(next(results)) == 0
    with pytest.raises(exceptions.WorkerCrashedError, match="code 7"):
        core.get(next(results))
    with pytest.raises(StopIteration):
        next(results)
    with pytest.raises(exceptions.WorkerCrashedError):
        core.get(results.completed())


def test_waiting_for_the_next_result_ends_in_time(tmp_path: Path) -> None:
    go = tmp_path / "go"

    @core.remote
    def late() -> Iterator[int]:
        wait_until(go.exists)
        yield 1

    results = late.remote()
    assert not results.next_ready()
    with pytest.raises(exceptions.GetTimeoutError):
        results._next_sync(0.05)
    assert core.wait([results], timeout=0.05) == ([], [results])
    go.touch()
    assert core.get(next(results)) == 1


def test_references_in_results_are_counted() -> None:
    @core.remote
    def refs(n: int) -> Iterator[Any]:
        for index in range(n):
            yield [core.put(np.full(20_000, index))]

    for index, ref in enumerate(refs.remote(4)):
        (inner,) = core.get(ref)
        assert core.get(inner)[0] == index
