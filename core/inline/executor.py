"""Runs the calls of the inline engine: one at a time, or one inside another."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
import itertools
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import Any

from rllib.core import trace
from rllib.core.facts import TaskFacts
from rllib.core.inline.jobs import Job, Policy, Setting
from rllib.core.inline.objects import InlineRef, Objects, stored
from rllib.core.inline.streams import InlineStream, LastRef
from rllib.core.object_ref import ObjectRef
from rllib.core.records import Args, Kwargs
from rllib.core.results import split_result
from rllib.core.serialization import Packed

MAX_SPANS = 100_000
"""For the timeline, which has the last ones."""

_END = object()


class Executor:
    """Takes a call from its arguments to its references, and knows what runs now."""

    def __init__(self, objects: Objects) -> None:
        self.job: Job | None = None
        self._objects = objects
        self._spans: deque[trace.Span] | None = (
            deque(maxlen=MAX_SPANS) if trace.is_wanted() else None
        )

    # -- calls ---------------------------------------------------------------------------------

    def run(
        self, job: Job, function: Callable[..., Any], args: Args, kwargs: Kwargs, policy: Policy
    ) -> list[ObjectRef[Any]]:
        """Run it to its end; the references of its results, or of its exception.

        Lets `SystemExit` pass.
        """
        packed = stored((args, kwargs))
        while True:
            try:
                with self.running(job):
                    result = self._result(function, packed)
                    values = split_result(lambda: job.name, result, policy.num_returns)
                return [self._objects.store(value, job.id) for value in values]
            except (Exception, asyncio.CancelledError) as error:
                failure = job.failure(error)
                if not policy.retries_after(failure):
                    return self.failed(failure, policy.num_returns, job.id)

    def failed(self, error: Exception, num_returns: int, task: str = "") -> list[ObjectRef[Any]]:
        """What a call comes to that could not run, or failed."""
        return [self._objects.ready(error, task) for _ in range(num_returns)]

    def _result(self, function: Callable[..., Any], packed: Packed) -> Any:
        args, kwargs = self._objects.arguments(packed)
        result = function(*args, **kwargs)
        return _run_coroutine(result) if inspect.iscoroutine(result) else result

    # -- generators ----------------------------------------------------------------------------

    def stream(
        self, job: Job, function: Callable[..., Any], args: Args, kwargs: Kwargs, policy: Policy
    ) -> InlineStream:
        """Begin it; each of its results is made when it is taken."""
        results = self._retried(job, function, stored((args, kwargs)), policy)
        return self._new_stream(
            self._advanced(job, results),
            lambda error: self._objects.ready(job.failure(error), job.id),
            job.id,
        )

    def failed_stream(self, error: Exception) -> InlineStream:
        """What a generator comes to that could not run."""
        stream = self._new_stream(iter(()), self._objects.ready)
        stream.stop(self._objects.ready(error))
        return stream

    def _new_stream(
        self,
        results: Iterator[InlineRef],
        failure: Callable[[Exception], InlineRef],
        task: str = "",
    ) -> InlineStream:
        return InlineStream(results, failure, self._objects.new(LastRef, task))

    def _advanced(self, job: Job, results: Iterator[Any]) -> Iterator[InlineRef]:
        """The references of all results; the job runs only while one is being made."""
        while True:
            with self.running(job):
                value = next(results, _END)
            if value is _END:
                return
            yield self._objects.store(value, job.id)

    def _retried(
        self, job: Job, function: Callable[..., Any], packed: Packed, policy: Policy
    ) -> Iterator[Any]:
        """All results; what a run that failed has yielded already, the next one passes over."""
        sent = 0
        while True:
            try:
                for value in itertools.islice(self._results(job, function, packed), sent, None):
                    sent += 1
                    yield value
                return
            except Exception as error:
                if not policy.retries_after(job.failure(error)):
                    raise

    def _results(self, job: Job, function: Callable[..., Any], packed: Packed) -> Iterator[Any]:
        result = self._result(function, packed)
        if isinstance(result, AsyncIterator):  # lives on an event loop, so it runs as a whole
            result = _replayed(*_run_coroutine(_collect(result)))
        if not isinstance(result, Iterable):
            raise TypeError(f"{job.name} was to yield, but returned {type(result).__name__}")
        yield from result

    # -- what runs -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def running(self, job: Job) -> Iterator[None]:
        """The job is the one that runs, in its environment; its span is noted at the end."""
        before, self.job = self.job, job
        job.parent = before
        began, failed = time.time_ns(), True
        try:
            with _environment(job.setting):
                yield
            failed = False
        finally:
            self.job = before
            if self._spans is not None:
                self._spans.append(job.span(began, failed))

    def tasks(self) -> list[TaskFacts]:
        """What runs, and what was recorded."""
        from rllib.core.history import ended_tasks

        found, job = [], self.job
        while job is not None:
            found.append(job.facts())
            job = job.parent
        return [*found, *ended_tasks([self._recorded()])]

    def _recorded(self) -> trace.Process:
        return trace.Process("driver", os.getpid(), list(self._spans or ()))

    def timeline(self) -> list[dict[str, Any]]:
        """What ran, the last of it, as events of Chrome's trace format.

        Raises `RuntimeError` where nothing is recorded.
        """
        if self._spans is None:
            raise RuntimeError(trace.not_recorded())
        return trace.chrome_events([self._recorded()])


def _environment(setting: Setting) -> contextlib.AbstractContextManager[None]:
    if not setting.runtime_env:
        return contextlib.nullcontext()
    from rllib.core.runtime_env import entered

    return entered(setting.runtime_env)


async def _collect(results: AsyncIterator[Any]) -> tuple[list[Any], Exception | None]:
    """All values, and the error that came after them."""
    values = []
    try:
        async for value in results:
            values.append(value)
    except Exception as error:
        return values, error
    return values, None


def _replayed(values: list[Any], error: Exception | None) -> Iterator[Any]:
    """What a generator did, once more."""
    yield from values
    if error is not None:
        raise error


def _run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run it to its end, also where an event loop runs already, as in notebooks."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
