"""An owner's values that stay on other nodes, where tasks have made them.

A large result is kept by the node service where its task ran, and its owner is told so. It comes
when somebody here reads it; tasks that need it go there, and others get it from there. Where
somebody waits for it before it is made (`Wanted`), it comes at once::

    worker --Keep--> node service               the value stays
    worker --REPLY with KeptAt--> owner --Claimed--> node service
    owner --FetchFor--> node service            somebody reads it here; then it is here alone
    owner --Freed--> node service               nobody refers to it any more

What cannot be made again comes at once, so that it is not lost with that node. The rest is, and is
made again when somebody wants it: see `lineage`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable

from rllib.core.native import wire
from rllib.core.native.lineage import Lineage
from rllib.core.native.objects import (
    KEPT,
    WANTED,
    Away,
    Handed,
    HandedBlock,
    NativeRef,
    Reports,
    Stored,
)
from rllib.core.native.peers import PeerGoneError, Peers
from rllib.core.native.spillfiles import GoneRegion


class Outlying:
    """See the module's text. Runs under the runtime's lock; ``fetch`` asks a node service for what
    it keeps of an own object."""

    def __init__(
        self,
        peers: Peers,
        reports: Reports,
        lineage: Lineage,
        fetch: Callable[[NativeRef, bytes], None],
    ) -> None:
        self._peers = peers
        self._reports = reports
        self._lineage = lineage
        self._fetch = fetch
        self._kept_at: dict[bytes, weakref.WeakSet[NativeRef]] = {}

    def settle(self, refs: Iterable[NativeRef]) -> None:
        """A task has answered, and the recipe of its results is kept."""
        for ref in refs:
            if ref.is_away and ref.away is not None:
                self._settle(ref, ref.away)

    def _settle(self, ref: NativeRef, away: Away) -> None:
        try:
            self._peers.get(away.at)  # whose end is to be noticed
        except PeerGoneError:
            self.lose(ref)
            return
        self._peers.tell(away.at, wire.Claimed(away.claim))
        away.hold = HandedBlock(Handed(away.at, KEPT, away.claim, 0), self._reports.block_freed)
        self._kept_at.setdefault(away.at, weakref.WeakSet()).add(ref)
        ref.found(away)
        if away.wanted or ref.on_ready or not self._lineage.can_recover(ref):
            self.bring(ref)

    def bring(self, ref: NativeRef) -> None:
        """Somebody reads an own object here; one that exists elsewhere comes, once."""
        away = ref.away
        if away is None:
            ref.away = WANTED
        elif away is not WANTED and not away.coming:
            away.coming = away.wanted = True
            self._fetch(ref, away.at)

    def has_come(self, ref: NativeRef) -> None:
        """It is here, so it need not be there any more."""
        ref.away = None

    def lose(self, ref: NativeRef) -> None:
        """Where it was it is no more. It is made again, if somebody waits for it, or else when
        somebody wants it."""
        away, ref.away = ref.away, None
        if ref.outcome is not None or away is None:
            return
        if away.wanted or ref.on_ready:
            ref.away = WANTED
            self._lineage.recover(ref)
        else:
            ref.resolve(Stored(b"", [], [], GoneRegion([away.size])))

    def has_kept(self, service: bytes) -> bool:
        """Whether that process is a node service that has kept something for this one."""
        return service in self._kept_at

    def service_gone(self, service: bytes) -> None:
        """A node has ended."""
        for ref in self._kept_at.pop(service, ()):
            if ref.is_away and ref.away is not None and ref.away.at == service:
                self.lose(ref)
