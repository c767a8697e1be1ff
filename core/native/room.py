"""Room in the object store: when it is full, all processes move values to disk."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rllib.core.native import wire
from rllib.core.native.arena import Block

if TYPE_CHECKING:
    from rllib.core.native.engine import NativeRuntime

ANSWER_S = 2.0
"""How long to wait for other processes to move values to disk; then the new one goes there."""

FREED_S = 0.1
"""How long to wait for the news of what they have freed."""


class Room:
    """One process's side of it: it asks for room, and makes room when others ask."""

    def __init__(self, runtime: NativeRuntime) -> None:
        self._runtime = runtime

    def find(self, size: int, moved: int) -> Block | None:
        """Have all other processes make room; a block, as soon as there is one.

        What was ``moved`` here may still be read by others, who are about to let go of it.
        """
        runtime = self._runtime
        block: Block | None = None

        def found() -> bool:
            nonlocal block
            with runtime.lock:
                block = block or runtime.places.arena.allocate(size)
            return block is not None

        with runtime.asked(wire.NeedRoom(runtime.new_number(), size)) as answers:
            answered = time.monotonic() + ANSWER_S
            runtime.reactor.run_until(lambda: found() or bool(answers), answered)
            if moved or (answers and answers[0].moved):
                runtime.reactor.run_until(found, time.monotonic() + FREED_S)
        return block

    def make(self, order: wire.MakeRoom) -> None:
        """Move values to disk, and say how much that was."""
        spiller = self._runtime.places.spiller
        spiller.request(order.size, lambda moved: self._runtime.tell_made(order.seq, moved))
