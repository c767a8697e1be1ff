"""Exploration that keeps its direction for a while.

Noise drawn anew in every step hardly moves what has inertia, such as a car in a valley. Here each
step's noise resembles the one before, while its distribution stays the same, so that the policy
and its probabilities are what they were (Hollenstein et al. 2024, "Colored Noise in PPO").

Legend: T rows, N environments, A action dimensions.
"""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib.actions import ActionHead, BoxHead
from rllib.errors import ConfigError, Problem
from rllib.schedules import Points, value_at


class CorrelatedNoise:
    """Makes a first-order autoregressive process of white noise.

    Args:
        correlation: of one step's noise with the next one's; 0 leaves it white. It may be a
            schedule, which ``set_timestep`` follows.
        head: the action distribution whose noise it is.

    Raises:
        ConfigError: noise that is not normal would not keep its distribution.
    """

    def __init__(self, correlation: float | Points, head: ActionHead) -> None:
        if correlation and not isinstance(head, BoxHead):
            text = f"is for normal distributions (Box actions); {type(head).__name__} must have 0"
            raise ConfigError(Problem(text, "exploration_noise_correlation"))
        self.schedule = correlation
        self.last: NDArray[np.float32] | None = None
        self.set_timestep(0)

    def set_timestep(self, timestep: int) -> None:
        """Take what the schedule has for ``num_env_steps_sampled_lifetime``."""
        self.correlation = value_at(self.schedule, timestep)

    def of(self, white: NDArray[np.float32]) -> NDArray[np.float32]:
        """[T, N, A] of independent normal noise, going on from the last fragment."""
        if not self.correlation:
            return white
        fresh = np.float32(sqrt(1.0 - self.correlation**2))
        noise = np.empty_like(white)
        last = white[0] if self.last is None else self.last
        for t, step in enumerate(white):
            last = np.float32(self.correlation) * last + fresh * step
            noise[t] = last
        self.last = last
        return noise

    def get_state(self) -> dict[str, Any]:
        """State tree."""
        return {} if self.last is None else {"last": self.last.copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``."""
        self.last = np.array(state["last"], np.float32) if "last" in state else None
