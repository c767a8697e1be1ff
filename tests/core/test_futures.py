"""References as futures: awaited on an event loop, or completed in a thread."""

import asyncio
import threading
from typing import Any

import pytest

from rllib import core
from rllib.core.exceptions import TaskError


def remote_echo() -> Any:
    @core.remote
    def echo(value: Any) -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    return echo


@pytest.mark.usefixtures("engine")
class TestEveryEngine:
    def test_references_are_awaited(self) -> None:
        async def main() -> list[int]:
            echo = remote_echo()
            return list(await asyncio.gather(*(echo.remote(index) for index in range(50))))

        assert asyncio.run(main()) == list(range(50))

    def test_an_error_is_raised_where_it_is_awaited(self) -> None:
        async def main() -> None:
            await remote_echo().remote(KeyError("x"))

        with pytest.raises(KeyError) as raised:
            asyncio.run(main())
        assert isinstance(raised.value, TaskError)

    def test_a_future_has_the_value_or_the_error(self) -> None:
        echo = remote_echo()
        assert echo.remote(1).future().result(10) == 1
        assert isinstance(echo.remote(KeyError("x")).future().exception(10), KeyError)
        assert core.put([2]).future().result(10) == [2]

    def test_a_callback_is_given_the_value_or_the_error(self) -> None:
        echo, seen, done = remote_echo(), [], threading.Semaphore(0)
        for value in (1, KeyError("x")):
            ref = echo.remote(value)
            ref._on_completed(lambda result: (seen.append(result), done.release()))
            assert done.acquire(timeout=10)
        assert seen[0] == 1
        assert isinstance(seen[1], KeyError)

    def test_a_callback_is_told_of_the_arrival_alone(self) -> None:
        ref, seen, done = remote_echo().remote(KeyError("x")), [], threading.Event()
        ref._on_ready(lambda error: (seen.append(error), done.set()))
        assert done.wait(10)
        assert seen == [None]

    def test_the_arrival_is_awaited(self) -> None:
        async def main() -> bool:
            ref = remote_echo().remote(KeyError("x"))
            return await ref._ready() is ref

        assert asyncio.run(main())

    def test_a_callback_may_use_the_runtime(self) -> None:
        echo, seen, done = remote_echo(), [], threading.Event()

        def called(future: Any) -> None:
            seen.append(core.get(echo.remote(future.result() + 1)))
            done.set()

        echo.remote(1).future().add_done_callback(called)
        assert done.wait(10)
        assert seen == [2]

    def test_an_actor_awaits_references(self) -> None:
        @core.remote
        class Adder:
            async def add(self, refs: list[Any]) -> int:
                return sum([await ref for ref in refs])

        refs = [remote_echo().remote(index) for index in range(5)]
        assert core.get(Adder.remote().add.remote(refs)) == 10
