"""A node service's copies of values that are owned on other nodes.

A process asks its node service for such a value, and gets it in shared memory. So a value comes to
a node once for all that read it there at about the same time::

    reader --FetchFor--> node service --Fetch--> owner          the first reader
    reader --FetchFor--> node service                           all others, meanwhile or later

A copy is kept as long as somebody here reads it, and a moment longer. A large result of a task that
ran here for somebody on another node is kept until he lets go of it (`keep`, and `outlying`), and
served as a copy is. When many nodes fetch a large
value, its owner sends it to the first few of them and sends the others there: see `Spreading`.
"""

from __future__ import annotations

import contextlib
import itertools
import time
import weakref
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rllib.core.exceptions import OutOfDiskError
from rllib.core.native import wire
from rllib.core.native.failures import dump_error
from rllib.core.native.objects import KEPT, Away, NativeRef, Stored
from rllib.core.native.peers import Peer, PeerGoneError
from rllib.core.native.spillfiles import FileLostError

if TYPE_CHECKING:
    from rllib.core.native.engine import NativeRuntime

LINGER_S = 2.0
"""How long a copy stays that nobody reads: others may be about to."""

FANOUT = 2
"""To so many nodes each one sends a value, at most."""

UNCLAIMED_S = 60.0
"""So long after the end of a worker its results are kept whose owners have not heard of them."""

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
        self._claims = itertools.count(1)
        self._unclaimed: dict[int, Unclaimed] = {}

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

    def keep(self, maker: Peer, result: wire.Keep) -> None:
        """Keep what a worker here has made for somebody on another node, until that lets go."""
        stored = self._runtime.values.result(result.value, maker)
        claim = 0
        with contextlib.suppress(PeerGoneError):
            owner = self._runtime.peers.get(result.owner)
            claim = next(self._claims)
            owner.hold((KEPT, claim), stored)
            self._kept[result.owner, result.number] = stored
            self._unclaimed[claim] = Unclaimed(maker, owner)
            self._found((result.owner, result.number), stored)
        maker.conn.send(wire.record_frame(wire.Stays(result.seq, claim)))
        self._runtime.peers.flush(maker.conn)

    def _found(self, key: Key, stored: Stored) -> None:
        """What was asked for elsewhere was made here meanwhile."""
        coming = self._coming.get(key)
        if coming is not None and coming.outcome is None:
            coming.resolve(stored)

    def claimed(self, claim: int) -> None:
        """Its owner knows of it, and frees it."""
        self._unclaimed.pop(claim, None)

    def expire(self) -> None:
        """Forget what nobody has read for a while, or was never told of."""
        now = time.monotonic()
        while self._lingering and self._lingering[0][0] <= now - LINGER_S:
            self._lingering.popleft()
        if self._unclaimed:
            self._expire_unclaimed(now)

    def _expire_unclaimed(self, now: float) -> None:
        for claim, each in list(self._unclaimed.items()):
            if each.maker.gone:
                each.since = min(each.since, now)
            if each.owner.gone or each.since <= now - UNCLAIMED_S:
                del self._unclaimed[claim]
                each.owner.let_go((KEPT, claim))

    def give_up(self) -> bool:
        """Let go of the copy that has lingered for longest; whether there was one."""
        if not self._lingering:
            return False
        self._lingering.popleft()
        return True

    def make_room(self) -> None:
        """Forget all that nobody reads."""
        self._lingering.clear()


@dataclass(slots=True)
class Unclaimed:
    """A result that is kept, of which its owner has not said that he knows of it."""

    maker: Peer
    owner: Peer
    since: float = float("inf")
    """When its maker was first seen to have ended: nobody tells the owner then, if not already."""


class Spreading:
    """An owner's side: which node gets a large value from which other one. No I/O.

    Nodes stand in the order in which they first asked. Each sends the value to `FANOUT` others, as
    in a heap, so that nobody waits for himself; the owner's own node is the root.
    """

    def __init__(self) -> None:
        self._asked: weakref.WeakKeyDictionary[Stored | Away, list[bytes]] = (
            weakref.WeakKeyDictionary()
        )

    def source(self, stored: Stored | Away, service: bytes) -> bytes:
        """The node service from which that one gets the value; empty for the owner itself, or for
        who keeps it for him."""
        asked = self._asked.setdefault(stored, [])
        if service not in asked:
            asked.append(service)
        place = asked.index(service)
        return b"" if place < FANOUT else asked[place // FANOUT - 1]
