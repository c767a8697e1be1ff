"""Train batches that are used more than once, while they are fresh."""

from typing import Generic, TypeVar

import numpy as np

ItemT = TypeVar("ItemT")


class CircularBuffer(Generic[ItemT]):
    """IMPACT's buffer (Luo et al. 2020, arXiv 1912.00167, section 3.2).

    It has room for the last N items. Each can be drawn K times, and leaves when it has been, or
    when it is the oldest and room is needed for a new one.

    Args:
        num_batches: N.
        iterations_per_batch: K.
        rng: decides what is drawn.
    """

    def __init__(
        self, num_batches: int, iterations_per_batch: int, rng: np.random.Generator
    ) -> None:
        self.num_batches, self.iterations_per_batch = num_batches, iterations_per_batch
        self.rng = rng
        self.num_added = 0
        self.tickets: list[tuple[int, ItemT]] = []

    @property
    def num_due(self) -> int:
        """How often to draw for each item that is added: K times, once N have been added."""
        if self.num_added < self.num_batches:
            return 0
        return min(self.iterations_per_batch, len(self.tickets))

    def __len__(self) -> int:
        """How often something can still be drawn."""
        return len(self.tickets)

    def add(self, item: ItemT) -> int:
        """Add an item; returns how often it was the turn of an item that had to leave for it."""
        oldest = self.num_added + 1 - self.num_batches
        kept = [ticket for ticket in self.tickets if ticket[0] >= oldest]
        num_lost = len(self.tickets) - len(kept)
        self.tickets = kept + [(self.num_added, item)] * self.iterations_per_batch
        self.num_added += 1
        return num_lost

    def draw(self) -> ItemT:
        """One of the items, each as likely as it may still be drawn often.

        Raises:
            IndexError: there is none.
        """
        if not self.tickets:
            raise IndexError("nothing is left to be drawn from the circular buffer")
        return self.tickets.pop(int(self.rng.integers(len(self.tickets))))[1]
