"""From an environment's observations to what the default networks read.

    obs [..., *space.shape] -> features [..., D] float32        everything but images, concatenated
                            -> {"features", "image", ...}       with images or an action mask

Legend: ... leading dimensions, D features.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.config.sections import ModelConfig
from rllib.errors import ConfigError

Floats = NDArray[np.float32]
Path = tuple[str, ...]

FEATURES = "features"
ACTION_MASK = "action_mask"

_SMALLEST_IMAGE = 36
"""Pixels per side that DQN's convolutions need at least."""


@dataclass(frozen=True)
class Leaf:
    """A part of an observation that is no Dict or Tuple."""

    path: Path
    space: gym.Space[Any]

    def of(self, obs: NDArray[Any]) -> NDArray[Any]:
        """This part of observations [...] as an array [..., *shape]."""
        for name in self.path:
            obs = obs[name]
        return obs

    @cached_property
    def name(self) -> str:
        """``camera.left``: how messages and parameters call it."""
        return ".".join(self.path) or "obs"

    @cached_property
    def size(self) -> int:
        """Features that it becomes."""
        if isinstance(self.space, gym.spaces.Discrete):
            return int(self.space.n)
        if isinstance(self.space, gym.spaces.MultiDiscrete):
            return int(self.space.nvec.sum())
        return int(np.prod(self.space.shape or ()))

    def features(self, obs: NDArray[Any]) -> Floats:
        """Features [..., size]: numbers flattened, choices one-hot."""
        part = self.of(obs)
        if isinstance(self.space, gym.spaces.Discrete):
            return _one_hot(part - self.space.start, int(self.space.n))
        shape = self.space.shape or ()
        lead = part.shape[: part.ndim - len(shape)]
        if isinstance(self.space, gym.spaces.MultiDiscrete):
            choices = (part - self.space.start).reshape(*lead, self.space.nvec.size)
            hot = [_one_hot(choices[..., i], n) for i, n in enumerate(self.space.nvec.flat)]
            return np.concatenate(hot, axis=-1)
        return part.reshape(*lead, self.size).astype(np.float32, copy=False)


def leaves(space: gym.Space[Any], path: Path = ()) -> Iterator[Leaf]:
    """The parts of an observation space, in gymnasium's order.

    Raises:
        ConfigError: there is no encoding for a part.
    """
    if isinstance(space, gym.spaces.Dict):
        for key, part in space.spaces.items():
            yield from leaves(part, (*path, str(key)))
    elif isinstance(space, gym.spaces.Tuple):
        for index, part in enumerate(space.spaces):
            yield from leaves(part, (*path, str(index)))
    elif isinstance(space, _SIMPLE):
        yield Leaf(path, space)
    else:
        where = f" (at {'.'.join(path)})" if path else ""
        raise ConfigError(
            f"observation space {space}{where} is not supported; there are encodings for Box, "
            "Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of those"
        )


_SIMPLE = (
    gym.spaces.Box,
    gym.spaces.Discrete,
    gym.spaces.MultiDiscrete,
    gym.spaces.MultiBinary,
)


def has_action_mask(space: gym.Space[Any]) -> bool:
    """Whether observations tell which actions are allowed: a Dict with ``action_mask``."""
    return isinstance(space, gym.spaces.Dict) and ACTION_MASK in space.spaces


class ObservationEncoder:
    """Turns observations into what the default networks read.

    Args:
        space: of one observation.
        model: says which parts are read as images.

    Attributes:
        size: D, the features of all parts that are no images.
        images: the parts that are, by name.
    """

    def __init__(self, space: gym.Space[Any], model: ModelConfig | None = None) -> None:
        model = model or ModelConfig()
        parts = [leaf for leaf in leaves(space) if leaf.path != (ACTION_MASK,)]
        self.has_mask = has_action_mask(space)
        self.images = {leaf.name: leaf for leaf in parts if _is_image(leaf.space, model)}
        self.flat = [leaf for leaf in parts if leaf.name not in self.images]
        self.size = sum(leaf.size for leaf in self.flat)
        self._is_plain = _is_plain(space) and not self.images

    @property
    def is_flat(self) -> bool:
        """Whether features are all there is, so that they come as a plain array."""
        return not self.images and not self.has_mask

    def features(self, obs: NDArray[Any]) -> Floats:
        """Features [..., D] of observations [..., *shape]."""
        if self._is_plain and obs.dtype == np.float32:
            return obs  # as they are: small steps feel every call
        if len(self.flat) == 1:
            return self.flat[0].features(obs)
        return np.concatenate([leaf.features(obs) for leaf in self.flat], axis=-1)

    def encode(self, obs: NDArray[Any]) -> Floats | dict[str, NDArray[Any]]:
        """Features alone, or with images [..., *shape] by name and ``action_mask`` [..., A]."""
        if self.is_flat:
            return self.features(obs)
        parts = {name: leaf.of(obs) for name, leaf in self.images.items()}
        if self.flat:
            parts[FEATURES] = self.features(obs)
        if self.has_mask:
            parts[ACTION_MASK] = obs[ACTION_MASK]
        return parts


def _is_plain(space: gym.Space[Any]) -> bool:
    """Whether its members, once they are float32, are their own features."""
    return isinstance(space, gym.spaces.Box) and len(space.shape) == 1


def _is_image(space: gym.Space[Any], model: ModelConfig) -> bool:
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 3 or model.encoder == "mlp":
        return False
    if model.conv_filters is not None or model.encoder != "auto":
        return True
    return space.dtype == np.uint8 and sorted(space.shape)[1] >= _SMALLEST_IMAGE


def _one_hot(indices: NDArray[Any], size: int) -> Floats:
    one_hot: Floats = (indices[..., None] == np.arange(size)).astype(np.float32)
    return one_hot
