"""Long use costs no more than short use: memory, descriptors and segments stay where they were.

The suite runs a short form; ``make test-slow`` runs it at full length, which takes minutes.
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import pytest
from engines import native_engine

from rllib import core

MIB = 2**20
SLOW = bool(os.environ.get("RLLIB_SLOW"))
PUTS = 100_000 if SLOW else 2_000
CALLS = 1_000_000 if SLOW else 20_000
GROWTH_BYTES = 8 * MIB

pytestmark = pytest.mark.timeout(1800 if SLOW else 120)


@pytest.fixture(scope="module", autouse=True)
def runtime() -> Iterator[None]:
    with core.init(num_cpus=1, object_store_memory=128 * MIB):
        core.get(core.remote(lambda: 1).remote())  # all processes are there
        yield


class Footprint:
    """What this process and its workers occupy."""

    def __init__(self) -> None:
        me = psutil.Process()
        self.family = [me, *me.children(recursive=True)]
        self.rss = sum(process.memory_info().rss for process in self.family)
        self.descriptors = sum(process.num_fds() for process in self.family)

    def assert_no_more_than(self, before: "Footprint") -> None:
        assert len(self.family) == len(before.family)
        assert self.descriptors <= before.descriptors
        assert self.rss <= before.rss + GROWTH_BYTES


def stays_flat(work: Any, times: int) -> None:
    work(max(times // 10, 200))
    before = Footprint()
    work(times)
    Footprint().assert_no_more_than(before)


def test_puts() -> None:
    block = np.ones(MIB, np.uint8)

    def work(times: int) -> None:
        for _ in range(times):
            core.get(core.put(block))

    stays_flat(work, PUTS)
    places = native_engine().places
    assert places.arena.statistics().segments == 1
    assert len(places.spiller.shelf) == 0


def test_small_calls_and_tasks() -> None:
    @core.remote
    class Counter:
        def add(self, n: int) -> int:
            return n + 1

    counter, add = Counter.remote(), core.remote(lambda n: n + 1)

    def work(times: int) -> None:
        for start in range(0, times, 1000):
            numbers = range(start, start + 500)
            refs = [*map(counter.add.remote, numbers), *map(add.remote, numbers)]
            assert sum(core.get(refs)) == 2 * sum(numbers) + 1000

    stays_flat(work, CALLS)


def test_large_results_and_arguments() -> None:
    @core.remote
    def double(array: np.ndarray) -> np.ndarray:
        return array * 2

    def work(times: int) -> None:
        for _ in range(times):
            ref = double.remote(np.ones(20_000))
            assert core.get(double.remote(ref))[-1] == 4

    stays_flat(work, PUTS // 4)
    assert len(native_engine().lineage.recipes) == 0


def test_spilling() -> None:
    def work(times: int) -> None:
        refs: list[Any] = []
        for k in range(times):
            refs = [*refs[-200:], core.put(np.full(MIB // 8, float(k)))]
            assert core.get(refs[0])[0] == max(0, k - 200)

    stays_flat(work, PUTS // 4)
