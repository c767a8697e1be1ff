"""References, streams and actors of this engine: ours around Ray's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from rllib.core.exceptions import ActorDiedError, ForeignReferenceError, GetTimeoutError
from rllib.core.ids import TaskID
from rllib.core.object_ref import ObjectRef
from rllib.core.on_ray.asking import on_cluster
from rllib.core.runtime import ActorLink, ResultStream


class Session:
    """Counts connections to Ray, so that what outlives one can say so instead of hanging."""

    number = 0


class RayRef(ObjectRef[Any]):
    """Wraps Ray's reference. Inside values it is pickled by Ray, which counts who holds it."""

    __slots__ = ("_session", "wrapped")

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped
        self._session = Session.number

    def live(self) -> Any:
        """Ray's reference. Raises `ForeignReferenceError` when its Ray was shut down."""
        if self._session != Session.number:
            raise ForeignReferenceError(f"{self!r} belongs to a runtime that was shut down")
        return self.wrapped

    def binary(self) -> bytes:
        """Ray's id."""
        return bytes(self.wrapped.binary())

    def task_id(self) -> TaskID:
        """Ray's id of the call."""
        return TaskID(self.wrapped.task_id().binary())

    def owner_address(self) -> bytes:
        """Ray's own."""
        return bytes(on_cluster(_owner_address, [self.wrapped]))

    def call_site(self) -> str:
        """Ray's own; it records them if ``RAY_record_ref_creation_sites`` is set."""
        site = self.wrapped.call_site()
        return site.decode() if isinstance(site, bytes) else str(site)

    def as_future(self) -> asyncio.Future[Any]:
        """An asyncio future of the value, of the event loop that runs."""
        return asyncio.wrap_future(self.future())  # whose `get` does not block the loop

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RayRef) and bool(self.wrapped == other.wrapped)

    def __hash__(self) -> int:
        return hash(self.wrapped)

    def __reduce__(self) -> Any:
        return RayRef, (self.wrapped,)


def _owner_address(refs: list[Any]) -> bytes:
    return bytes(refs[0].owner_address())


class RayStream(ResultStream):
    """Wraps Ray's generator of references."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped

    @property
    def completed(self) -> ObjectRef[Any]:
        """Ready when the call has ended."""
        return RayRef(self.wrapped.completed())

    def take(self, timeout: float | None) -> ObjectRef[Any] | None:
        """The next reference, ``None`` after the last."""
        try:
            ref = self.wrapped._next_sync(timeout)
        except StopIteration:
            return None
        if ref.is_nil():
            raise GetTimeoutError(f"the generator yielded nothing within {timeout} s")
        return RayRef(ref)

    def when_ready(self, callback: Callable[[], object]) -> None:
        """Run ``callback`` when the next result, or the end, is there."""
        (following,) = self.wrapped._get_next_ref_n(1)
        following.future().add_done_callback(lambda _done: callback())

    @property
    def is_ready(self) -> bool:
        """Whether `take` would not block."""
        return bool(self.wrapped.next_ready())

    @property
    def is_finished(self) -> bool:
        """Whether all was taken."""
        return bool(self.wrapped.is_finished())


class RayActor(ActorLink):
    """Wraps Ray's handle; Ray counts who holds it."""

    __slots__ = ("handle", "session")

    def __init__(self, handle: Any) -> None:
        super().__init__(handle._actor_id.binary())
        self.handle = handle
        self.session = Session.number

    def __reduce__(self) -> Any:
        return _adopted, (self.handle,)


def _adopted(handle: Any) -> RayActor:
    """A link that arrives in a worker: its handle asks for the process's runtime next."""
    from rllib.core.on_ray.shipping import adopt

    adopt()
    return RayActor(handle)


def live_actor(actor: ActorLink) -> Any:
    """Ray's handle. Raises `ActorDiedError` for an actor of another runtime."""
    if isinstance(actor, RayActor) and actor.session == Session.number:
        return actor.handle
    raise ActorDiedError("the actor is dead: its runtime was shut down")


def unwrapped(ref: Any) -> Any:
    """Ray's reference or generator for one of ours; other values as they are.

    Raises `ForeignReferenceError` for a reference of another runtime.
    """
    if isinstance(ref, RayRef):
        return ref.live()
    if isinstance(ref, RayStream):
        return ref.wrapped
    if isinstance(ref, ObjectRef):
        raise ForeignReferenceError(f"{ref!r} belongs to a runtime that was shut down")
    return ref


def wrapped(returned: Any) -> list[ObjectRef[Any]]:
    """What a call of Ray's returned as a list of our references."""
    if returned is None:
        return []
    refs = returned if isinstance(returned, list) else [returned]
    return [RayRef(ref) for ref in refs]
