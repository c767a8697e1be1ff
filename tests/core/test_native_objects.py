"""Shared memory between real processes: pinned while it is read, returned when it is not."""

import gc
import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from engines import native_engine
from patience import SOON_S, patience, wait_until

from rllib import core
from rllib.core import api, exceptions

MIB = 2**20
STORE_BYTES = 128 * MIB


@pytest.fixture(scope="module", autouse=True)
def runtime() -> Iterator[None]:
    with core.init(num_cpus=2, object_store_memory=STORE_BYTES):
        yield


@pytest.fixture(autouse=True)
def all_memory_returns(runtime: None) -> Iterator[None]:
    """Whatever a test does, in the end nothing is in use and nothing is lent."""
    yield
    wait_until(lambda: gc.collect() >= 0 and used() == 0 and not native_engine().values.lendings)


def used() -> int:
    with native_engine().lock:
        return native_engine().places.arena.statistics().used


def lent() -> int:
    with native_engine().lock:
        return len(native_engine().values.lendings)


def make_holder() -> Any:
    @core.remote
    class Holder:
        def hold(self, value: Any) -> None:
            self.value = value

        def total(self) -> float:
            value = self.value[0] if isinstance(self.value, list) else self.value
            if isinstance(value, core.ObjectRef):
                value = core.get(value)
            return float(value.sum())

        def give(self) -> Any:
            return self.value

        def drop(self) -> None:
            self.value = None

        def make(self, size: int) -> np.ndarray:
            return np.ones(size)

        def used(self) -> int:

            return api.runtime().places.arena.statistics().used

    return Holder


def test_a_view_pins_its_memory_after_the_reference_is_gone() -> None:
    ref = core.put(np.full(MIB, 7.0))
    view = core.get(ref)
    part = view[100:200]
    del ref, view
    others = [core.put(np.zeros(MIB)) for _ in range(10)]
    assert part.sum() == 700
    assert used() >= 11 * 8 * MIB
    del others
    assert used() == 8 * MIB


def test_memory_is_used_again() -> None:
    block = np.ones(MIB, np.uint8)
    for _ in range(2_000):
        core.put(block)
    assert native_engine().places.arena.statistics().segments <= 4


def test_results_of_a_worker_return_to_it() -> None:
    holder = make_holder().remote()
    for _ in range(50):
        assert core.get(holder.make.remote(MIB)).sum() == MIB
    wait_until(lambda: core.get(holder.used.remote()) == 0)


def test_arguments_return_when_the_call_is_done() -> None:
    holder = make_holder().remote()
    for _ in range(50):
        core.get(holder.hold.remote(np.ones(MIB)))
    wait_until(lambda: used() == 8 * MIB)  # the last one, which the actor keeps
    assert core.get(holder.total.remote()) == MIB
    core.get(holder.drop.remote())


def test_a_large_result_outlives_the_worker_that_made_it() -> None:
    holder = make_holder().remote()
    ref = holder.make.remote(MIB)
    core.wait([ref])
    core.kill(holder)
    with pytest.raises(exceptions.ActorDiedError):
        core.get(holder.drop.remote(), timeout=SOON_S)
    assert core.get(ref).sum() == MIB
    assert core.get(make_sum().remote(ref)) == MIB


def make_sum() -> Any:
    @core.remote
    def total(array: np.ndarray) -> float:
        return float(array.sum())

    return total


@pytest.mark.parametrize("wrap", [lambda ref: ref, lambda ref: [ref]], ids=["value", "reference"])
def test_an_object_is_freed_when_its_last_holder_lets_go(wrap: Callable[[Any], Any]) -> None:
    first, second = make_holder().remote(), make_holder().remote()
    ref = core.put(np.ones(MIB))
    core.get([first.hold.remote(wrap(ref)), second.hold.remote(wrap(ref))])
    del ref
    core.get(first.drop.remote())
    assert core.get(second.total.remote()) == MIB
    assert used() == 8 * MIB
    core.get(second.drop.remote())
    wait_until(lambda: used() == 0)


def test_a_reference_travels_from_borrower_to_borrower() -> None:
    holders = [make_holder().remote() for _ in range(3)]
    ref = core.put(np.ones(MIB))
    core.get(holders[0].hold.remote([ref]))
    del ref
    for giver, taker in itertools.pairwise(holders):
        core.get(taker.hold.remote(core.get(giver.give.remote())))
        core.get(giver.drop.remote())
    assert core.get(holders[2].total.remote()) == MIB
    (back,) = core.get(holders[2].give.remote())
    core.get(holders[2].drop.remote())
    assert core.get(back).sum() == MIB


def test_a_killed_borrower_holds_nothing() -> None:
    holder = make_holder().remote()
    ref = core.put(np.ones(MIB))
    core.get(holder.hold.remote([ref]))
    del ref
    assert used() == 8 * MIB
    core.kill(holder)
    wait_until(lambda: used() == 0 and lent() == 0)


