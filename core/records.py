"""What is passed to an engine: options of calls and actors, code to run, the shape of an actor."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rllib.core.serialization import dump_code, unpack
from rllib.core.signature import Signature

Args = tuple[Any, ...]
Kwargs = dict[str, Any]

STREAMING = -1
"""As a number of returns: results come one by one, as the function yields them."""

RetryOn = bool | tuple[type[BaseException], ...]
"""Exceptions of user code that are retried: none, all, or those of these classes."""


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """How one task is to run. Defaults are Ray's."""

    num_returns: int = 1
    """References that ``.remote()`` returns: 0 gives ``None``, n > 1 a list, `STREAMING` a
    generator of references."""
    resources: Mapping[str, float] = field(default_factory=lambda: {"CPU": 1.0})
    """Held while the task runs."""
    max_retries: int = 3
    """Runs after a worker died; -1 without limit."""
    retry_exceptions: RetryOn = False
    """Exceptions of user code that use up retries, too."""
    max_calls: int = 0
    """After that many calls of the function a worker leaves; 0 without limit."""
    name: str = ""
    """Shown in errors instead of the function's name."""
    backpressure: int = -1
    """A generator pauses when that many of its results were not taken; -1 without limit."""
    task_events: bool = True
    """Whether Ray lists it; our own engines record nothing for lists."""
    strategy: Any = None
    """Where it may run; see `rllib.core.util.scheduling_strategies`. ``None`` for anywhere."""
    label_selector: Mapping[str, str] = field(default_factory=dict)
    """What labels its machine must have; see `rllib.core.labels`."""
    fallback_strategy: tuple[Mapping[str, Mapping[str, str]], ...] = ()
    """Further selectors, one of which will do as well."""
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    """Environment variables, working directory and modules of the worker."""


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How one call of an actor's method is to run. Defaults are Ray's."""

    num_returns: int = 1
    """As in `TaskOptions`."""
    is_generator: bool = False
    """Whether the method can stream, however it is called."""
    max_task_retries: int = 0
    """Runs after the actor's process died and it was restarted; -1 without limit."""
    retry_exceptions: RetryOn = False
    """Exceptions of user code that use up retries, too."""
    concurrency_group: str = ""
    """The group of threads or coroutines that runs it; empty for the default one."""
    name: str = ""
    """Shown in errors instead of the method's name."""
    backpressure: int = -1
    """As in `TaskOptions`."""
    task_events: bool = True
    """As in `TaskOptions`."""


@dataclass(frozen=True, slots=True)
class ActorOptions:
    """How one actor is to live. Defaults are Ray's."""

    name: str = ""
    """Under which ``get_actor`` finds it; empty for an anonymous actor."""
    namespace: str = ""
    """In which the name is unique; empty for the namespace of ``init``."""
    get_if_exists: bool = False
    """Return the living actor of that name instead of raising."""
    resources: Mapping[str, float] = field(default_factory=dict)
    """Held as long as the actor lives."""
    placement: Mapping[str, float] = field(default_factory=lambda: {"CPU": 1.0})
    """Needed while the actor is being constructed."""
    max_concurrency: int = 0
    """Calls that run at the same time; 0 means 1, or 1000 for a class with ``async`` methods."""
    concurrency_groups: Mapping[str, int] = field(default_factory=dict)
    """Named groups of threads or coroutines, and their sizes."""
    max_restarts: int = 0
    """Times that it is started again after its process died; -1 without limit."""
    task_events: bool = True
    """As in `TaskOptions`; of all its methods."""
    detached: bool = False
    """It lives until it is killed, whatever becomes of its handles and its creator."""
    strategy: Any = None
    """As in `TaskOptions`."""
    label_selector: Mapping[str, str] = field(default_factory=dict)
    """As in `TaskOptions`."""
    fallback_strategy: tuple[Mapping[str, Mapping[str, str]], ...] = ()
    """As in `TaskOptions`."""
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    """As in `TaskOptions`."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class RemoteCode:
    """A function or class that workers are to run. ``blob`` is its pickled form, made once."""

    target: Any
    name: str
    blob: bytes
    is_async: bool = False
    """For a class: some method is a coroutine function or an asynchronous generator."""
    home: weakref.ref[Any] | None = None
    """The runtime that ``blob`` is for, if it refers to objects or actors."""


@dataclass(frozen=True, slots=True, eq=False)
class ActorShape:
    """What a handle knows of its actor, wherever the handle goes."""

    class_name: str
    methods: Mapping[str, CallOptions]
    """The public methods and how they are called unless ``.options()`` says otherwise."""
    signatures: Mapping[str, Signature]
    """What arguments they take."""
    groups: tuple[str, ...] = ()
    """Names of its concurrency groups."""
    max_pending_calls: int = -1
    """Calls of one process that may be unanswered; -1 without limit."""

    def dump(self) -> bytes:
        """For messages; the same bytes for the same shape."""
        return _dump_shape(self)

    @staticmethod
    def load(blob: bytes) -> ActorShape:
        """The inverse of `dump`."""
        return _load_shape(blob)


# Handles travel often, and shapes are few.
@functools.lru_cache(maxsize=1024)
def _dump_shape(shape: ActorShape) -> bytes:
    return dump_code(shape)


@functools.lru_cache(maxsize=1024)
def _load_shape(blob: bytes) -> ActorShape:
    shape: ActorShape = unpack(blob)
    return shape
