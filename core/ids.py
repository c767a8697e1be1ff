"""Identifiers as objects: bytes that know what they identify, under Ray's names."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Self

__all__ = ["ActorID", "JobID", "NodeID", "TaskID", "UniqueID", "WorkerID"]


class UniqueID:
    """Base of all of them. Immutable, hashable, comparable, picklable."""

    SIZE: ClassVar[int] = 16
    __slots__ = ("_bytes",)

    def __init__(self, binary: bytes) -> None:
        """Raises `ValueError` for another number of bytes than ``SIZE``."""
        if len(binary) != self.SIZE:
            name = type(self).__name__
            raise ValueError(f"{name} has {self.SIZE} bytes, got {len(binary)}")
        self._bytes = bytes(binary)

    @classmethod
    def from_binary(cls, binary: bytes) -> Self:
        """The id of these bytes."""
        return cls(binary)

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """The id that `hex` has written so."""
        return cls(bytes.fromhex(text))

    @classmethod
    def from_random(cls) -> Self:
        """A new one."""
        return cls(os.urandom(cls.SIZE))

    @classmethod
    def nil(cls) -> Self:
        """The id of nothing."""
        return cls(b"\xff" * cls.SIZE)

    @classmethod
    def size(cls) -> int:
        """Its number of bytes."""
        return cls.SIZE

    def binary(self) -> bytes:
        """The bytes."""
        return self._bytes

    def hex(self) -> str:
        """The same as text."""
        return self._bytes.hex()

    def is_nil(self) -> bool:
        """Whether it identifies nothing."""
        return self._bytes == b"\xff" * self.SIZE

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._bytes == self._bytes

    def __hash__(self) -> int:
        return hash((type(self), self._bytes))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._bytes,)


class JobID(UniqueID):
    """A driver and all that it has started."""

    SIZE = 4
    __slots__ = ()


class TaskID(UniqueID):
    """A call: of a function, of an actor's method, or of its constructor."""

    SIZE = 24
    __slots__ = ()


class ActorID(UniqueID):
    """An actor."""

    __slots__ = ()


class WorkerID(UniqueID):
    """A process."""

    __slots__ = ()


class NodeID(UniqueID):
    """A machine."""

    SIZE = 28
    __slots__ = ()
