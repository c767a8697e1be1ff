"""Generators as tasks and methods: on every engine, results come one by one and in order."""

import asyncio
import pickle
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

from rllib import core


def remote_count() -> Any:
    @core.remote
    def count(n: int, error: Exception | None = None) -> Iterator[int]:
        yield from range(n)
        if error is not None:
            raise error

    return count


def make_yielder() -> Any:
    @core.remote
    class Yielder:
        def count(self, n: int) -> Iterator[int]:
            yield from range(n)

    return Yielder


@pytest.mark.usefixtures("engine")
class TestEveryEngine:
    def test_results_come_in_order(self) -> None:
        results = remote_count().remote(5)
        assert isinstance(results, core.ObjectRefGenerator)
        assert [core.get(ref) for ref in results] == [0, 1, 2, 3, 4]
        assert results.is_finished()
        with pytest.raises(StopIteration):
            next(results)
        assert core.get(results.completed()) is None

    def test_an_exception_is_the_last_result(self) -> None:
        results = remote_count().remote(2, KeyError("x"))
        first, second, last = list(results)
        assert core.get([first, second]) == [0, 1]
        with pytest.raises(KeyError):
            core.get(last)
        assert core.get(results.completed()) is None

    def test_nothing_goes_into_one(self) -> None:
        results = remote_count().remote(1)
        for attempt in (lambda: results.send(1), lambda: results.throw(KeyError), results.close):
            with pytest.raises(NotImplementedError):
                attempt()

    def test_methods_yield_as_tasks_do(self) -> None:
        actor = make_yielder().remote()
        assert [core.get(ref) for ref in actor.count.remote(3)] == [0, 1, 2]

    def test_asynchronous_generators_yield(self) -> None:
        @core.remote
        class Slow:
            async def count(self, n: int) -> AsyncIterator[int]:
                for index in range(n):
                    await asyncio.sleep(0)
                    yield index

        actor = Slow.remote()
        assert [core.get(ref) for ref in actor.count.remote(4)] == [0, 1, 2, 3]

    def test_what_an_asynchronous_generator_yields_before_it_fails_is_there(self) -> None:
        @core.remote
        class Fragile:
            async def count(self, n: int) -> AsyncIterator[int]:
                for index in range(n):
                    yield index
                raise KeyError("spent")

        *there, last = list(Fragile.remote().count.remote(2))
        assert core.get(there) == [0, 1]
        with pytest.raises(KeyError, match="spent"):
            core.get(last)

    def test_they_are_iterated_asynchronously(self) -> None:
        async def collect() -> list[int]:
            return [await ref async for ref in remote_count().remote(4)]

        assert asyncio.run(collect()) == [0, 1, 2, 3]

    def test_large_results_come_without_a_copy(self) -> None:
        @core.remote
        def arrays(n: int) -> Iterator[Any]:
            for index in range(n):
                yield np.full(100_000, index)

        for index, ref in enumerate(arrays.remote(5)):
            array = core.get(ref)
            assert (array == index).all()
            assert not array.flags.writeable

    def test_get_leaves_a_generator_alone_and_wait_looks_at_its_next_result(self) -> None:
        results = remote_count().remote(1)
        assert core.get(results) is results
        assert core.wait([results], timeout=30) == ([results], [])
        other = core.put(1)
        ready, rest = core.wait([results, other], num_returns=2, timeout=30)
        assert (ready, rest) == ([results, other], [])

    def test_they_cannot_be_passed_on(self) -> None:
        results = remote_count().remote(1)
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(results)
        with pytest.raises(TypeError, match="cannot be pickled"):
            core.put(results)
        list(results)

    def test_a_fixed_number_of_returns_takes_the_first_ones(self) -> None:
        first, second = remote_count().options(num_returns=2).remote(3)
        assert core.get([first, second]) == [0, 1]
        assert core.get(remote_count().options(num_returns=1).remote(3)) == 0

    def test_what_is_no_generator_does_not_stream(self) -> None:
        plain = core.remote(lambda: 1)
        with pytest.raises(ValueError, match="streaming"):
            plain.options(num_returns="streaming").remote()
