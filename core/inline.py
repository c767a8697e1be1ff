"""Engine 1: everything in the calling process, serial and deterministic.

A call runs to its end inside ``.remote()``; its reference is ready when it returns. Values take
the same way through serialisation as on the other engines, so that what works here works there:
arguments are copies, arrays come back read-only. What a serial engine cannot mean is that a call
waits for another one that has not been made yet; such a call fails and says so.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import os
import weakref
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from rllib.core.exceptions import (
    ActorDiedError,
    ObjectLostError,
    RuntimeClosedError,
    TaskError,
    WorkerCrashedError,
    to_raise,
)
from rllib.core.measurements import Measurement, Measurements
from rllib.core.object_ref import ObjectRef
from rllib.core.runtime import (
    ActorLink,
    ActorOptions,
    Args,
    Kwargs,
    RemoteCode,
    Runtime,
    TaskOptions,
    exit_code,
    split_result,
)
from rllib.core.serialization import Packed, detached, pack, unpack


class InlineRef(ObjectRef[Any]):
    """A reference that holds its value, or the error instead of it."""

    __slots__ = ("outcome",)

    outcome: Packed | Exception


class InlineActor(ActorLink):
    """An actor's instance and the story of its death, if it is dead."""

    __slots__ = ("code", "death", "instance", "key", "running")

    def __init__(self, actor_id: bytes, code: RemoteCode, key: tuple[str, str]) -> None:
        super().__init__(actor_id)
        self.code = code
        self.key = key
        self.instance: Any = None
        self.death: ActorDiedError | None = None
        self.running = False


class ActorInValue(InlineRef):
    """Goes with a handle inside a value, and keeps the actor alive as long as the value."""

    __slots__ = ("actor",)

    actor: InlineActor


