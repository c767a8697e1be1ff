"""The recurrent states that were stored where sequences begin, as long as their steps are kept.

Legend: C states of one fragment, B states drawn.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
State = dict[str, NDArray[Any]]

_FIRST_SIZE = 64


class MemoryLog:
    """States in the order of their steps: added at one end, evicted at the other.

    The i-th state ever added lies in row i % size; the size doubles when they no longer fit.

    Args:
        capacity: of the ring of steps.
    """

    def __init__(self, capacity: int) -> None:
        self.number = np.full(capacity, -1)  # of each slot: which state begins there, if any
        self.slots = np.empty(_FIRST_SIZE, np.int64)
        self.parts: State = {}
        self.num_added = 0
        self.num_evicted = 0

    def replace(self, slots: Indices, begins: Indices, states: State) -> None:
        """Take over new steps in place of old ones.

        Args:
            slots: [R] of the new steps, in order.
            begins: [C] in ascending order, the new steps in which a sequence begins.
            states: [C, ...] the states before these, by name.
        """
        self.num_evicted += int(np.count_nonzero(self.number[slots] >= 0))
        added = np.arange(self.num_added, self.num_added + len(begins))
        self.number[slots] = -1
        self.number[slots[begins]] = added
        self._reserve(len(begins), states)
        rows = added % len(self.slots)
        self.slots[rows] = slots[begins]
        for name, part in states.items():
            self.parts[name][rows] = part
        self.num_added += len(begins)

    def _reserve(self, count: int, states: State) -> None:
        for name, part in states.items():
            if name not in self.parts:
                self.parts[name] = np.empty((len(self.slots), *part.shape[1:]), part.dtype)
        live = np.arange(self.num_evicted, self.num_added)
        size = len(self.slots)
        while size < len(live) + count:
            size *= 2
        if size > len(self.slots):
            self.slots = self._moved(self.slots, live, size)
            self.parts = {name: self._moved(part, live, size) for name, part in self.parts.items()}

    @staticmethod
    def _moved(array: NDArray[Any], live: Indices, size: int) -> NDArray[Any]:
        wider = np.empty((size, *array.shape[1:]), array.dtype)
        wider[live % size] = array[live % len(array)]
        return wider

    @property
    def num_bytes(self) -> int:
        """Of the states that are there, of which arrays are up to twice as large."""
        count = self.num_added - self.num_evicted
        return count * sum(part[:1].nbytes for part in self.parts.values())

    @property
    def live(self) -> Indices:
        """Slots of all steps in which a sequence begins, oldest first."""
        return self.slots[np.arange(self.num_evicted, self.num_added) % len(self.slots)]

    def draw(self, rng: np.random.Generator, num: int) -> Indices:
        """Slots [B] of beginnings, each as likely as any other."""
        return self.slots[rng.integers(self.num_evicted, self.num_added, num) % len(self.slots)]

    def states(self, slots: Indices) -> State:
        """[B, ...] the states before the steps in these slots, which begin sequences, by name."""
        rows = self.number[slots] % len(self.slots)
        return {name: part[rows] for name, part in self.parts.items()}

    def get_state(self) -> dict[str, Any]:
        """State tree: beginnings and states, oldest first."""
        rows = np.arange(self.num_evicted, self.num_added) % len(self.slots)
        parts = {name: part[rows] for name, part in self.parts.items()}
        counts = {"num_added": self.num_added, "num_evicted": self.num_evicted}
        return {"slots": self.slots[rows], "parts": parts, **counts}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore ``get_state`` into an empty log."""
        slots = np.array(state["slots"], np.int64)
        self.num_added = self.num_evicted = int(state["num_evicted"])
        parts = {name: np.array(part) for name, part in state["parts"].items()}
        self.replace(slots, np.arange(len(slots)), parts)
