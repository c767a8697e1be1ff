"""`ObjectRef`: the name of a value that exists, or will exist, somewhere in the runtime."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Generator
from typing import Any, Generic, TypeVar

from rllib.core.serialization import reduce_ref

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

    def __repr__(self) -> str:
        return f"ObjectRef({self.hex()})"

    def __reduce__(self) -> Any:
        return reduce_ref(self)