class InlineRuntime(Runtime):
    """See the module's text."""

    serial = True

    def __init__(self, namespace: str, amounts: dict[str, float]) -> None:
        self.namespace = namespace
        self._amounts = {"CPU": float(os.cpu_count() or 1), **amounts}
        self._owner = os.urandom(16)
        self._count = 0
        # Weak, so that an actor ends with its last handle.
        self._actors: weakref.WeakSet[InlineActor] = weakref.WeakSet()
        self._names: weakref.WeakValueDictionary[tuple[str, str], InlineActor] = (
            weakref.WeakValueDictionary()
        )
        self._measurements = Measurements()
        self._closed = False

    # -- calls ---------------------------------------------------------------------------------

    def submit(
        self, code: RemoteCode, args: Args, kwargs: Kwargs, options: TaskOptions
    ) -> list[ObjectRef[Any]]:
        """Run the task now."""
        self._check_open()
        function = unpack(code.blob)
        name = options.name or code.name
        try:
            return self._run(name, function, args, kwargs, options.num_returns)
        except SystemExit as error:
            story = f"task {name} failed: it exited with code {exit_code(error)}"
            return [self._ref(WorkerCrashedError(story)) for _ in range(options.num_returns)]

    def create_actor(
        self, code: RemoteCode, args: Args, kwargs: Kwargs, options: ActorOptions
    ) -> ActorLink:
        """Construct the actor now."""
        self._check_open()
        key = (options.namespace or self.namespace, options.name)
        existing = self._names.get(key)
        if options.name and existing is not None:
            if options.get_if_exists:
                return existing
            raise ValueError(f"the actor name {options.name!r} is taken in namespace {key[0]!r}")
        actor = InlineActor(os.urandom(16), code, key)
        self._actors.add(actor)
        if options.name:
            self._names[key] = actor
        self._construct(actor, args, kwargs)
        return actor

    def _construct(self, actor: InlineActor, args: Args, kwargs: Kwargs) -> None:
        name = f"{actor.code.name}.__init__"
        packed = detached(pack((args, kwargs)))
        try:
            own_args, own_kwargs = self._arguments(packed)
            actor.instance = unpack(actor.code.blob)(*own_args, **own_kwargs)
        except SystemExit as error:
            self._bury(actor, f"its constructor exited with code {exit_code(error)}")
        except Exception as error:
            story = TaskError.from_exception(name, error, os.getpid())
            self._bury(actor, f"its constructor raised:\n{story}")

    def find_actor(self, name: str, namespace: str) -> tuple[ActorLink, RemoteCode]:
        """Look ``name`` up among the living."""
        actor = self._names.get((namespace or self.namespace, name))
        if actor is None:
            raise ValueError(f"there is no living actor named {name!r}")
        return actor, actor.code

    def call(
        self, actor: ActorLink, method: str, args: Args, kwargs: Kwargs, num_returns: int
    ) -> list[ObjectRef[Any]]:
        """Run the method now."""
        self._check_open()
        actor = _own(actor)
        if actor.death is not None:
            return [self._ref(actor.death) for _ in range(num_returns)]
        if actor.running and not actor.code.is_async:
            raise RuntimeError(
                f"{actor.code.name}.{method} was called while a call of the same actor is running: "
                "two calls that wait for each other cannot run on the inline engine; use init()"
            )
        actor.running = True
        try:
            bound = getattr(actor.instance, method)
            return self._run(f"{actor.code.name}.{method}", bound, args, kwargs, num_returns)
        except SystemExit as error:
            death = self._bury(actor, f"it exited with code {exit_code(error)}")
            return [self._ref(death) for _ in range(num_returns)]
        finally:
            actor.running = False

    def _run(
        self, name: str, function: Callable[..., Any], args: Args, kwargs: Kwargs, num_returns: int
    ) -> list[ObjectRef[Any]]:
        packed = detached(pack((args, kwargs)))
        try:
            own_args, own_kwargs = self._arguments(packed)
            result = function(*own_args, **own_kwargs)
            if inspect.iscoroutine(result):
                result = _run_coroutine(result)
            values = split_result(name, result, num_returns)
            return [self._ref(detached(pack(value))) for value in values]
        except (Exception, asyncio.CancelledError) as error:
            failure = TaskError.from_exception(name, error, os.getpid())
            return [self._ref(failure) for _ in range(num_returns)]

    def _arguments(self, packed: Packed) -> tuple[Args, Kwargs]:
        """Arguments as the other side would see them; references at the top level resolved."""
        own_args, own_kwargs = unpack(packed.body, packed.buffers, packed.refs)
        return (
            tuple(self._resolved(arg) for arg in own_args),
            {key: self._resolved(arg) for key, arg in own_kwargs.items()},
        )

    def _resolved(self, arg: Any) -> Any:
        return self._value(arg) if isinstance(arg, ObjectRef) else arg

    # -- objects -------------------------------------------------------------------------------

    def put(self, value: Any) -> ObjectRef[Any]:
        """Keep a copy."""
        self._check_open()
        return self._ref(detached(pack(value)))

    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        """Every reference is ready already."""
        self._check_open()
        return [self._value(ref) for ref in refs]

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, timeout: float | None
    ) -> list[ObjectRef[Any]]:
        """All are ready."""
        return list(refs[:num_returns])

    def error_of(self, ref: ObjectRef[Any]) -> Exception | None:
        """Look at the outcome; the value is not loaded."""
        outcome = ref.outcome if isinstance(ref, InlineRef) else None
        return to_raise(outcome) if isinstance(outcome, Exception) else None

    def _ref(self, outcome: Packed | Exception) -> InlineRef:
        self._count += 1
        ref = InlineRef(self._owner, self._count)
        ref.outcome = outcome
        return ref

    def _value(self, ref: ObjectRef[Any]) -> Any:
        if not isinstance(ref, InlineRef) or ref._owner != self._owner:
            raise ObjectLostError(f"{ref!r} belongs to a runtime that was shut down")
        if isinstance(ref.outcome, Exception):
            raise to_raise(ref.outcome)
        packed = ref.outcome
        return unpack(packed.body, packed.buffers, packed.refs)

    # -- the rest ------------------------------------------------------------------------------

    def kill(self, actor: ActorLink) -> None:
        """Forget the instance."""
        self._bury(_own(actor), "it was killed by kill()")

    def _bury(self, actor: InlineActor, reason: str) -> ActorDiedError:
        actor.death = actor.death or ActorDiedError(f"actor {actor.code.name} is dead: {reason}")
        actor.instance = None
        if self._names.get(actor.key) is actor:
            del self._names[actor.key]
        return actor.death

    def resources(self) -> tuple[dict[str, float], dict[str, float]]:
        """Nothing is ever held: calls run one after the other."""
        return dict(self._amounts), dict(self._amounts)

    def report(self, measurements: list[Measurement]) -> None:
        """Keep them: there is one process only."""
        self._measurements.update(measurements)

    def measurements(self) -> list[Measurement]:
        """What was kept."""
        return self._measurements.all()

    def actor_reduce(self, actor: ActorLink) -> tuple[Any, ...]:
        """A reference, which stays with the value, to the actor."""
        self._count += 1
        ref = ActorInValue(self._owner, self._count)
        ref.actor = _own(actor)
        return (ref,)

    def actor_restore(self, state: tuple[Any, ...]) -> ActorLink:
        """The actor itself."""
        ref: ActorInValue = state[0]
        return ref.actor

    def shutdown(self) -> None:
        """Drop all actors and values."""
        self._closed = True
        for actor in list(self._actors):
            self._bury(actor, "the runtime was shut down")

    def after_fork(self) -> InlineRuntime:
        """A child goes on with its own copy."""
        return self

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeClosedError("the runtime was shut down; call init() again")


def _own(actor: ActorLink) -> InlineActor:
    if not isinstance(actor, InlineActor):
        raise RuntimeClosedError("the handle belongs to a runtime that was shut down")
    return actor


def _run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run it to its end, also where an event loop runs already, as in notebooks."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
