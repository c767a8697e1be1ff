"""`ObjectRef`: the name of a value that exists, or will exist, somewhere in the runtime."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from rllib.core.serialization import reduce_ref

if TYPE_CHECKING:  # event loops take a third of the time of this package's import
    import asyncio
    import concurrent.futures

    from rllib.core.ids import JobID, TaskID

T = TypeVar("T")


class ObjectRef(Generic[T]):
    """A reference to an immutable value. Make them with ``put`` and ``.remote()``, never by hand.

    Hashable, comparable, picklable inside calls and values of the same runtime. Every process
    has at most one `ObjectRef` instance for one object: references are equal when they are the
    same instance, and the interpreter's own reference count tells when a process has lost interest.
    """

    __slots__ = ("__weakref__", "_number", "_owner")

    def __init__(self, owner: bytes, number: int) -> None:
        self._owner = owner
        self._number = number

    def binary(self) -> bytes:
        """The id: 16 bytes of the owning process, 8 bytes of its counter."""
        return self._owner + self._number.to_bytes(8, "big")

    def hex(self) -> str:
        """The id as text."""
        return self.binary().hex()

    def task_id(self) -> TaskID:
        """The call whose result it is; for what was `put`, an id that no call has."""
        from rllib.core.ids import TaskID

        return TaskID(self._owner + self._call_number().to_bytes(8, "big"))

    def _call_number(self) -> int:
        """The number of the first reference that its call has returned."""
        return self._number

    def job_id(self) -> JobID:
        """The runtime that it belongs to; nil when that was shut down."""
        from rllib.core import api
        from rllib.core.ids import JobID

        engine = api.current()
        return JobID.nil() if engine is None else JobID.from_hex(engine.where().job_id)

    def is_nil(self) -> bool:
        """Whether it refers to nothing: never."""
        return False

    def owner_address(self) -> bytes:
        """The process that owns the value; opaque, the same for all that it owns."""
        return self._owner

    def call_site(self) -> str:
        """Where in the program it was made: nothing, for that is not recorded."""
        return ""

    def _on_completed(self, callback: Callable[[Any], object]) -> None:
        """Call ``callback`` with the value, or with the error, in a thread of the runtime."""
        self.future().add_done_callback(lambda done: callback(done.exception() or done.result()))

    def _on_ready(self, callback: Callable[[None], object]) -> Callable[[], None]:
        """Call ``callback(None)``, in a thread of the runtime, when there is a value or an error;
        neither is loaded. Returns what takes that back."""
        from rllib.core import futures

        return futures.call_when_ready(self, callback)

    async def _ready(self) -> ObjectRef[T]:
        """Wait for the value or the error without loading it; the reference itself."""
        from rllib.core import futures

        await futures.arrival_of(self)
        return self

    def future(self) -> concurrent.futures.Future[T]:
        """A future of the value. Its callbacks run in a thread of the runtime."""
        from rllib.core import futures

        return futures.future_of(self)

    def as_future(self) -> asyncio.Future[T]:
        """An asyncio future of the value, of the event loop that runs."""
        from rllib.core import futures

        return futures.asyncio_future_of(self)

    def __await__(self) -> Generator[Any, None, T]:
        return self.as_future().__await__()

    def __copy__(self) -> Self:
        """Itself, like all that is immutable."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __repr__(self) -> str:
        return f"ObjectRef({self.hex()})"

    def __reduce__(self) -> Any:
        return reduce_ref(self)
