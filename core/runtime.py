"""The roles of the runtime: what an engine must offer, and the records that are passed to it.

Everything above this file (the public API, the RL kit) speaks to a `Runtime` and never asks which
engine it is. Everything below implements it.
"""

from __future__ import annotations

import functools
import itertools
import platform
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from types import GeneratorType
from typing import Any, ClassVar

from rllib.core.exceptions import CoreError
from rllib.core.measurements import Measurement
from rllib.core.object_ref import ObjectRef
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
    strategy: Any = None
    """Where it may run; see `rllib.core.util.scheduling_strategies`. ``None`` for anywhere."""
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
    detached: bool = False
    """It lives until it is killed, whatever becomes of its handles and its creator."""
    strategy: Any = None
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


class ActorLink:
    """An engine's connection to one actor; `ActorHandle` is its public face."""

    __slots__ = ("__weakref__", "actor_id")

    def __init__(self, actor_id: bytes) -> None:
        self.actor_id = actor_id


class ResultStream(ABC):
    """The results of a streaming call, as references in the order in which they were yielded."""

    @property
    @abstractmethod
    def completed(self) -> ObjectRef[Any]:
        """A reference that is ready, with ``None`` or an error, when the call has ended."""

    @abstractmethod
    def take(self, timeout: float | None) -> ObjectRef[Any] | None:
        """The next reference, ``None`` after the last; blocks.

        Raises `GetTimeoutError` when there is none within ``timeout`` seconds.
        """

    @abstractmethod
    def when_ready(self, callback: Callable[[], object]) -> None:
        """Run ``callback``, in any thread, once `take` would not block."""

    @property
    @abstractmethod
    def is_ready(self) -> bool:
        """Whether `take` would not block."""

    @property
    @abstractmethod
    def is_finished(self) -> bool:
        """Whether the call has ended and all its results were taken."""


Waitable = ObjectRef[Any] | ResultStream


@dataclass(slots=True, kw_only=True)
class Where:
    """Who and where the calling code is; the facts behind `RuntimeContext`. Ids are hex text."""

    job_id: str = ""
    node_id: str = ""
    worker_id: str = ""
    namespace: str = ""
    task_id: str | None = None
    task_name: str | None = None
    function_name: str | None = None
    actor_id: str | None = None
    actor_name: str | None = None
    placement_group_id: str | None = None
    captures_children: bool = False
    resources: Mapping[str, float] = field(default_factory=dict)
    gpus: Sequence[str] = ()
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    session: str = ""
    restarts: int = 0
    """How often the actor was started again."""
    canceled: bool = False
    actor: ActorLink | None = None
    shape: ActorShape | None = None


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """A placement group as `Runtime.groups` tells of it."""

    id: bytes
    name: str
    bundles: list[dict[str, float]]
    strategy: str
    state: str
    """``PENDING``, ``CREATED`` or ``REMOVED``."""
    node: str
    """Where its bundles are."""


@dataclass(frozen=True, slots=True)
class ActorFacts:
    """An actor as `Runtime.actors` tells of it."""

    id: bytes
    class_name: str
    state: str
    """``PENDING_CREATION``, ``ALIVE``, ``RESTARTING`` or ``DEAD``."""
    name: str
    namespace: str
    pid: int
    """Of its process; 0 where it has none."""
    restarts: int
    detached: bool
    group: bytes
    """Its placement group; empty for none."""
    resources: Mapping[str, float]
    death: str
    """How it died."""


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """A process as `Runtime.workers` tells of it."""

    id: bytes
    pid: int
    is_driver: bool = False


