"""Who is at a node's port and has not proved yet to have the token: so many, each for a while.

Each of them costs up to three descriptors, and memory. One too many, and whoever has been there
the longest goes, of the host from which most have come: an honest one proves within milliseconds
what he has to, and comes again where he could not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

_MOST = 1024
_COST = 12
"""Of so many descriptors of the process strangers get three, which is one stranger."""


class Stranger:
    """One of them; ``patience`` is the timeout around all that is done for him."""

    def __init__(self, host: str, patience: asyncio.Timeout) -> None:
        self.host = host
        self._patience = patience
        self._dismissed = False

    def stay(self, seconds: float | None) -> None:
        """He may, so long from now; with ``None`` for good. Too late for one who is to go."""
        if not (self._dismissed or self._patience.expired()):
            now = asyncio.get_running_loop().time()
            self._patience.reschedule(None if seconds is None else now + seconds)

    def dismiss(self) -> None:
        """His time is up."""
        self.stay(0.0)
        self._dismissed = True


class Strangers:
    """All of a port; at most ``most``, and ``most_of_host`` of one host."""

    def __init__(self, most: int, most_of_host: int) -> None:
        self._most = most
        self._most_of_host = most_of_host
        self._count = 0
        self._of: dict[str, dict[Stranger, None]] = {}

    @contextlib.contextmanager
    def one_more(self, host: str, patience: asyncio.Timeout) -> Iterator[Stranger]:
        """He is one of them until `know`, or the end of this."""
        stranger = Stranger(host, patience)
        self._of.setdefault(host, {})[stranger] = None
        self._count += 1
        if len(self._of[host]) > self._most_of_host:
            self._dismiss_one(host)
        elif self._count > self._most:
            self._dismiss_one(max(self._of, key=lambda each: len(self._of[each])))
        try:
            yield stranger
        finally:
            self._forget(stranger)

    def know(self, stranger: Stranger) -> None:
        """He has proved to have the token, and may stay."""
        stranger.stay(None)
        self._forget(stranger)

    def _dismiss_one(self, host: str) -> None:
        oldest = next(iter(self._of[host]))
        oldest.dismiss()
        self._forget(oldest)

    def _forget(self, stranger: Stranger) -> None:
        of_host = self._of.get(stranger.host, {})
        if stranger in of_host:
            del of_host[stranger]
            self._count -= 1
            if not of_host:
                del self._of[stranger.host]


def strangers_within(descriptors: int) -> Strangers:
    """As many as a process with so many descriptors can bear; from one host half of them."""
    most = max(2, min(_MOST, descriptors // _COST))
    return Strangers(most, most // 2)
