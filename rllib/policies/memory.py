"""What a recurrent policy remembers of N episodes while an env runner steps them.

Legend: N environments.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib.checkpoints.array_state import array_like
from rllib.envs.vector import EnvStep

State = dict[str, NDArray[Any]]


class PolicyMemory:
    """The policy's state per environment, and where the sequences that are trained on begin.

    Args:
        initial: [N, ...] state of episodes that begin, by name; empty without memory.
        max_seq_len: rows of the longest sequence.

    Attributes:
        state: [N, ...] before the next row.
    """

    def __init__(self, initial: State, max_seq_len: int) -> None:
        self.initial = initial
        self.max_seq_len = max_seq_len
        self.state = dict(initial)
        self.ages = np.zeros(len(next(iter(initial.values()), ())), np.int64)

    @property
    def begins(self) -> NDArray[np.bool_]:
        """[N] whether a sequence begins with the next row; of length 0 without memory."""
        begins: NDArray[np.bool_] = self.ages == 0
        return begins

    def begin_fragment(self) -> None:
        """No sequence goes on from one fragment into the next."""
        self.ages[:] = 0

    def after(self, step: EnvStep) -> None:
        """Count a row, and forget the episodes that ended in it."""
        if not self.initial:
            return
        self.ages = (self.ages + 1) % self.max_seq_len
        # A reset row was acted on with the ended episode's last observation.
        fresh = step.terminated | step.truncated | step.is_reset_row
        if fresh.any():
            self.ages[fresh] = 0
            for name, initial in self.initial.items():
                self.state[name] = self.state[name].copy()
                self.state[name][fresh] = initial[fresh]

    def get_state(self) -> dict[str, Any]:
        """State tree."""
        return {name: part.copy() for name, part in self.state.items()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``.

        Raises:
            CheckpointError: it is that of another memory, or of another number of environments.
        """
        own = self.initial
        self.state = {name: array_like(part, state[name], name) for name, part in own.items()}
