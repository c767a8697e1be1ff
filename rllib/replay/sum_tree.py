"""Drawing in proportion to priorities, for whole arrays at once: a sum tree of few, wide levels.

    top                      searched by bisection in its running sum
    sums   [blocks, FANOUT]  each the sum of one block of the level below
    leaves [blocks, FANOUT]  the priorities

A binary tree suits scalar code. In numpy a level costs the same few calls whether it is narrow or
wide, so wide blocks, whose running sums are made when they are searched, take fewer of them.

Legend: B items at once, F = FANOUT.
"""

import numpy as np
from numpy.typing import NDArray

FANOUT = 32
TOP = 2048
"""The widest top level; a wider one would cost more to add up than another level to descend."""

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


class SumTree:
    """Priorities of ``capacity`` items, 0 at first, and which item a mass falls on.

    Sums are always made anew from their block. So they never drift, and trees of the same leaves
    are the same to the last bit, however they came about.

    Args:
        capacity: number of items, at least 1.
    """

    def __init__(self, capacity: int) -> None:
        self._levels = [np.zeros((_blocks(capacity), FANOUT))]
        while (width := len(self._levels[-1])) > TOP:
            self._levels.append(np.zeros((_blocks(width), FANOUT)))
        self._running = np.zeros(width + 1)
        self._top = np.zeros(width)
        self.leaves = self._levels[0].reshape(-1)[:capacity]
        sums = [level.reshape(-1) for level in self._levels[1:]]
        self._sums = list(zip(self._levels, [*sums, self._top], strict=True))

    @property
    def total(self) -> float:
        """The sum of all priorities."""
        return float(self._run()[-1])

    def set(self, items: Indices, priorities: Floats | float) -> None:
        """Give the items [B] their priorities [B]; of an item named twice the last counts.

        Args:
            items: in [0, capacity).
            priorities: finite and not negative.
        """
        self.leaves[items] = priorities
        for blocks, sums in self._sums:
            items = items // FANOUT
            sums[items] = blocks[items].sum(axis=1)

    def fill(self, start: int, stop: int, priorities: Floats | float) -> None:
        """Give the items [start, stop) their priorities."""
        self.leaves[start:stop] = priorities
        for blocks, sums in self._sums:
            start, stop = start // FANOUT, (stop - 1) // FANOUT + 1
            sums[start:stop] = blocks[start:stop].sum(axis=1)

    def find(self, masses: Floats) -> Indices:
        """The items [B] on which masses [B] fall, when all priorities lie end to end.

        Args:
            masses: in [0, total]. One that rounding has brought to the total falls on the last item
                with a priority; no mass ever falls on an item without.
        """
        running = self._run()
        masses = np.minimum(masses, np.nextafter(running[-1], 0.0))
        items = running.searchsorted(masses, side="right") - 1
        rest = masses - running[items]
        rows = np.arange(len(masses))
        running = np.zeros((len(masses), FANOUT + 1))
        for blocks in reversed(self._levels):
            blocks[items].cumsum(axis=1, out=running[:, 1:])
            # A sum may differ from the end of the running sum by rounding.
            rest = np.minimum(rest, np.nextafter(running[:, -1], 0.0))
            children = (running[:, 1:] > rest[:, None]).argmax(axis=1)
            rest = rest - running[rows, children]
            items = items * FANOUT + children
        return items

    def _run(self) -> Floats:
        """[1 + width] the running sum of the top level, from 0."""
        self._top.cumsum(out=self._running[1:])
        return self._running


def _blocks(width: int) -> int:
    return -(-width // FANOUT)
