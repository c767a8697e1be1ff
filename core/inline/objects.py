"""Objects of the inline engine: a reference holds its value, or the error instead of it."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any, TypeVar

from rllib.core.exceptions import ForeignReferenceError, to_raise
from rllib.core.object_ref import ObjectRef
from rllib.core.records import Args, Kwargs
from rllib.core.serialization import Packed, detached, pack, unpack

if TYPE_CHECKING:
    from rllib.core.facts import ObjectFacts
    from rllib.core.ids import TaskID


class InlineRef(ObjectRef[Any]):
    """A reference that holds its value, or the error instead of it."""

    __slots__ = ("_task", "outcome")

    outcome: Packed | Exception

    def __init__(self, owner: bytes, number: int, task: str = "") -> None:
        super().__init__(owner, number)
        self._task = task

    def task_id(self) -> TaskID:
        """See `ObjectRef`."""
        from rllib.core.ids import TaskID

        return TaskID.from_hex(self._task) if self._task else super().task_id()

    def facts(self) -> ObjectFacts:
        """What is known of it."""
        from rllib.core.facts import ObjectFacts

        size, status = -1, "FAILED"
        if not isinstance(self.outcome, Exception):
            status = "FINISHED"
            size = len(self.outcome.body) + self.outcome.buffer_bytes
        return ObjectFacts(self.hex(), size, status, "LOCAL_REFERENCE", os.getpid(), True)


Ref = TypeVar("Ref", bound=InlineRef)


class Objects:
    """Makes the references of one runtime, and looks behind them."""

    def __init__(self) -> None:
        self.owner = os.urandom(16)
        self._numbers = itertools.count(1)
        self._exposed: dict[int, ObjectRef[Any]] = {}

    def expose(self, ref: ObjectRef[Any]) -> None:
        """Code names it: it stays until the end."""
        self._exposed[ref._number] = ref

    def find_exposed(self, owner: bytes, number: int) -> ObjectRef[Any]:
        """What code names. Raises `ForeignReferenceError` for what belongs elsewhere."""
        if owner != self.owner:
            raise ForeignReferenceError("code refers to an object of a runtime that was shut down")
        return self._exposed[number]

    def new(self, kind: type[Ref], task: str = "") -> Ref:
        """A reference of its own number, still without an outcome; ``task`` is what makes it."""
        return kind(self.owner, next(self._numbers), task)

    def ready(self, outcome: Packed | Exception, task: str = "") -> InlineRef:
        """A reference with its outcome."""
        ref = self.new(InlineRef, task)
        ref.outcome = outcome
        return ref

    def store(self, value: Any, task: str = "") -> InlineRef:
        """A reference of a copy of ``value``. Raises `TypeError` for what cannot be pickled."""
        return self.ready(stored(value), task)

    def facts(self) -> list[ObjectFacts]:
        """Those that are referred to."""
        from rllib.core.instances import instances

        mine = [ref for ref in instances(InlineRef) if ref._owner == self.owner]
        return [ref.facts() for ref in mine if hasattr(ref, "outcome")]

    def value(self, ref: ObjectRef[Any]) -> Any:
        """A copy of the value. Raises the error that is there instead, `ForeignReferenceError`."""
        if not isinstance(ref, InlineRef) or ref._owner != self.owner:
            raise ForeignReferenceError(f"{ref!r} belongs to a runtime that was shut down")
        if isinstance(ref.outcome, Exception):
            raise to_raise(ref.outcome)
        packed = ref.outcome
        return unpack(packed.body, packed.buffers, packed.refs)

    def arguments(self, packed: Packed) -> tuple[Args, Kwargs]:
        """Arguments as the other side would see them; references at the top level resolved."""
        args, kwargs = unpack(packed.body, packed.buffers, packed.refs)
        return (
            tuple(self._resolved(arg) for arg in args),
            {key: self._resolved(arg) for key, arg in kwargs.items()},
        )

    def _resolved(self, arg: Any) -> Any:
        return self.value(arg) if isinstance(arg, ObjectRef) else arg


def stored(value: Any) -> Packed:
    """A copy of ``value`` that shares no memory with it."""
    return detached(pack(value))
