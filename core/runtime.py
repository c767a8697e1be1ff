"""The roles of the runtime: what an engine must offer.

Everything above this file (the public API, the RL kit) speaks to a `Runtime` and never asks which
engine it is. Everything below implements it. What is passed to an engine is in ``records``, what it
tells in ``facts``.
"""

from __future__ import annotations

import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rllib.core.exceptions import CoreError
from rllib.core.facts import (
    ActorFacts,
    Found,
    GroupFacts,
    ObjectFacts,
    StoreFacts,
    TaskFacts,
    Where,
    WorkerFacts,
)
from rllib.core.measurements import Measurement
from rllib.core.object_ref import ObjectRef
from rllib.core.records import (
    ActorOptions,
    ActorShape,
    Args,
    CallOptions,
    Kwargs,
    RemoteCode,
    TaskOptions,
)


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


class Runtime(ABC):
    """A process's way into the runtime: some twenty verbs, the same for every engine.

    Functions that take references raise what the remote code raised, see `rllib.core.exceptions`.
    """

    namespace: str

    serial: ClassVar[bool] = False
    """Whether calls run inside ``.remote()``: nothing comes about while somebody waits."""

    has_promises: ClassVar[bool] = False
    """Whether there is `promise`."""

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

    def promise(self) -> ObjectRef[Any]:
        """A reference of this process whose value it gives later, by `fulfil`."""
        raise RuntimeError("this engine has no promises")

    def fulfil(self, ref: ObjectRef[Any], value: Any) -> None:
        """Give a promise its value, an immutable copy; an exception is what `get` then raises."""
        raise RuntimeError("this engine has no promises")

    def expect(self, ref: ObjectRef[Any]) -> None:
        """Have the value of a promise come as soon as it is given; nobody is waited for."""
        raise RuntimeError("this engine has no promises")

    @abstractmethod
    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        """The values, in order; blocks. Raises `GetTimeoutError` after ``timeout`` seconds."""

    @abstractmethod
    def wait(
        self,
        refs: Sequence[Waitable],
        num_returns: int,
        timeout: float | None,
        *,
        fetch_local: bool = True,
    ) -> list[Waitable]:
        """Block until ``num_returns`` of ``refs`` are there or have failed; the first that are.

        A stream is there when its next result is, and without ``fetch_local`` a value that exists,
        wherever.
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

    def stores(self, timeout: float) -> list[StoreFacts]:
        """The object stores of those nodes that tell of them within ``timeout`` seconds."""
        raise RuntimeError("this engine has no object store of its own")

    def task_table(self, timeout: float) -> Found[TaskFacts]:
        """Calls that have not ended, and those that were recorded (see `timeline`); of processes
        that tell of them within ``timeout`` seconds."""
        raise RuntimeError("this engine keeps no list of tasks")

    def object_table(self, timeout: float) -> Found[ObjectFacts]:
        """The references that processes have; see `task_table`."""
        raise RuntimeError("this engine keeps no list of objects")

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
                "Labels": self.labels(),
            }
        ]

    @abstractmethod
    def labels(self) -> dict[str, str]:
        """Labels of this machine."""

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
    def create_group(
        self,
        bundles: list[dict[str, float]],
        strategy: str,
        name: str,
        selectors: list[dict[str, str]],
    ) -> bytes:
        """Reserve bundles together, as soon as that is possible; the id of the group.

        ``selectors`` say for each bundle what labels its machine must have; none for any.

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

    def expose(self, ref: ObjectRef[Any]) -> None:
        """``ref`` goes into code that may run in any process; see `find_exposed`."""
        raise RuntimeError("the references of this engine know how to travel in code")

    def find_exposed(self, owner: bytes, number: int) -> ObjectRef[Any]:
        """The reference in code that runs here, as long as somebody holds the object."""
        raise RuntimeError("the references of this engine know how to travel in code")

    @abstractmethod
    def shutdown(self) -> None:
        """End everything that this process started: workers, sockets, memory, files."""

    @abstractmethod
    def after_fork(self) -> Runtime | None:
        """In a forked child: the child's runtime. The parent's must not notice what it does."""
