"""Rows that come and go in any order, such as the last observations of episodes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib.checkpoints.array_state import array_from_state, array_to_state

Indices = NDArray[np.int64]

_FIRST_SIZE = 16


class Pool:
    """An array whose rows are lent out and given back; it grows by doubling.

    Row 0 is always zero and never lent.

    Args:
        shape: of one row.
        dtype: of the rows.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.rows = np.zeros((_FIRST_SIZE, *shape), dtype)
        self._free = np.arange(_FIRST_SIZE - 1, -1, -1)
        self._num_free = _FIRST_SIZE - 1

    def put(self, values: NDArray[Any]) -> Indices:
        """Keep values [K, ...]; returns the rows [K] in which they lie."""
        while self._num_free < len(values):
            self._grow()
        before, self._num_free = self._num_free, self._num_free - len(values)
        slots = self._free[self._num_free : before].copy()
        self.rows[slots] = values
        return slots

    def release(self, slots: Indices) -> None:
        """Take rows [K] back."""
        before, self._num_free = self._num_free, self._num_free + len(slots)
        self._free[before : self._num_free] = slots

    def _grow(self) -> None:
        size = len(self.rows)
        self.rows = np.concatenate([self.rows, np.zeros_like(self.rows)])
        fresh = np.arange(2 * size - 1, size - 1, -1)
        self._free = np.concatenate([fresh, self._free])  # lent last, so that the pool stays dense
        self._num_free += size

    @property
    def free(self) -> Indices:
        """Rows that are not lent."""
        return self._free[: self._num_free]

    def get_state(self) -> dict[str, Any]:
        """State tree."""
        return {"rows": array_to_state(self.rows), "free": self.free.copy()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Pool":
        """A pool like the one of ``get_state``."""
        rows, free = array_from_state(state["rows"]), np.array(state["free"], np.int64)
        pool = cls(rows.shape[1:], rows.dtype)
        pool.rows, pool._num_free = rows, len(free)
        pool._free = np.concatenate([free, np.zeros(len(rows) - len(free), np.int64)])
        return pool
