"""What does not fit into shared memory goes to disk and is read from there as if nothing were."""

import gc
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines import native_engine
from patience import SOON_S, alive, wait_until

from rllib import core

MIB = 2**20
STORE_BYTES = 64 * MIB
PIECE = 8 * MIB


@pytest.fixture(scope="module", autouse=True)
def runtime() -> Iterator[None]:
    with core.init(num_cpus=2, object_store_memory=STORE_BYTES):
        yield


@pytest.fixture(autouse=True)
def all_files_go(runtime: None) -> Iterator[None]:
    """Whatever a test does, in the end nothing is in use, in memory or on disk."""
    yield
    wait_until(nothing_is_left)
    assert total() <= STORE_BYTES


def nothing_is_left() -> bool:
    gc.collect()
    forget_the_dead()
    return used() == 0 and not files()


def forget_the_dead() -> None:
    """Have the node remove the files of dead processes at once."""
    with native_engine().lock:
        native_engine().node._keeper.remove_files(0.0)


def files() -> list[Path]:
    return list((native_engine()._directory / "spill").iterdir())


def used() -> int:
    with native_engine().lock:
        return native_engine().places.arena.statistics().used


def total() -> int:
    """Shared memory of all processes together, by the ledger."""
    return native_engine().places.arena._ledger.total


def piece(k: float) -> np.ndarray:
    return np.full(MIB, float(k))


def is_piece(array: np.ndarray, k: float) -> bool:
    return array.nbytes == PIECE and bool((array == k).all()) and not array.flags.writeable


@core.remote
def make(k: int) -> np.ndarray:
    return piece(k)


@core.remote
def check(array: np.ndarray, k: int) -> bool:
    return is_piece(array, k)


@core.remote
class Holder:
    def hold(self, refs: list[Any]) -> None:
        self.refs = refs

    def check(self) -> bool:
        return all(is_piece(core.get(ref), k) for k, ref in enumerate(self.refs))

    def view(self) -> None:
        self.views = core.get(self.refs)

    def check_views(self) -> bool:
        return all(is_piece(view, k) for k, view in enumerate(self.views))

    def fill(self, count: int) -> None:
        self.refs = [core.put(piece(k)) for k in range(count)]

    def give(self) -> list[Any]:
        return self.refs

    def drop(self) -> None:
        self.refs = self.views = None

    def churn(self) -> None:
        while True:
            self.fill(12)

    def make(self, k: int) -> np.ndarray:
        return piece(k)

    def pid(self) -> int:
        return os.getpid()


def test_more_is_put_than_fits() -> None:
    refs = [core.put(piece(k)) for k in range(40)]
    assert len(files()) == 40 - STORE_BYTES // PIECE
    assert used() == STORE_BYTES
    assert all(is_piece(core.get(ref), k) for k, ref in enumerate(refs))
    assert core.wait(refs, num_returns=40, timeout=0)[1] == []
    assert all(core.get([check.remote(ref, k) for k, ref in enumerate(refs)]))
    assert {path.stat().st_mode & 0o777 for path in files()} == {0o600}
    del refs[::2]
    wait_until(lambda: len(files()) <= 20)


def test_what_was_used_last_stays() -> None:
    refs = [core.put(piece(k)) for k in range(8)]
    core.get(refs[0])
    more = core.put(piece(8))
    assert [in_memory(ref) for ref in [*refs, more]] == [True, False, *7 * [True]]


def in_memory(ref: Any) -> bool:
    return not hasattr(ref.outcome.region, "path")


def test_views_stay_and_what_finds_no_room_is_on_disk() -> None:
    views = [core.get(core.put(piece(k))) for k in range(20)]
    assert all(is_piece(view, k) for k, view in enumerate(views))
    assert len(files()) == 12 - 12  # a file goes with its reference, its pages stay with the view
    assert used() == STORE_BYTES


