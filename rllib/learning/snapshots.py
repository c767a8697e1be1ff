"""What learners are rebuilt from when all of them have died: the state of one, some seconds ago."""

from collections.abc import Callable
from time import monotonic
from typing import Any
from warnings import warn

from rllib import core
from rllib.learning.deaths import DEATHS
from rllib.workers import fetch, is_remote


class Snapshots:
    """Keeps the newest state that a learner has given out.

    A snapshot is asked for after an update and made before the next one; nobody waits for it.

    Args:
        every_s: seconds from one to the next.
        clock: seconds.
    """

    def __init__(self, every_s: float, clock: Callable[[], float] = monotonic) -> None:
        self.every_s, self.clock = every_s, clock
        self._asked_at = -float("inf")
        self._coming: Any = None
        self._newest: Any = None
        self._is_told = False

    def take(self, ask: Callable[[], Any]) -> None:
        """Ask for another one, if it is time and the last one is there.

        Args:
            ask: returns a handle of a state.
        """
        self._note()
        if self._coming is None and self.clock() - self._asked_at >= self.every_s:
            self._ask(ask)

    def renew(self, ask: Callable[[], Any]) -> None:
        """Ask for another one now: one that is on its way is older than what has changed.

        Args:
            ask: see ``take``.
        """
        self._note()
        self._ask(ask)

    def put(self, state: Any) -> None:
        """Keep a state that learners were given; one that is on its way is older."""
        self._coming, self._newest, self._asked_at = None, state, self.clock()
        self._is_told = False

    def missed(self, error: Exception) -> None:
        """One could not be had: the one that there is stays. Tells so once, until there is another.

        Of a death others tell.
        """
        if not self._is_told and not isinstance(error, DEATHS):
            self._is_told = True
            text = "no snapshot of the learners could be taken, and the last one is kept"
            warn(f"{text}: {error}", RuntimeWarning, stacklevel=2)

    def _ask(self, ask: Callable[[], Any]) -> None:
        self._coming, self._asked_at = ask(), self.clock()

    def _note(self) -> None:
        if self._coming is None:
            return
        if not is_remote(self._coming) or core.wait([self._coming], timeout=0.0)[0]:
            coming, self._coming = self._coming, None
            try:
                self._newest, self._is_told = fetch(coming), False
            except core.exceptions.CoreError as error:
                self.missed(error)

    def newest(self) -> Any:
        """The newest state; ``None`` before there is one."""
        self._note()
        self._coming = None
        return self._newest
