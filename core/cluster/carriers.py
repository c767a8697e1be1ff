"""The threads that carry what goes through the tunnels of a gateway: one for the tunnels, and a few
for their side wires (`side_wires`).

They share no locks: what one wants done by another it posts there, and goes on. So who holds the
lock of a carrier never waits for another one's.
"""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Callable

from rllib.core.native import platform
from rllib.core.native.reactor import Reactor

SIDES = 2
"""Side threads of a gateway, and side wires of a tunnel."""


class Carrier:
    """A reactor with a thread and a lock of its own."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._errands: deque[Callable[[], None]] = deque()
        self.reactor = Reactor(self.lock, self._run_errands)

    def post(self, errand: Callable[[], None]) -> None:
        """Have it done there, soon, and under the lock. Errands are done in order."""
        self._errands.append(errand)
        self.reactor.nudge()

    def _run_errands(self) -> None:
        while self._errands:
            errand = self._errands.popleft()
            try:
                errand()
            except Exception:  # a defect, for which those behind it are not to wait
                traceback.print_exc()

    def stop(self) -> None:
        """End the thread; what was posted is done before this returns."""
        self.reactor.stop()
        with self.lock:
            self._run_errands()


class Carriers:
    """All of a gateway. Those for side wires begin when there is one."""

    def __init__(self) -> None:
        self.main = Carrier()
        self._sides: list[Carrier] = []

    def sides(self) -> list[Carrier]:
        """Those for side wires, of which a tunnel has one for each of its own. Under the lock of
        ``main``. Raises `OSError` where they cannot begin."""
        while len(self._sides) < SIDES:
            try:
                side = Carrier()
            except RuntimeError as error:  # no thread
                raise OSError(str(error)) from error
            side.post(platform.carry_in_batches)
            self._sides.append(side)
        return self._sides

    def stop(self) -> None:
        """End all threads."""
        self.main.stop()
        for each in self._sides:
            each.stop()
