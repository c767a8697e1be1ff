"""`multiprocessing.Pool`: the standard library's behaviour, on every engine."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from engines import on
from patience import wait_until

from rllib import core
from rllib.core.exceptions import ActorDiedError, TaskError
from rllib.core.util.multiprocessing import Pool

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(2) as pool:
        yield pool


@pytest.fixture
def parallel(engine: str) -> None:
    if engine == "inline":
        pytest.skip("a serial engine has no processes and no unfinished work")


# Functions are made within functions, so that they travel by value.


def arithmetic() -> Any:
    def inverse(value: int) -> float:
        return 1 / value

    return inverse


def adder() -> Any:
    def add(a: int, b: int = 0) -> int:
        return a + b

    return add


# -- values ----------------------------------------------------------------------------------------


def test_apply(pool: Pool) -> None:
    assert pool.apply(adder(), (1,), {"b": 2}) == 3
    assert pool.apply(adder(), [4]) == 4
    result = pool.apply_async(adder(), (1, 2))
    assert result.get(timeout=10) == 3
    assert result.ready()
    assert result.successful()


@pytest.mark.parametrize("chunksize", [None, 1, 3, 100])
def test_maps_keep_the_order(pool: Pool, chunksize: int | None) -> None:
    assert pool.map(adder(), range(10), chunksize) == list(range(10))
    assert pool.map_async(adder(), iter(range(10)), chunksize).get() == list(range(10))
    pairs = [(n, n) for n in range(10)]
    assert pool.starmap(adder(), pairs, chunksize) == [2 * n for n in range(10)]
    assert pool.starmap_async(adder(), pairs, chunksize=chunksize).get() == [
        2 * n for n in range(10)
    ]
    assert list(pool.imap(adder(), range(10), chunksize or 1)) == list(range(10))
    assert sorted(pool.imap_unordered(adder(), range(10), chunksize or 1)) == list(range(10))


def test_nothing_to_do(pool: Pool) -> None:
    assert pool.map(adder(), []) == []
    assert list(pool.imap(adder(), [])) == []
    assert pool.map_async(adder(), []).successful()


def test_imap_takes_its_input_as_results_are_taken(pool: Pool) -> None:
    taken = []
    results = pool.imap(adder(), (taken.append(n) or n for n in range(100)), chunksize=2)
    assert len(taken) == 8  # two chunks of two for each of two workers
    assert [next(results), next(results)] == [0, 1]
    assert len(taken) == 10


# -- errors ----------------------------------------------------------------------------------------


def test_the_function_s_own_exception_is_raised(pool: Pool) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        pool.map(arithmetic(), [2, 1, 0])
    assert type(caught.value) is ZeroDivisionError
    assert isinstance(caught.value.__cause__, TaskError)
    assert "in inverse" in str(caught.value.__cause__)
    failed = pool.apply_async(arithmetic(), (0,))
    failed.wait()
    assert not failed.successful()


def test_an_exception_that_cannot_travel_is_told_in_words(pool: Pool) -> None:
    def fail() -> None:
        class Odd(Exception):
            def __reduce__(self) -> tuple[str, ...]:
                raise TypeError("stays here")

        raise Odd("strange")

    with pytest.raises(TaskError, match="strange"):
        pool.apply(fail)


def test_imap_raises_at_the_place_and_goes_on(pool: Pool) -> None:
    results = pool.imap(arithmetic(), [1, 0, 2], chunksize=3)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert next(results) == 0.5
    with pytest.raises(StopIteration):
        next(results)


def test_what_makes_no_sense_is_refused(pool: Pool) -> None:
    with pytest.raises(ValueError, match="processes"):
        Pool(0)
    with pytest.raises(ValueError, match="maxtasksperchild"):
        Pool(1, maxtasksperchild=0)
    with pytest.raises(ValueError, match="context"):
        Pool(1, context=multiprocessing.get_context("spawn"))
    with pytest.raises(ValueError, match="chunksize"):
        pool.map(adder(), [1], chunksize=0)
    with pytest.raises(ValueError, match="chunksize"):
        pool.imap(adder(), [1], chunksize=0)


# -- callbacks -------------------------------------------------------------------------------------


def test_callbacks_are_given_the_whole_result_or_the_error(pool: Pool) -> None:
    told: list[Any] = []
    pool.map_async(adder(), range(5), 2, callback=told.append, error_callback=told.append)
    wait_until(lambda: told)
    assert told.pop() == list(range(5))
    pool.apply_async(adder(), (7,), callback=told.append)
    wait_until(lambda: told)
    assert told.pop() == 7
    pool.map_async(arithmetic(), [0], callback=told.append, error_callback=told.append)
    wait_until(lambda: told)
    assert isinstance(told.pop(), ZeroDivisionError)
    pool.map_async(adder(), [], callback=told.append)
    assert told == [[]]


# -- workers ---------------------------------------------------------------------------------------


def test_the_initializer_runs_in_each_worker_first() -> None:
    def prepare(value: str) -> None:
        os.environ["POOL_TEST_VALUE"] = value

    def read(_: int) -> str:
        return os.environ["POOL_TEST_VALUE"]

    with Pool(2, prepare, ("set",)) as pool:
        assert pool.map(read, range(4), 1) == ["set"] * 4
    os.environ.pop("POOL_TEST_VALUE", None)  # inline, it was this process


def test_an_initializer_that_fails_is_an_error_of_the_pool() -> None:
    def fail() -> None:
        raise OSError("no licence")

    with pytest.raises(ActorDiedError, match="no licence"):
        Pool(1, fail)


def pid_of() -> Any:
    def pid(_: Any = None) -> int:
        return os.getpid()

    return pid


@pytest.mark.usefixtures("parallel")
def test_workers_are_as_many_processes_and_share_the_work(pool: Pool) -> None:
    pids: set[int] = set()

    def both_have_worked() -> bool:  # one may do it all while the other one still starts
        pids.update(pool.map(pid_of(), range(8), 1))
        return len(pids) == 2

    wait_until(both_have_worked)
    assert os.getpid() not in pids


@pytest.mark.usefixtures("parallel")
def test_a_worker_is_replaced_after_its_share() -> None:
    with Pool(1, maxtasksperchild=2) as pool:
        pids = pool.map(pid_of(), range(6), 1)
        assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] == pids[5]


@pytest.mark.usefixtures("parallel")
def test_a_killed_worker_fails_its_calls_and_is_replaced(engine: str) -> None:
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with Pool(1) as pool:
        before = pool.apply(pid_of())
        with pytest.raises(ActorDiedError, match=on(engine, "SIGKILL", ray="died")):
            pool.apply(die)
        assert pool.apply(pid_of()) != before


# -- the end ---------------------------------------------------------------------------------------


def test_a_closed_pool_ends_its_work_and_takes_no_more() -> None:
    pool = Pool(2)
    with pytest.raises(ValueError, match="still running"):
        pool.join()
    result = pool.map_async(adder(), range(100), 1)
    lazy = pool.imap(adder(), range(20))
    pool.close()
    with pytest.raises(ValueError, match="not running"):
        pool.apply(adder(), (1,))
    with pytest.raises(ValueError, match="not running"), pool:
        pass
    assert list(lazy) == list(range(20))
    pool.join()
    assert result.get(timeout=0) == list(range(100))


def test_a_terminated_pool_does_nothing_more() -> None:
    pool = Pool(1)
    lazy = pool.imap(adder(), range(20))
    pool.terminate()
    with pytest.raises((ValueError, ActorDiedError)):
        list(lazy)
    pool.join()


@pytest.mark.usefixtures("parallel")
def test_unfinished_work() -> None:
    def block() -> None:
        threading.Event().wait()

    pool = Pool(1)
    result = pool.apply_async(block)
    assert not result.ready()
    with pytest.raises(multiprocessing.TimeoutError, match=r"0\.01 s"):
        result.get(timeout=0.01)
    with pytest.raises(ValueError, match="not there yet"):
        result.successful()
    lazy = pool.imap(adder(), [1])
    with pytest.raises(multiprocessing.TimeoutError):
        lazy.next(timeout=0.01)
    pool.terminate()
    with pytest.raises(ActorDiedError):
        result.get(timeout=10)
    assert core.is_initialized()
