"""What Ray's workers run: user code that finds this engine there, and tells its errors as ours.

Ray is given a function that calls the user's, and for an actor a `Host` that holds an instance of
the user's class and has one method for each of its public ones. Both are made by `told`.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
from collections.abc import Callable
from types import TracebackType
from typing import Any

import ray

from rllib.core.actor import BUILTINS, bound_method
from rllib.core.exceptions import TaskError
from rllib.core.records import ActorShape, RemoteCode
from rllib.core.signature import Signature

ENTRIES = {"__ray_call__": "call_with_instance"}
"""Methods of a host that have another name than their users know them by: Ray's own of the same
name would be given the host instead of the instance."""

_OF_RAY = frozenset(BUILTINS) - frozenset(ENTRIES)


def ship_function(code: RemoteCode) -> Callable[..., Any]:
    """The function that Ray's workers are to run for a task of ``code``."""
    return told(code.target, name=code.name, like=code.target)


def ship_class(code: RemoteCode, shape: ActorShape) -> type[Host]:
    """The class of which Ray is to make actors for ``code``."""
    entries = {
        ENTRIES.get(name, name): _entry(code, name, signature)
        for name, signature in shape.signatures.items()
        if name not in _OF_RAY
    }
    return type(code.name, (Host,), {**entries, "target": code.target})


def _entry(code: RemoteCode, name: str, signature: Signature) -> Callable[..., Any]:
    call = functools.partial(_call_instance, name)
    entry = told(call, name=name, like=getattr(code.target, name, None))
    # Handles that Ray gives out know the methods by it.
    entry.__signature__ = inspect.Signature([_SELF, *signature.parameters])  # type: ignore[attr-defined]
    return entry


class Host:
    """An actor of Ray's: holds the instance of the user's class, ``target``."""

    target: type[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        adopt()
        self.instance = self.target(*args, **kwargs)


_SELF = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)


def _call_instance(name: str, host: Host, *args: Any, **kwargs: Any) -> Any:
    return bound_method(host.instance, name)(*args, **kwargs)


def told(target: Callable[..., Any], *, name: str, like: Any) -> Callable[..., Any]:
    """A function of the same kind as ``like`` (plain, coroutine, generator) that calls ``target``
    and raises `TaskError` for its exceptions. Ray knows the task by its ``name``."""
    if inspect.iscoroutinefunction(like):
        entry = _coroutine(target)
    elif inspect.isasyncgenfunction(like):
        entry = _async_generator(target)
    elif inspect.isgeneratorfunction(like):
        entry = _generator(target)
    else:
        entry = _plain(target)
    entry.__name__ = entry.__qualname__ = name
    return entry


def _plain(target: Callable[..., Any]) -> Callable[..., Any]:
    def entry(*args: Any, **kwargs: Any) -> Any:
        with _Telling():
            return target(*args, **kwargs)

    return entry


def _generator(target: Callable[..., Any]) -> Callable[..., Any]:
    def entry(*args: Any, **kwargs: Any) -> Any:
        with _Telling():
            for item in target(*args, **kwargs):  # noqa: UP028 - Ray sends into what it runs
                yield item

    return entry


def _coroutine(target: Callable[..., Any]) -> Callable[..., Any]:
    async def entry(*args: Any, **kwargs: Any) -> Any:
        with _Telling(on_loop=True):
            return await target(*args, **kwargs)

    return entry


def _async_generator(target: Callable[..., Any]) -> Callable[..., Any]:
    async def entry(*args: Any, **kwargs: Any) -> Any:
        with _Telling(on_loop=True):
            async for item in target(*args, **kwargs):
                yield item

    return entry


class _Telling:
    """Around user code: exceptions leave it as `TaskError`, with the story that the caller reads.

    What Ray uses to stop a call (interrupts, cancellation) and to end a process passes.
    """

    def __init__(self, on_loop: bool = False) -> None:
        self._on_loop = on_loop

    def __enter__(self) -> None:
        adopt()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception):
            raise _story(error).as_user_error() from None  # retry_exceptions look at the class
        if isinstance(error, SystemExit) and self._on_loop:
            _leave(error)
        stops = isinstance(error, (KeyboardInterrupt, asyncio.CancelledError))
        if error is not None and stops and not self._is_cancelled():
            raise _story(error) from None

    def _is_cancelled(self) -> bool:
        if not self._on_loop:
            return bool(ray.get_runtime_context().is_canceled())
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0


def _story(error: BaseException) -> TaskError:
    name = ray.get_runtime_context().get_task_name()
    return TaskError.from_exception(name, error, os.getpid())


def _leave(error: SystemExit) -> None:
    """End an actor from a coroutine, where Ray's worker would swallow the exception."""
    if not error.code:
        ray.actor.exit_actor()
    os._exit(error.code if isinstance(error.code, int) else 1)


def adopt() -> None:
    """Have this process, a worker of Ray's, find this engine behind the API."""
    from rllib.core import api
    from rllib.core.on_ray.runtime import RayRuntime

    if not isinstance(api._runtime, RayRuntime):
        api.adopt(RayRuntime(in_worker=True))
