"""A node service's copies of values that are owned on other nodes.

A process asks its node service for such a value, and gets it in shared memory. So a value comes to
a node once for all that read it there at about the same time::

    reader --FetchFor--> node service --Fetch--> owner          the first reader
    reader --FetchFor--> node service                           all others, meanwhile or later

A copy is kept as long as somebody here reads it, and a moment longer. When many nodes fetch a large
value, its owner sends it to the first few of them and sends the others there: see `Spreading`.
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from typing import TYPE_CHECKING

from rllib.core.exceptions import OutOfDiskError
from rllib.core.native import wire
from rllib.core.native.failures import dump_error
from rllib.core.native.objects import NativeRef, Stored
from rllib.core.native.peers import Peer
from rllib.core.native.spillfiles import FileLostError

if TYPE_CHECKING:
    from rllib.core.native.engine import NativeRuntime

LINGER_S = 2.0
"""How long a copy stays that nobody reads: others may be about to."""

FANOUT = 2
"""To so many nodes each one sends a value, at most."""

Key = tuple[bytes, int]
"""Owner and number of an object."""


class Copies:
    """See the module's text. Runs under the runtime's lock."""

    def __init__(self, runtime: NativeRuntime) -> None:
        self._runtime = runtime
        self._kept: weakref.WeakValueDictionary[Key, Stored] = weakref.WeakValueDictionary()
        self._lingering: deque[tuple[float, Stored]] = deque()
        self._coming: dict[Key, NativeRef] = {}
        self._waiting: dict[Key, list[tuple[Peer, int]]] = {}

    def serve(self, peer: Peer, wanted: wire.FetchFor) -> None:
        """Answer a process of this node, or the service of another one."""
        key = wanted.owner, wanted.number
        if wanted.lost:
            self._kept.pop(key, None)
        kept = self._kept.get(key)
        if kept is not None:
            self._send(peer, wanted.seq, key, kept)
        elif key in self._coming or not peer.remote:
            self._waiting.setdefault(key, []).append((peer, wanted.seq))
            if key not in self._coming:
                self._fetch(key)
        else:
            self._decline(peer, wanted.seq)

    def _fetch(self, key: Key) -> None:
        ref = self._coming[key] = self._runtime.values.find_exposed(*key)
        self._runtime.calls.want(ref)
        ref.when_ready(lambda: self._came(key))

    def _came(self, key: Key) -> None:
        """The reference is let go of; what the owner counts are the readers themselves."""
        outcome = self._coming.pop(key).outcome
        assert outcome is not None
        if isinstance(outcome, Stored) and outcome.region is not None:
            self._kept[key] = outcome
            self._lingering.append((time.monotonic(), outcome))
        for peer, seq in self._waiting.pop(key):
            self._send(peer, seq, key, outcome)

    def _send(self, peer: Peer, seq: int, key: Key, outcome: Stored | Exception) -> None:
        if peer.gone:
            return
        try:
            frame = self._answer(peer, seq, outcome)
        except (FileLostError, OutOfDiskError) as error:
            self._kept.pop(key, None)
            if peer.remote:
                self._decline(peer, seq)
                return
            frame = wire.error_frame(seq, dump_error(error))
        peer.conn.send(frame)
        self._runtime.peers.hold(peer.conn)

    def _answer(self, peer: Peer, seq: int, outcome: Stored | Exception) -> bytes:
        if isinstance(outcome, Exception):
            return wire.error_frame(seq, dump_error(outcome))
        return wire.reply_frame(seq, [self._runtime.values.lent(outcome, peer)])

    def _decline(self, peer: Peer, seq: int) -> None:
        """It has to ask the owner."""
        peer.conn.send(wire.record_frame(wire.Elsewhere(seq, b"")))
        self._runtime.peers.hold(peer.conn)

    def expire(self) -> None:
        """Forget what nobody has read for a while."""
        until = time.monotonic() - LINGER_S
        while self._lingering and self._lingering[0][0] <= until:
            self._lingering.popleft()

    def give_up(self) -> bool:
        """Let go of the copy that has lingered for longest; whether there was one."""
        if not self._lingering:
            return False
        self._lingering.popleft()
        return True

    def make_room(self) -> None:
        """Forget all that nobody reads."""
        self._lingering.clear()


class Spreading:
    """An owner's side: which node gets a large value from which other one. No I/O.

    Nodes stand in the order in which they first asked. Each sends the value to `FANOUT` others, as
    in a heap, so that nobody waits for himself; the owner's own node is the root.
    """

    def __init__(self) -> None:
        self._asked: weakref.WeakKeyDictionary[Stored, list[bytes]] = weakref.WeakKeyDictionary()

    def source(self, stored: Stored, service: bytes) -> bytes:
        """The node service from which that one gets the value; empty for the owner itself."""
        asked = self._asked.setdefault(stored, [])
        if service not in asked:
            asked.append(service)
        place = asked.index(service)
        return b"" if place < FANOUT else asked[place // FANOUT - 1]
