"""Engine 1: everything in the calling process, serial and deterministic.

A call runs to its end inside ``.remote()``; its reference is ready when it returns. Values take
the same way through serialisation as on the other engines, so that what works here works there:
arguments are copies, arrays come back read-only. What a serial engine cannot mean is that a call
waits for another one that has not been made yet; such a call fails and says so.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable, Sequence
from typing import Any

from rllib.core.exceptions import ActorDiedError, ObjectLostError, RuntimeClosedError, TaskError
from rllib.core.object_ref import ObjectRef
from rllib.core.runtime import (
    ActorLink,
    ActorOptions,
    Args,
    Kwargs,
    RemoteCode,
    Runtime,
    TaskOptions,
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


class InlineRuntime(Runtime):
    """See the module's text."""

    def __init__(self, namespace: str, amounts: dict[str, float]) -> None:
        self.namespace = namespace
        self._amounts = {"CPU": float(os.cpu_count() or 1), **amounts}
        self._owner = os.urandom(16)
        self._count = 0
        self._actors: dict[bytes, InlineActor] = {}
        self._names: dict[tuple[str, str], InlineActor] = {}
        self._closed = False

    # -- calls ---------------------------------------------------------------------------------

    def submit(
        self, code: RemoteCode, args: Args, kwargs: Kwargs, options: TaskOptions
    ) -> list[ObjectRef[Any]]:
        """Run the task now."""
        self._check_open()
        function = unpack(code.blob)
        return self._run(options.name or code.name, function, args, kwargs, options.num_returns)

    def create_actor(
        self, code: RemoteCode, args: Args, kwargs: Kwargs, options: ActorOptions
    ) -> ActorLink:
        """Construct the actor now."""
        self._check_open()
        key = (options.namespace or self.namespace, options.name)
        if options.name and key in self._names:
            if options.get_if_exists:
                return self._names[key]
            raise ValueError(f"the actor name {options.name!r} is taken in namespace {key[0]!r}")
        actor = InlineActor(os.urandom(16), code, key)
        self._actors[actor.actor_id] = actor
        if options.name:
            self._names[key] = actor
        self._construct(actor, args, kwargs)
        return actor

    def _construct(self, actor: InlineActor, args: Args, kwargs: Kwargs) -> None:
        name = f"{actor.code.name}.__init__"
        try:
            own_args, own_kwargs = self._copied(args, kwargs)
            actor.instance = unpack(actor.code.blob)(*own_args, **own_kwargs)
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
        assert isinstance(actor, InlineActor)
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
        finally:
            actor.running = False

    def _run(
        self, name: str, function: Callable[..., Any], args: Args, kwargs: Kwargs, num_returns: int
    ) -> list[ObjectRef[Any]]:
        try:
            own_args, own_kwargs = self._copied(args, kwargs)
            result = function(*own_args, **own_kwargs)
            if inspect.iscoroutine(result):
                result = asyncio.run(result)
            values = split_result(name, result, num_returns)
            return [self._ref(detached(pack(value))) for value in values]
        except Exception as error:
            failure = TaskError.from_exception(name, error, os.getpid())
            return [self._ref(failure) for _ in range(num_returns)]

    def _copied(self, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
        """Arguments as the other side would see them; references at the top level resolved."""
        packed = detached(pack((args, kwargs)))
        own_args, own_kwargs = unpack(packed.body, packed.buffers, packed.refs)
        return (
            tuple(self._resolved(arg) for arg in own_args),
            {key: self._resolved(arg) for key, arg in own_kwargs.items()},
        )

    def _resolved(self, arg: Any) -> Any:
        return self._value(arg) if isinstance(arg, InlineRef) else arg

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
    ) -> set[ObjectRef[Any]]:
        """All are ready."""
        return set(refs)

    def _ref(self, outcome: Packed | Exception) -> InlineRef:
        self._count += 1
        ref = InlineRef(self._owner, self._count)
        ref.outcome = outcome
        return ref

    def _value(self, ref: ObjectRef[Any]) -> Any:
        if not isinstance(ref, InlineRef) or ref._owner != self._owner:
            raise ObjectLostError(f"{ref!r} belongs to a runtime that was shut down")
        if isinstance(ref.outcome, TaskError):
            raise ref.outcome.as_user_error()
        if isinstance(ref.outcome, Exception):
            raise ref.outcome
        packed = ref.outcome
        return unpack(packed.body, packed.buffers, packed.refs)

    # -- the rest ------------------------------------------------------------------------------

    def kill(self, actor: ActorLink) -> None:
        """Forget the instance."""
        assert isinstance(actor, InlineActor)
        self._bury(actor, "it was killed by kill()")

    def _bury(self, actor: InlineActor, reason: str) -> None:
        actor.death = ActorDiedError(f"actor {actor.code.name} is dead: {reason}")
        actor.instance = None
        self._actors.pop(actor.actor_id, None)
        if self._names.get(actor.key) is actor:
            del self._names[actor.key]

    def resources(self) -> tuple[dict[str, float], dict[str, float]]:
        """Nothing is ever held: calls run one after the other."""
        return dict(self._amounts), dict(self._amounts)

    def actor_reduce(self, actor: ActorLink) -> tuple[Any, ...]:
        """The id is enough within one process."""
        return (actor.actor_id,)

    def actor_restore(self, state: tuple[Any, ...]) -> ActorLink:
        """Find the actor again."""
        return self._actors[state[0]]

    def shutdown(self) -> None:
        """Drop all actors and values."""
        self._closed = True
        self._actors.clear()
        self._names.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeClosedError("the runtime was shut down; call init() again")
