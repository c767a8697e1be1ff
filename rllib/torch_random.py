"""A stream of torch's random numbers that belongs to one owner.

Networks and distributions draw from torch's global generator. Whoever needs the same numbers again
puts a stream of its own in its place meanwhile, and leaves the global one as it was.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


class TorchStream:
    """Random numbers from a seed, however much the rest of the process draws.

    Args:
        seed: in [0, 2**63).
    """

    def __init__(self, seed: int) -> None:
        self._state = torch.Generator().manual_seed(seed).get_state()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within, torch draws from this stream."""
        outer = torch.get_rng_state()
        torch.set_rng_state(self._state)
        try:
            yield
        finally:
            self._state = torch.get_rng_state()
            torch.set_rng_state(outer)

    def get_state(self) -> NDArray[Any]:
        """[bytes] uint8, to go on from."""
        return self._state.numpy().copy()

    def set_state(self, state: NDArray[Any]) -> None:
        """Go on from ``get_state``."""
        self._state = torch.from_numpy(np.array(state, np.uint8))
