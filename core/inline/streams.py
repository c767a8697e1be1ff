"""Generators of the inline engine: every result is made when it is asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from rllib.core.inline.objects import InlineRef, stored
from rllib.core.object_ref import ObjectRef
from rllib.core.runtime import ResultStream
from rllib.core.serialization import Packed


class LastRef(InlineRef):
    """The reference of a stream's end: who looks at it, or waits for it, drives the generator."""

    __slots__ = ("drain",)

    drain: Callable[[], Packed]

    def __getattr__(self, name: str) -> Any:
        if name != "outcome":
            raise AttributeError(name)
        self.outcome = self.drain()
        return self.outcome


class InlineStream(ResultStream):
    """A generator that is driven by whoever takes.

    ``results`` are references; an exception of it becomes, by ``failure``, the last one.
    """

    def __init__(
        self,
        results: Iterator[InlineRef],
        failure: Callable[[Exception], InlineRef],
        completed: LastRef,
    ) -> None:
        self._results = results
        self._failure = failure
        self._completed = completed
        self._ahead: deque[InlineRef] = deque()
        self._ended = False
        completed.drain = self._drain

    def _advance(self) -> None:
        """Make one more result, or find that there is none."""
        try:
            self._ahead.append(next(self._results))
        except StopIteration:
            self._ended = True
        except Exception as error:
            self.stop(self._failure(error))

    def stop(self, last: InlineRef) -> None:
        """End it here, with one more result, if it has not ended yet."""
        if not self._ended:
            self._ended = True
            self._ahead.append(last)

    def _drain(self) -> Packed:
        while not self._ended:
            self._advance()
        return stored(None)

    @property
    def completed(self) -> ObjectRef[Any]:
        """See `ResultStream`."""
        return self._completed

    def take(self, timeout: float | None) -> ObjectRef[Any] | None:
        """See `ResultStream`."""
        if not (self._ahead or self._ended):
            self._advance()
        return self._ahead.popleft() if self._ahead else None

    def when_ready(self, callback: Callable[[], object]) -> None:
        """At once: `take` makes the next result itself."""
        callback()

    @property
    def is_ready(self) -> bool:
        """See `ResultStream`."""
        return True

    @property
    def is_finished(self) -> bool:
        """See `ResultStream`."""
        return self._ended and not self._ahead
