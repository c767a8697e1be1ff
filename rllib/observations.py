"""From an environment's observations to the feature rows that networks read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.errors import ConfigError

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ObservationEncoder:
    """Turns observations [B, ...] into features [B, size] of float32.

    Attributes:
        size: features per observation.
        encode: the pure function that does it.
    """

    size: int
    encode: Callable[[NDArray[Any]], Floats]


def observation_encoder(space: gym.Space[Any]) -> ObservationEncoder:
    """Box is flattened; Discrete becomes one-hot.

    Raises:
        ConfigError: no encoding for this kind of space.
    """
    if isinstance(space, gym.spaces.Box):
        return ObservationEncoder(int(np.prod(space.shape)), _flatten)
    if isinstance(space, gym.spaces.Discrete):
        size, start = int(space.n), int(space.start)
        return ObservationEncoder(size, lambda obs: _one_hot(obs - start, size))
    raise ConfigError(
        f"observation space {space} is not supported; there are encodings for Box and Discrete. "
        "gymnasium.wrappers.FlattenObservation turns many other spaces into a Box."
    )


def _flatten(obs: NDArray[Any]) -> Floats:
    return obs.reshape(len(obs), -1).astype(np.float32, copy=False)


def _one_hot(indices: NDArray[Any], size: int) -> Floats:
    one_hot: Floats = (indices.reshape(-1, 1) == np.arange(size)).astype(np.float32)
    return one_hot
