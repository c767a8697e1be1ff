"""The roles of the runtime: what an engine must offer, and the records that are passed to it.

Everything above this file (the public API, the RL kit) speaks to a `Runtime` and never asks which
engine it is. Everything below implements it.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rllib.core.exceptions import CoreError
from rllib.core.measurements import Measurement
from rllib.core.object_ref import ObjectRef

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """How one task is to run. Defaults are Ray's."""

    num_returns: int = 1
    """Number of references that ``.remote()`` returns; 0 gives ``None``, n > 1 a list."""
    resources: Mapping[str, float] = field(default_factory=lambda: {"CPU": 1.0})
    """Held while the task runs."""
    max_retries: int = 3
    """Runs after a worker died; -1 without limit. Exceptions of user code are not retried."""
    name: str = ""
    """Shown in errors instead of the function's name."""


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


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class RemoteCode:
    """A function or class that workers are to run. ``blob`` is its pickled form, made once."""

    target: Any
    name: str
    blob: bytes
    methods: Mapping[str, int] = field(default_factory=dict)
    """For a class: its public methods and their number of returns."""
    is_async: bool = False
    """For a class: some method is a coroutine function."""


class ActorLink:
    """An engine's connection to one actor; `ActorHandle` is its public face."""

    __slots__ = ("__weakref__", "actor_id")

    def __init__(self, actor_id: bytes) -> None:
        self.actor_id = actor_id


class Runtime(ABC):
    """A process's way into the runtime: a dozen verbs, the same for every engine.

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
    def create_actor(
        self, code: RemoteCode, args: Args, kwargs: Kwargs, options: ActorOptions
    ) -> ActorLink:
        """Start an actor. Errors of its constructor surface at its first call.

        Raises `ValueError` when the name is taken.
        """

    @abstractmethod
    def find_actor(self, name: str, namespace: str) -> tuple[ActorLink, RemoteCode]:
        """The living actor of that name. Raises `ValueError` when there is none."""

    @abstractmethod
    def call(
        self, actor: ActorLink, method: str, args: Args, kwargs: Kwargs, num_returns: int
    ) -> list[ObjectRef[Any]]:
        """Call a method. Calls of one process to one actor start in the order made."""

    @abstractmethod
    def kill(self, actor: ActorLink) -> None:
        """End the actor's process at once; what it was doing is lost."""

    @abstractmethod
    def put(self, value: Any) -> ObjectRef[Any]:
        """Store an immutable copy of ``value``."""

    @abstractmethod
    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        """The values, in order; blocks. Raises `GetTimeoutError` after ``timeout`` seconds."""

    @abstractmethod
    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, timeout: float | None
    ) -> list[ObjectRef[Any]]:
        """Block until ``num_returns`` of ``refs`` are there or have failed; the first that are."""

    def error_of(self, ref: ObjectRef[Any]) -> Exception | None:
        """What ``get`` of a ready reference raises; ``None`` for a value."""
        try:
            self.get((ref,), None)
        except CoreError as error:
            return error
        return None

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
    """A task's result as ``num_returns`` values. Raises `ValueError` where the count differs."""
    if num_returns == 1:
        return (result,)
    if num_returns == 0:
        return ()
    if not isinstance(result, (tuple, list)) or len(result) != num_returns:
        size = len(result) if isinstance(result, (tuple, list)) else "no sequence"
        raise ValueError(f"{name} was to return {num_returns} values (num_returns), got {size}")
    return result