class Runtime(ABC):
    """A process's way into the runtime: some twenty verbs, the same for every engine.

    Functions that take references raise what the remote code raised, see `rllib.core.exceptions`.
    """

    namespace: str

    serial: ClassVar[bool] = False
    """Whether calls run inside ``.remote()``: nothing comes about while somebody waits."""

    @abstractmethod
    def submit(
        self, code: RemoteCode, args: Args, kwargs: Kwargs, options: TaskOptions
    ) -> list[ObjectRef[Any]]:
        """Start a task; one reference for each of ``options.num_returns``."""

    @abstractmethod
    def stream(
        self, code: RemoteCode, args: Args, kwargs: Kwargs, options: TaskOptions
    ) -> ResultStream:
        """Start a task whose results come one by one."""

    @abstractmethod
    def create_actor(
        self,
        code: RemoteCode,
        shape: ActorShape,
        args: Args,
        kwargs: Kwargs,
        options: ActorOptions,
    ) -> ActorLink:
        """Start an actor. Errors of its constructor surface at its first call.

        Raises `ActorAlreadyExistsError` when the name is taken.
        """

    @abstractmethod
    def find_actor(self, name: str, namespace: str) -> tuple[ActorLink, ActorShape]:
        """The living actor of that name. Raises `ValueError` when there is none."""

    @abstractmethod
    def call(
        self, actor: ActorLink, method: str, args: Args, kwargs: Kwargs, options: CallOptions
    ) -> list[ObjectRef[Any]]:
        """Call a method. Calls of one process to one actor start in the order made."""

    @abstractmethod
    def stream_call(
        self, actor: ActorLink, method: str, args: Args, kwargs: Kwargs, options: CallOptions
    ) -> ResultStream:
        """Call a method whose results come one by one."""

    @abstractmethod
    def pending_calls(self, actor: ActorLink) -> int:
        """Calls of this process to the actor that were not answered yet."""

    @abstractmethod
    def kill(self, actor: ActorLink, no_restart: bool) -> None:
        """End the actor's process at once; what it was doing is lost."""

    @abstractmethod
    def cancel(self, what: ObjectRef[Any] | ResultStream, force: bool, recursive: bool) -> None:
        """Have a call not begin, or stop; see `rllib.core.cancel`."""

    @abstractmethod
    def put(self, value: Any) -> ObjectRef[Any]:
        """Store an immutable copy of ``value``."""

    @abstractmethod
    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        """The values, in order; blocks. Raises `GetTimeoutError` after ``timeout`` seconds."""

    @abstractmethod
    def wait(
        self, refs: Sequence[Waitable], num_returns: int, timeout: float | None
    ) -> list[Waitable]:
        """Block until ``num_returns`` of ``refs`` are there or have failed; the first that are.

        A stream is there when its next result is.
        """

    @abstractmethod
    def when_ready(self, ref: ObjectRef[Any], callback: Callable[[], object]) -> None:
        """Run ``callback`` once `get` would not block, at once if it is so already.

        It runs in any thread, so all it may do is to wake somebody.
        """

    @abstractmethod
    def where(self) -> Where:
        """Who and where the calling code is."""

    def actors(self) -> list[ActorFacts]:
        """Actors that live, and the last that died."""
        raise RuntimeError("this engine keeps no list of actors")

    def workers(self) -> list[WorkerFacts]:
        """The processes there are."""
        raise RuntimeError("this engine keeps no list of processes")

    def timeline(self) -> list[dict[str, Any]]:
        """Events of Chrome's trace format: what ran when.

        Raises `RuntimeError` where nothing is recorded.
        """
        raise RuntimeError("this engine records no timeline")

    def error_of(self, ref: ObjectRef[Any]) -> Exception | None:
        """What ``get`` of a ready reference raises; ``None`` for a value."""
        try:
            self.get((ref,), None)
        except CoreError as error:
            return error
        return None

    def nodes(self) -> list[dict[str, Any]]:
        """The machines, under Ray's keys: a single one."""
        host = platform.node()
        return [
            {
                "NodeID": self.where().node_id,
                "Alive": True,
                "alive": True,
                "NodeName": host,
                "NodeManagerAddress": "127.0.0.1",
                "NodeManagerHostname": host,
                "Resources": self.resources()[0],
                "Labels": {},
            }
        ]

    @abstractmethod
    def resources(self) -> tuple[dict[str, float], dict[str, float]]:
        """Total and free amounts by resource name."""

    @abstractmethod
    def report(self, measurements: list[Measurement]) -> None:
        """Add what this process has measured since its last report to the runtime's table."""

    @abstractmethod
    def measurements(self) -> list[Measurement]:
        """The table: what all processes have reported."""

    @abstractmethod
    def actor_names(self) -> list[tuple[str, str]]:
        """Namespace and name of every living actor that has a name."""

    @abstractmethod
    def create_group(self, bundles: list[dict[str, float]], strategy: str, name: str) -> bytes:
        """Reserve bundles together, as soon as that is possible; the id of the group.

        Raises `CoreSystemError` when the name is taken.
        """

    @abstractmethod
    def group_ready(self, group: bytes, value: Any) -> ObjectRef[Any]:
        """A reference that becomes ``value`` once the group's bundles are reserved."""

    @abstractmethod
    def remove_group(self, group: bytes) -> None:
        """Give its bundles back, and end whoever uses them."""

    @abstractmethod
    def groups(self) -> list[GroupFacts]:
        """All placement groups, also those that were removed."""

    @abstractmethod
    def actor_reduce(self, actor: ActorLink) -> tuple[Any, ...]:
        """What an `ActorHandle` in a message carries of ``actor``; see `actor_restore`."""

    @abstractmethod
    def actor_restore(self, state: tuple[Any, ...]) -> ActorLink:
        """The receiver's side of `actor_reduce`."""

    @abstractmethod
    def shutdown(self) -> None:
        """End everything that this process started: workers, sockets, memory, files."""

    @abstractmethod
    def after_fork(self) -> Runtime | None:
        """In a forked child: the child's runtime. The parent's must not notice what it does."""


def exit_code(error: SystemExit) -> int:
    """The status that ``sys.exit(...)`` asks for."""
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.stderr)
    return 1


def split_result(name: str, result: Any, num_returns: int) -> Sequence[Any]:
    """A task's result as ``num_returns`` values; of a generator, as many as asked for.

    Raises `ValueError` or `TypeError` where the count differs.
    """
    if num_returns == 1 and not isinstance(result, GeneratorType):
        return (result,)
    if num_returns == 0:
        return ()
    if isinstance(result, GeneratorType):
        result = tuple(itertools.islice(result, num_returns))
    if not isinstance(result, Sized):
        kind = type(result).__name__
        raise TypeError(f"{name} was to return {num_returns} values (num_returns), got a {kind}")
    if len(result) != num_returns:
        raise ValueError(
            f"{name} was to return {num_returns} values (num_returns), got {len(result)}"
        )
    return tuple(result)  # type: ignore[arg-type]
