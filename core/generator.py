"""`ObjectRefGenerator`: the results of a generator that runs elsewhere, as they are yielded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, NoReturn

from rllib.core.object_ref import ObjectRef
from rllib.core.runtime import ResultStream


class ObjectRefGenerator(Iterator[Any], AsyncIterator[Any]):
    """Iterates over references, each ready when it comes; ``for`` and ``async for`` both do.

    An exception of the remote generator is the value of one more reference, the last. Belongs to
    the process that made the call: it cannot be pickled. Not for several threads at once.
    """

    def __init__(self, stream: ResultStream) -> None:
        self._stream = stream

    def __next__(self) -> ObjectRef[Any]:
        return self._next_sync(None)

    def _next_sync(self, timeout_s: float | None = None) -> ObjectRef[Any]:
        """The next reference. Raises `StopIteration` after the last, `GetTimeoutError` when there
        is none within ``timeout_s`` seconds."""
        ref = self._stream.take(timeout_s)
        if ref is None:
            raise StopIteration
        return ref

    async def __anext__(self) -> ObjectRef[Any]:
        import asyncio  # takes a third of the time of this package's import

        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        self._stream.when_ready(lambda: loop.call_soon_threadsafe(ready.set))
        await ready.wait()
        ref = self._stream.take(None)
        if ref is None:
            raise StopAsyncIteration
        return ref

    def completed(self) -> ObjectRef[Any]:
        """A reference that is ready when the generator has ended, with ``None``; with an error when
        its process died."""
        return self._stream.completed

    def next_ready(self) -> bool:
        """Whether ``next`` would not block."""
        return self._stream.is_ready

    def is_finished(self) -> bool:
        """Whether the generator has ended and every reference was taken."""
        return self._stream.is_finished

    def send(self, value: Any) -> NoReturn:
        """Not possible. Raises `NotImplementedError`."""
        raise NotImplementedError("a remote generator cannot be sent values; pass it an actor")

    def throw(self, *error: Any) -> NoReturn:
        """Not possible. Raises `NotImplementedError`."""
        raise NotImplementedError("nothing can be thrown into a remote generator; cancel() it")

    def close(self) -> NoReturn:
        """Not possible. Raises `NotImplementedError`."""
        raise NotImplementedError("a remote generator cannot be closed; cancel() it")

    def __reduce__(self) -> Any:
        raise TypeError(
            "an ObjectRefGenerator cannot be pickled; take its references and pass those on"
        )