def test_a_value_larger_than_the_store() -> None:
    ref = core.put(np.ones(STORE_BYTES // 8 + 1))
    assert core.get(ref).sum() == STORE_BYTES // 8 + 1
    assert used() == 0
    assert core.get(core.remote(lambda array: float(array.sum())).remote(ref)) == 8 * MIB + 1


def test_results_of_tasks_and_tasks_on_them() -> None:
    refs = [make.remote(k) for k in range(40)]
    done = [check.remote(ref, k) for k, ref in enumerate(refs)]
    assert all(core.get(done))
    assert all(is_piece(core.get(ref), k) for k, ref in enumerate(refs))
    assert total() <= STORE_BYTES


def test_large_arguments_that_wait_for_their_turn() -> None:
    assert all(core.get([check.remote(piece(k), k) for k in range(24)]))
    holder = Holder.remote()
    for _ in range(24):
        holder.hold.remote([piece(1)])
    core.get(holder.drop.remote())


def test_an_actor_holds_references() -> None:
    holder = Holder.remote()
    refs = [core.put(piece(k)) for k in range(20)]
    core.get(holder.hold.remote(refs))
    assert core.get(holder.check.remote())
    del refs
    assert core.get(holder.check.remote())
    core.get(holder.drop.remote())


def test_a_reader_keeps_its_views_while_the_owner_moves_the_value() -> None:
    holder = Holder.remote()
    refs = [core.put(piece(k)) for k in range(4)]
    core.get(holder.hold.remote(refs))
    core.get(holder.view.remote())
    others = [core.put(piece(k)) for k in range(20)]
    assert not any(in_memory(ref) for ref in refs)
    assert core.get(holder.check_views.remote())
    assert core.get(holder.check.remote())
    assert used() == STORE_BYTES  # the old places are read, so they count
    core.get(holder.drop.remote())
    del refs, others


def test_old_places_return_when_the_reader_lets_go() -> None:
    holder = Holder.remote()
    refs = [core.put(piece(k)) for k in range(8)]
    core.get(holder.hold.remote(refs))
    core.get(holder.view.remote())
    others = [core.put(piece(k)) for k in range(4)]  # to disk: everything is read
    core.kill(holder)
    wait_until(lambda: used() < STORE_BYTES)
    assert all(is_piece(core.get(ref), k) for k, ref in enumerate(refs))
    del others


def test_objects_of_a_worker() -> None:
    holder = Holder.remote()
    core.get(holder.fill.remote(20))
    refs = core.get(holder.give.remote())
    assert core.get(holder.check.remote())
    assert all(is_piece(core.get(ref), k) for k, ref in enumerate(refs))
    assert total() <= STORE_BYTES
    core.get(holder.drop.remote())


def test_idle_values_of_others_make_room() -> None:
    refs = [core.put(piece(k)) for k in range(8)]
    holder = Holder.remote()
    core.get(holder.fill.remote(4))
    assert sum(in_memory(ref) for ref in refs) < 8
    wait_until(lambda: used() < STORE_BYTES)
    assert all(is_piece(core.get(ref), k) for k, ref in enumerate(refs))
    core.get(holder.drop.remote())


def test_two_processes_under_pressure_at_once() -> None:
    holders = [Holder.remote() for _ in range(2)]
    busy = [holder.fill.remote(20) for holder in holders]
    refs = [core.put(piece(k)) for k in range(20)]
    core.get(busy)
    assert core.get([holder.check.remote() for holder in holders]) == [True, True]
    assert all(is_piece(core.get(ref), k) for k, ref in enumerate(refs))
    assert total() <= STORE_BYTES
    core.get([holder.drop.remote() for holder in holders])


def test_threads_under_pressure() -> None:
    failures: list[BaseException] = []

    def work(k: int) -> None:
        try:
            for _ in range(3):
                refs = [core.put(piece(k * n)) for n in range(6)]
                refs.append(make.remote(k * 6))
                assert all(is_piece(core.get(ref), k * n) for n, ref in enumerate(refs))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_large_result_on_disk_outlives_the_worker_that_made_it() -> None:
    pinned = [core.get(core.put(piece(k))) for k in range(8)]
    holder = Holder.remote()
    ref = holder.make.remote(3)
    core.wait([ref])
    assert files()
    pid = core.get(holder.pid.remote())
    core.kill(holder)
    wait_until(lambda: not alive(pid))
    forget_the_dead()
    assert is_piece(core.get(ref), 3)
    assert core.get(check.remote(ref, 3))
    del pinned


@pytest.mark.parametrize("pause", [0.0, 0.05, 0.2])
def test_a_worker_is_killed_while_it_spills(pause: float) -> None:
    holder = Holder.options(max_concurrency=2).remote()
    pid = core.get(holder.pid.remote())
    forever = holder.churn.remote()
    wait_until(files)
    threading.Event().wait(pause)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(core.exceptions.ActorDiedError):
        core.get(forever, timeout=SOON_S)
    wait_until(lambda: native_engine().node._keeper._dead)
    forget_the_dead()
    assert not files()
    assert total() <= STORE_BYTES
    refs = [core.put(piece(k)) for k in range(12)]
    assert all(is_piece(core.get(ref), k) for k, ref in enumerate(refs))