def test_what_idle_workers_own_outlives_their_idleness() -> None:
    @core.remote
    def nest(n: int) -> list[Any]:
        return [core.put(n), *(core.get(nest.remote(n - 1)) if n else [])]

    refs = core.get(nest.remote(6))  # seven workers for two CPUs: most are one too many
    core.get(core.remote(num_cpus=2)(lambda: 1).remote())  # has all leases given back
    assert core.get(refs, timeout=SOON_S) == [6, 5, 4, 3, 2, 1, 0]


def test_many_references_in_one_value() -> None:
    refs = [core.put(k) for k in range(2_000)]

    @core.remote
    def total(values: list[Any]) -> int:
        return sum(core.get(values))

    assert core.get(total.remote(refs)) == sum(range(2_000))
    outer = core.put(refs)
    del refs
    assert core.get(core.get(outer))[-1] == 1_999


def test_a_view_is_the_same_memory_in_every_process() -> None:
    @core.remote
    def address(array: np.ndarray) -> bool:
        return array.base is not None and not array.flags.owndata and not array.flags.writeable

    assert core.get(address.remote(np.ones(MIB)))
    assert core.get(address.remote(core.put(np.ones(MIB))))


def test_large_code_travels_in_time() -> None:
    table = np.ones(8 * MIB, np.uint8)
    start = time.monotonic()
    assert core.get(core.remote(lambda: int(table.sum())).remote()) == 8 * MIB
    assert time.monotonic() - start < SOON_S


def test_threads_of_the_driver_share_the_runtime() -> None:
    holder, square = make_holder().remote(), core.remote(lambda x: x * x)
    failures: list[BaseException] = []

    def work(k: int) -> None:
        try:
            for n in range(50):
                array = np.full(20_000, k * n)
                ref = core.put(array)
                assert core.get(ref)[0] == k * n
                assert core.get(square.remote(n)) == n * n
                assert core.get(holder.make.remote(10)).sum() == 10
                assert core.wait([ref, holder.make.remote(1)], num_returns=2)[1] == []
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_threads_of_a_worker_may_wait_at_once() -> None:
    @core.remote
    def fan_out() -> list[int]:
        square = core.remote(lambda x: x * x)
        results = [0] * 4

        def work(k: int) -> None:
            results[k] = core.get(square.remote(k))

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    assert core.get([fan_out.remote(), fan_out.remote()], timeout=30) == [[0, 1, 4, 9]] * 2


def test_a_busy_driver_still_serves_its_objects() -> None:
    """Median of ten reads, while this thread holds the interpreter as user code does."""

    @core.remote
    class Reader:
        def time_reads(self, refs: list[Any]) -> list[float]:
            times = []
            for ref in refs:
                start = time.perf_counter()
                core.get(ref)
                times.append(time.perf_counter() - start)
            return times

    reader = Reader.remote()
    core.get(reader.time_reads.remote([]))
    refs = [core.put("x" * 10_000) for _ in range(10)]
    answer = reader.time_reads.remote(refs)
    end = time.perf_counter() + 1.0
    while time.perf_counter() < end:
        sum(range(1000))
    assert sorted(core.get(answer))[5] < patience(
        0.05
    )  # typically 5 ms, an interpreter's switch interval


def test_two_processes_that_call_each_other_at_once() -> None:
    @core.remote(max_concurrency=4)
    class Node:
        def set(self, other: list[Any]) -> None:
            self.other = other[0]

        def one(self) -> int:
            return 1

        def ask(self, n: int) -> int:
            return sum(core.get([self.other.one.remote() for _ in range(n)]))

    for _ in range(5):
        a, b = Node.remote(), Node.remote()
        core.get([a.set.remote([b]), b.set.remote([a])])
        assert core.get([a.ask.remote(50), b.ask.remote(50)], timeout=30) == [50, 50]
        core.kill(a)
        core.kill(b)


def test_a_rush_of_tasks_does_not_starve_an_actor() -> None:
    def linger(folder: str) -> None:
        until = time.monotonic() + 0.005
        while time.monotonic() < until:
            pass

    task = core.remote(linger)
    rush = [task.remote("") for _ in range(1_000)]
    actor = make_holder().remote()
    ready, _ = core.wait([actor.drop.remote()], timeout=SOON_S)
    assert ready
    _, unfinished = core.wait(rush, num_returns=len(rush), timeout=0)
    assert unfinished
    core.get(rush)


def test_what_outlives_a_runtime_does_not_keep_it_in_memory() -> None:
    core.shutdown()
    with core.init(num_cpus=1):
        runtime = weakref.ref(native_engine())
        actor, value = make_holder().remote(), core.put(1)
        result = core.get(actor.__ray_ready__.remote())
        (borrowed,) = core.get(core.remote(lambda: [core.put(2)]).remote())
    gc.collect()
    assert runtime() is None
    assert all((actor, value, result, borrowed))
    core.init(num_cpus=2, object_store_memory=STORE_BYTES)


def test_descriptors_and_memory_stay_flat() -> None:
    holder = make_holder().remote()
    array = np.ones(50_000)

    def work(times: int) -> None:
        for _ in range(times):
            ref = core.put(array)
            core.get([holder.hold.remote(ref), holder.hold.remote([ref]), holder.make.remote(9)])
        core.get(holder.drop.remote())

    work(50)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    work(500)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert native_engine().places.arena.statistics().segments <= 4
