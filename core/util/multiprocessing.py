"""`multiprocessing.Pool` on actors: the standard library's interface, with Ray's options.

::

    with Pool(4) as pool:
        squares = pool.map(square, range(1000))

Worker processes may start tasks and actors of their own, and functions and arguments may be
closures. When a worker process dies, its calls raise `ActorDiedError` and another takes its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from multiprocessing import TimeoutError
from typing import Any

from rllib.core import api
from rllib.core.exceptions import ActorDiedError
from rllib.core.remote import ActorClass, ActorHandle
from rllib.core.util.pool_results import (
    AsyncResult,
    Call,
    Callback,
    Chunk,
    IMapIterator,
    all_ready,
    outcomes,
)

__all__ = ["AsyncResult", "IMapIterator", "Pool", "TimeoutError"]

_CHUNKS_PER_WORKER = 4
_IMAP_CHUNKS_PER_WORKER = 2
"""One that runs and one that waits for it to end."""


class _PoolActor:
    """Runs chunks of calls."""

    def __init__(self, initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> None:
        if initializer is not None:
            initializer(*initargs)

    def ping(self) -> None:
        """Answer, to tell that the initializer is done."""

    def run(self, function: Callable[..., Any], calls: list[Call]) -> list[Any]:
        """The outcomes of all calls."""
        return outcomes(function, calls)


class _Worker:
    """An actor, and the chunks that it has not finished."""

    def __init__(self, actor: ActorHandle) -> None:
        self.actor = actor
        self.given = 0
        self.died = False
        self._under_way: deque[Chunk] = deque()

    def run(self, function: Callable[..., Any], calls: list[Call]) -> Chunk:
        chunk: Chunk = self.actor.run.remote(function, calls)
        self._under_way.append(chunk)
        self.given += 1
        return chunk

    def load(self) -> int:
        """Number of unfinished chunks; they finish in order."""
        while self._under_way and all_ready([self._under_way[0]]):
            ended = self._under_way.popleft()
            self.died = self.died or isinstance(api.error_of(ended), ActorDiedError)
        return len(self._under_way)

    def join(self) -> None:
        if self._under_way:
            api.wait(list(self._under_way), num_returns=len(self._under_way))


class Pool:
    """A fixed number of worker processes (default: one for each CPU of the runtime).

    ``initializer(*initargs)`` runs in each first. With ``maxtasksperchild`` a worker is replaced
    after that many chunks. ``ray_remote_args`` are options of the worker actors, which ask for no
    CPUs by default. ``ray_address`` is what `init` is given, if there is no runtime yet.

    Raises `ActorDiedError` with the traceback when the initializer raises, `ValueError` for
    ``context``, which means nothing here.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., None] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
        ray_address: str | None = None,
        ray_remote_args: dict[str, Any] | None = None,
    ) -> None:
        for name, number in (("processes", processes), ("maxtasksperchild", maxtasksperchild)):
            if number is not None and number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        if context is not None:
            raise ValueError("context is not supported: the runtime starts processes in its way")
        if not api.is_initialized():
            api.init(address=ray_address, num_cpus=processes)
        count = processes or max(1, int(api.cluster_resources().get("CPU", 1)))
        self._actor_class = ActorClass(_PoolActor, {"num_cpus": 0, **(ray_remote_args or {})})
        self._initial = (initializer, tuple(initargs or ()))
        self._limit = maxtasksperchild
        self._closed = self._terminated = False
        self._retired: list[_Worker] = []
        self._workers = [self._new_worker() for _ in range(count)]
        api.get([worker.actor.ping.remote() for worker in self._workers])

    # -- workers -------------------------------------------------------------------------------

    def _new_worker(self) -> _Worker:
        return _Worker(self._actor_class.remote(*self._initial))

    def _check_running(self) -> None:
        if self._closed:
            raise ValueError("Pool not running")

    def _run(self, function: Callable[..., Any], calls: list[Call]) -> Chunk:
        """Have the least busy worker run a chunk."""
        if self._terminated:
            raise ValueError("Pool not running")
        loads = [worker.load() for worker in self._workers]
        index = loads.index(min(loads))
        worker = self._workers[index]
        if worker.died:
            worker = self._workers[index] = self._new_worker()
        chunk = worker.run(function, calls)
        if worker.given == self._limit:
            self._retire(index)
        return chunk

    def _retire(self, index: int) -> None:
        """Replace a worker; it ends once its work is done."""
        self._retired = [worker for worker in self._retired if worker.load()]
        self._retired.append(self._workers[index])
        self._workers[index] = self._new_worker()

    # -- single calls --------------------------------------------------------------------------

    def apply(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """``func(*args, **kwargs)`` in a worker."""
        return self.apply_async(func, args, kwargs).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwargs: dict[str, Any] | None = None,
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> AsyncResult:
        """`apply`, without waiting."""
        self._check_running()
        chunk = self._run(func, [(tuple(args or ()), kwargs or {})])
        return AsyncResult([chunk], single=True, callback=callback, error_callback=error_callback)

    # -- maps ----------------------------------------------------------------------------------

    def map(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = None
    ) -> list[Any]:
        """``func`` of every element, in order."""
        values: list[Any] = self.map_async(func, iterable, chunksize).get()
        return values

    def map_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> AsyncResult:
        """`map`, without waiting. ``callback`` is given the whole list."""
        calls: list[Call] = [((element,), {}) for element in iterable]
        return self._map(func, calls, chunksize, callback, error_callback)

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
    ) -> list[Any]:
        """``func(*element)`` of every element, in order."""
        values: list[Any] = self.starmap_async(func, iterable, chunksize=chunksize).get()
        return values

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        callback: Callback | None = None,
        error_callback: Callback | None = None,
        *,
        chunksize: int | None = None,
    ) -> AsyncResult:
        """`starmap`, without waiting."""
        calls: list[Call] = [(tuple(element), {}) for element in iterable]
        return self._map(func, calls, chunksize, callback, error_callback)

    def _map(
        self,
        func: Callable[..., Any],
        calls: list[Call],
        chunksize: int | None,
        callback: Callback | None,
        error_callback: Callback | None,
    ) -> AsyncResult:
        self._check_running()
        share = -(-len(calls) // (_CHUNKS_PER_WORKER * len(self._workers)))
        size = _checked_size(max(1, share) if chunksize is None else chunksize)
        starts = range(0, len(calls), size)
        chunks = [self._run(func, calls[start : start + size]) for start in starts]
        return AsyncResult(chunks, callback=callback, error_callback=error_callback)

    def imap(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int = 1
    ) -> IMapIterator:
        """``func`` of every element, in order, each as soon as it is there."""
        return self._imap(func, iterable, chunksize, ordered=True)

    def imap_unordered(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int = 1
    ) -> IMapIterator:
        """``func`` of every element, whichever is there first."""
        return self._imap(func, iterable, chunksize, ordered=False)

    def _imap(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int, *, ordered: bool
    ) -> IMapIterator:
        self._check_running()
        size = _checked_size(chunksize)
        source = iter(iterable)

        def start_next() -> Chunk | None:
            calls: list[Call] = [((element,), {}) for element in islice(source, size)]
            return self._run(func, calls) if calls else None

        return IMapIterator(start_next, _IMAP_CHUNKS_PER_WORKER * len(self._workers), ordered)

    # -- the end -------------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more work; what was begun goes on."""
        self._closed = True

    def terminate(self) -> None:
        """End the workers at once; calls under way raise `ActorDiedError`."""
        self._closed = self._terminated = True
        for worker in (*self._workers, *self._retired):
            api.kill(worker.actor)

    def join(self) -> None:
        """Wait for all work, and end the workers. Raises `ValueError` before `close`."""
        if not self._closed:
            raise ValueError("Pool is still running")
        for worker in (*self._workers, *self._retired):
            worker.join()
        self.terminate()

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(self, *exc: object) -> None:
        self.terminate()


def _checked_size(chunksize: int) -> int:
    if chunksize < 1:
        raise ValueError(f"chunksize must be at least 1, got {chunksize}")
    return chunksize
