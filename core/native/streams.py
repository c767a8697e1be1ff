"""The results of streaming calls: the caller's end and the callee's end.

::

    callee: Outflow --ITEM 0, 1, 2, ...; REPLY--> caller: NativeStream --> ObjectRefGenerator
    callee: Outflow <--Taken(n)------------------ caller, where the generator has back-pressure
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rllib.core.exceptions import GetTimeoutError, StreamReplayError
from rllib.core.native.objects import NativeRef, Outcome
from rllib.core.runtime import ResultStream

if TYPE_CHECKING:
    from rllib.core.native.call import Call
    from rllib.core.native.engine import NativeRuntime

UNLIMITED = 2**62
"""Results that may be under way when there is no back-pressure."""


class NativeStream(ResultStream):
    """The caller's end. Changed under the runtime's lock, except by whoever takes.

    ``call`` is known here only with back-pressure, when the callee has to hear what was taken.
    The call itself knows its stream weakly: a generator that nobody holds is not filled.
    """

    def __init__(self, runtime: NativeRuntime, completed: NativeRef, call: Call | None) -> None:
        self._runtime = runtime
        self._completed = completed
        self._call = call
        self._items: deque[NativeRef] = deque()
        self._on_ready: list[Callable[[], object]] = []
        self._received = 0
        self.taken = 0

    # -- what comes ----------------------------------------------------------------------------

    def receive(self, index: int, outcome: Outcome) -> None:
        """Result number ``index``; one that was received before comes from a repeated run."""
        if index < self._received:
            return
        self._received += 1
        self._append(outcome)
        self._wake()

    def _append(self, outcome: Outcome) -> None:
        ref = self._runtime.new_item(self._completed)
        ref.resolve(outcome)
        self._items.append(ref)

    def check_length(self, length: int) -> Exception | None:
        """The error of a repeated run that yielded less than was received before."""
        if length >= self._received:
            return None
        return StreamReplayError(
            f"a generator was run again and yielded {length} results, after {self._received} in "
            "the run before; generators that may be retried must yield the same again"
        )

    def fail(self, error: Exception) -> None:
        """The generator has raised: that is its last result."""
        self._append(error)

    def end(self) -> None:
        """The call has ended; the death of its process is one more result."""
        if isinstance(self._completed.outcome, Exception):
            self._append(self._completed.outcome)
        self._wake()

    def _wake(self) -> None:
        waiting, self._on_ready = self._on_ready, []
        for callback in waiting:
            callback()

    # -- who takes -----------------------------------------------------------------------------

    @property
    def completed(self) -> NativeRef:
        """See `ResultStream`."""
        return self._completed

    @property
    def outcome(self) -> Any:
        """Not ``None`` when `take` would not block, so that `wait` can look at it as at a
        reference."""
        return self._items or self._completed.outcome or None

    @property
    def is_ready(self) -> bool:
        """See `ResultStream`."""
        return self.outcome is not None

    @property
    def is_finished(self) -> bool:
        """See `ResultStream`."""
        return self._completed.outcome is not None and not self._items

    def take(self, timeout: float | None) -> NativeRef | None:
        """See `ResultStream`."""
        if not self._items and not self._runtime.wait_for(lambda: self.is_ready, timeout):
            raise GetTimeoutError(f"a generator has yielded nothing within {timeout} s")
        if not self._items:
            return None
        ref = self._items.popleft()
        self.taken += 1
        if self._call is not None:
            self._runtime.tell_taken(self._call, self.taken)
        return ref

    def when_ready(self, callback: Callable[[], object]) -> None:
        """See `ResultStream`."""
        with self._runtime.lock:
            if not self.is_ready:
                self._on_ready.append(callback)
                return
        callback()

    def __del__(self) -> None:
        if self._call is not None:  # nobody takes any more, so the callee need not wait for it
            self._runtime.reports.stream_dropped(self._call)


class Outflow:
    """The callee's end: counts what was yielded, and what the caller has taken."""

    __slots__ = ("_flushed_at", "_limit", "on_taken", "taken", "yielded")

    FLUSH_S = 200e-6
    """Results that are yielded faster than this wait for company."""

    def __init__(self, backpressure: int) -> None:
        self._limit = backpressure if backpressure > 0 else UNLIMITED
        self._flushed_at = 0.0
        self.yielded = 0
        self.taken = 0
        self.on_taken: Callable[[], object] | None = None
        """How to wake who waits for room, where that is not a thread that reads sockets."""

    def has_room(self) -> bool:
        """Whether the generator may go on."""
        return self.yielded - self.taken < self._limit

    def took(self, total: int) -> None:
        """The caller has taken so many."""
        self.taken = max(self.taken, total)
        if self.on_taken is not None:
            self.on_taken()

    def flush_is_due(self) -> bool:
        """Whether the result that was just queued should leave at once."""
        now = time.perf_counter()
        due = now - self._flushed_at > self.FLUSH_S
        if due:
            self._flushed_at = now
        return due
