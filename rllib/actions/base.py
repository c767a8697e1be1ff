"""What every action head can do.

Legend: B rows, A actions or action dimensions.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Shape = tuple[int, ...]
Fit = Literal["stretch", "clip", "none"]
"""How real numbers become actions of a bounded space: stretched to its bounds, of which -1 and 1
are the images, and clipped; clipped alone; or not at all."""


class ActionHead(ABC):
    """A distribution over actions whose parameters are the outputs of a network."""

    action_dtype: ClassVar[DTypeLike]
    """Of the actions, before ``to_env``."""

    @property
    @abstractmethod
    def num_inputs(self) -> int:
        """Width of the network's output."""

    @property
    @abstractmethod
    def action_shape(self) -> Shape:
        """Of one action: ``()`` or ``(A,)``."""

    @property
    @abstractmethod
    def noise_shape(self) -> Shape:
        """Of the noise of one action: ``()`` or one dimension."""

    @abstractmethod
    def draw_noise(self, rng: np.random.Generator, shape: Shape) -> Floats:
        """Noise [*shape, *noise_shape] for ``shape`` actions."""

    @abstractmethod
    def sample(self, inputs: Floats, noise: Floats) -> NDArray[Any]:
        """Actions [B, ...] from distribution inputs [B, num_inputs] and noise [B, ...]."""

    @abstractmethod
    def mode(self, inputs: Floats) -> NDArray[Any]:
        """The most likely actions [B, ...]."""

    @abstractmethod
    def log_prob(self, inputs: Floats, actions: NDArray[Any]) -> Floats:
        """[B] log probability (density) of the actions."""

    @abstractmethod
    def to_env(self, actions: NDArray[Any]) -> Any:
        """The actions as a vector environment wants them: batched, in the space's structure."""

    @property
    def log_std_columns(self) -> Sequence[int]:
        """Which inputs are log standard deviations, that a network had better not let run away."""
        return ()

    def at(self, timestep: int) -> "ActionHead":
        """The head with its schedules at their values of this timestep; most have none."""
        return self

    def fitted(self, fit: Fit) -> "ActionHead":
        """The head that fits real numbers to their space in this way; most have none."""
        return self


def input_limits(head: ActionHead, log_std_limit: float) -> Floats | None:
    """[num_inputs] what inputs are clipped to, plus and minus; ``None`` if all go as they are."""
    if not head.log_std_columns:
        return None
    limits = np.full(head.num_inputs, np.inf, np.float32)
    limits[list(head.log_std_columns)] = log_std_limit
    return limits
