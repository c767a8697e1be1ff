"""`cancel`, on the caller's side: find the call that makes an object, and stop it where it is.

A call is in one of three places: not sent (then it is dropped here), with a peer (which is told),
or owned by another process (which is told). What has ended is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rllib.core.exceptions import TaskCancelledError
from rllib.core.native import wire
from rllib.core.native.actor_calls import ActorCalls
from rllib.core.native.call import Call
from rllib.core.native.calls import Calls
from rllib.core.native.leases import Task
from rllib.core.native.objects import BorrowedRef, NativeRef
from rllib.core.native.peers import Peers
from rllib.core.native.tasks import Tasks


class Cancelling:
    """Runs under the runtime's lock."""

    def __init__(self, peers: Peers, calls: Calls, actor_calls: ActorCalls, tasks: Tasks) -> None:
        self._peers = peers
        self._calls = calls
        self._actor_calls = actor_calls
        self._tasks = tasks

    def cancel(self, ref: NativeRef, force: bool, recursive: bool) -> None:
        """Stop the call that makes ``ref``. Raises `ValueError` for ``force`` on an actor's."""
        if ref.outcome is not None:
            return
        if isinstance(ref, BorrowedRef):
            self._peers.tell(ref._owner, wire.CancelRef(ref._number, force, recursive))
            return
        call = next((call for call in self.unfinished() if ref in call.refs), None)
        if call is not None:
            self._stop(call, force, recursive)

    def cancel_children(self, parent: Any) -> None:
        """Stop what a job has called."""
        for call in [call for call in self.unfinished() if call.parent is parent]:
            self._stop(call, force=False, recursive=True)

    def unfinished(self) -> Iterator[Call]:
        """All calls of this process that have no answer yet."""
        yield from self._tasks.unsent()
        yield from self._calls.unanswered()
        yield from self._actor_calls.unsent()

    def _stop(self, call: Call, force: bool, recursive: bool) -> None:
        if call.actor is not None and force:
            raise ValueError(
                "force=True is for tasks: it would end the actor's process; use kill() for that"
            )
        call.cancelled = True
        if self._drop(call):
            call.resolve_all(TaskCancelledError(f"{call.name} was cancelled before it began"))
        elif call.peer is not None:
            self._peers.tell(call.peer.process, wire.Cancel(call.seq, force, recursive))
            self._peers.flush(call.peer.conn)

    def _drop(self, call: Call) -> bool:
        if isinstance(call, Task):
            return self._tasks.drop(call)
        return self._actor_calls.drop(call)
