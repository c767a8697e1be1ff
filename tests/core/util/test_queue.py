"""`Queue`, on every engine; waiting, where several processes can."""

import asyncio
from typing import Any

import pytest

from rllib import core
from rllib.core.exceptions import ActorDiedError
from rllib.core.util.queue import Empty, Full, Queue

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
def parallel(engine: str) -> None:
    if engine == "inline":
        pytest.skip("a serial engine cannot wait")


@core.remote(num_cpus=0)
def take(queue: Queue, count: int) -> list[Any]:
    return [queue.get() for _ in range(count)]


@core.remote(num_cpus=0)
def fill(queue: Queue, items: list[Any]) -> None:
    for item in items:
        queue.put(item)


def test_first_in_first_out() -> None:
    queue = Queue()
    assert queue.empty()
    for item in ("a", None, [1, 2]):
        queue.put(item)
    assert (queue.qsize(), queue.size(), len(queue), queue.empty(), queue.full()) == (
        *(3, 3, 3),
        *(False, False),
    )
    assert [queue.get(), queue.get(), queue.get()] == ["a", None, [1, 2]]


def test_a_full_queue_refuses() -> None:
    queue = Queue(maxsize=2)
    queue.put_nowait(1)
    queue.put(2, timeout=1)
    assert queue.full()
    with pytest.raises(Full):
        queue.put_nowait(3)
    with pytest.raises(Full):
        queue.put(3, timeout=0.01)
    assert queue.get_nowait_batch(2) == [1, 2]


def test_an_empty_queue_gives_nothing() -> None:
    queue = Queue()
    with pytest.raises(Empty):
        queue.get_nowait()
    with pytest.raises(Empty):
        queue.get(timeout=0.01)


def test_batches_are_all_or_nothing() -> None:
    queue = Queue(maxsize=3)
    queue.put_nowait_batch(iter([1, 2]))
    with pytest.raises(Full, match="2 items"):
        queue.put_nowait_batch([3, 4])
    with pytest.raises(Empty, match="3 items"):
        queue.get_nowait_batch(3)
    assert queue.get_nowait_batch(0) == []
    assert queue.get_nowait_batch(2) == [1, 2]


def test_what_makes_no_sense_is_refused() -> None:
    queue = Queue()
    with pytest.raises(ValueError, match="negative"):
        queue.get(timeout=-1)
    with pytest.raises(ValueError, match="negative"):
        queue.put(1, timeout=-1)
    with pytest.raises(TypeError, match="iterable"):
        queue.put_nowait_batch(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="int"):
        queue.get_nowait_batch(1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 0"):
        queue.get_nowait_batch(-1)


def test_a_reference_arrives_as_its_value_and_one_in_a_batch_as_a_reference() -> None:
    queue = Queue()
    queue.put(core.put("value"))
    queue.put_nowait_batch([core.put("kept")])
    assert queue.get() == "value"
    assert core.get(queue.get()) == "kept"


def test_tasks_share_a_queue() -> None:
    queue = Queue()
    core.get(fill.remote(queue, [1, 2, 3]))
    assert core.get(take.remote(queue, 3)) == [1, 2, 3]


def test_shutdown_ends_it_after_what_was_asked_before(engine: str) -> None:
    queue = Queue()
    added = queue.actor.put.remote(1, None)
    if engine == "ray":  # calls of a coroutine begin there in any order
        core.wait([added], timeout=30)
    queue.shutdown()
    assert core.get(added)
    puts = 10_000 if engine == "ray" else 1  # Ray's actor answers on for a moment
    with pytest.raises(ActorDiedError):
        _ = [queue.put(2) for _ in range(puts)]


def test_what_would_wait_forever_is_an_error_on_a_serial_engine(engine: str) -> None:
    if engine != "inline":
        pytest.skip("others wait")
    queue = Queue(maxsize=1)
    with pytest.raises(RuntimeError, match="empty"):
        queue.get()
    queue.put(1)
    with pytest.raises(RuntimeError, match="full"):
        queue.put(2)


def test_coroutines_use_it_as_well() -> None:
    async def exchange(queue: Queue) -> list[Any]:
        await queue.put_async("item")
        with pytest.raises(Full):
            await queue.put_async("more", timeout=0.01)
        with pytest.raises(Full):
            await queue.put_async("more", block=False)
        taken = [await queue.get_async()]
        with pytest.raises(Empty):
            await queue.get_async(block=False)
        with pytest.raises(Empty):
            await queue.get_async(timeout=0.01)
        return taken

    assert asyncio.run(exchange(Queue(maxsize=1))) == ["item"]


@pytest.mark.usefixtures("parallel")
class TestWaiting:
    def test_producers_and_consumers_of_a_small_queue(self) -> None:
        queue = Queue(maxsize=2)
        producers = [fill.remote(queue, [(index, n) for n in range(20)]) for index in range(2)]
        taken = core.get(take.remote(queue, 40), timeout=30)
        core.get(producers, timeout=30)
        assert sorted(taken) == [(index, n) for index in range(2) for n in range(20)]
        for index in range(2):  # each producer's own order is kept
            assert [n for who, n in taken if who == index] == list(range(20))

    def test_thousands_may_wait(self, engine: str) -> None:
        queue = Queue()
        waiting = [queue.actor.get.remote(None) for _ in range(3000)]
        queue.put_nowait_batch(range(3000))
        taken = core.get(waiting, timeout=30)
        if engine == "ray":  # calls of a coroutine begin there in any order
            taken.sort()
        assert taken == [[item] for item in range(3000)]

    def test_coroutines_wait_for_each_other(self) -> None:
        async def meet(queue: Queue) -> list[int]:
            waiting = asyncio.gather(*(queue.get_async(timeout=10) for _ in range(50)))
            for item in range(50):
                await queue.put_async(item)
            return await waiting

        assert sorted(asyncio.run(meet(Queue()))) == list(range(50))

    def test_waiting_consumers_learn_that_the_queue_is_gone(self) -> None:
        queue = Queue()
        waiting = [take.remote(queue, 1) for _ in range(2)]
        assert queue.empty()
        queue.shutdown(force=True)
        for ref in waiting:
            with pytest.raises(ActorDiedError):
                core.get(ref, timeout=10)

    def test_a_consumer_that_gives_up_in_time_leaves_the_item_to_the_next(self) -> None:
        queue = Queue()
        with pytest.raises(Empty):
            queue.get(timeout=0.01)
        waiting = take.remote(queue, 1)
        queue.put("item")
        assert core.get(waiting, timeout=10) == ["item"]
