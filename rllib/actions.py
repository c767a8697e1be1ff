"""From a network's outputs to actions, in numpy: what an env runner does in every step.

The twin of ``rllib.distributions``, which trains the same distributions in torch. Random numbers
come from outside as *noise*, drawn once per fragment, so that acting is a pure function.

Legend: B rows, A actions or action dimensions.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.errors import ConfigError

Floats = NDArray[np.float32]
_LOG_2PI = float(np.log(2.0 * np.pi))


class ActionHead(Protocol):
    """A distribution over actions whose parameters are the outputs of a network."""

    @property
    def num_inputs(self) -> int:
        """Width of the network's output."""

    def draw_noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        """Noise for ``shape`` actions."""

    def sample(self, inputs: Floats, noise: Floats) -> NDArray[Any]:
        """Actions [B, ...] from distribution inputs [B, num_inputs] and noise."""

    def mode(self, inputs: Floats) -> NDArray[Any]:
        """The most likely actions [B, ...]."""

    def log_prob(self, inputs: Floats, actions: NDArray[Any]) -> Floats:
        """[B] log probability (density) of the actions."""

    def to_env(self, actions: NDArray[Any]) -> NDArray[Any]:
        """The actions as the environment wants them."""


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_p: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return log_p


@dataclass(frozen=True)
class CategoricalHead:
    """One of A actions; inputs are logits [B, A], noise is uniform in [0, 1)."""

    space: gym.spaces.Discrete

    @property
    def num_inputs(self) -> int:
        """A."""
        return int(self.space.n)

    def draw_noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        """[*shape] uniform."""
        return rng.random(shape, dtype=np.float32)

    def sample(self, inputs: Floats, noise: Floats) -> NDArray[np.int64]:
        """Invert the cumulative distribution; works on weights that are not normalised."""
        weights = np.exp(inputs - inputs.max(axis=-1, keepdims=True))
        edges = weights.cumsum(axis=-1)
        # The last edge is left out: rounding must never yield the action after the last one.
        actions: NDArray[np.int64] = (edges[:, :-1] <= noise[:, None] * edges[:, -1:]).sum(axis=-1)
        return actions

    def mode(self, inputs: Floats) -> NDArray[np.int64]:
        """[B] the largest logit."""
        actions: NDArray[np.int64] = inputs.argmax(axis=-1)
        return actions

    def log_prob(self, inputs: Floats, actions: NDArray[np.int64]) -> Floats:
        """[B]."""
        return np.take_along_axis(_log_softmax(inputs), actions[:, None], axis=-1)[:, 0]

    def to_env(self, actions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Discrete spaces may start elsewhere than at 0."""
        return actions + self.space.start


@dataclass(frozen=True)
class GaussianHead:
    """A real numbers; inputs are means and log standard deviations [B, 2A], noise is normal.

    Actions are clipped to [-1, 1] and stretched to the bounds of the space where it is bounded, so
    that a network with outputs of order one covers any space; the unclipped action is trained on.
    """

    space: gym.spaces.Box

    @property
    def num_actions(self) -> int:
        """A."""
        return int(np.prod(self.space.shape))

    @property
    def num_inputs(self) -> int:
        """2A."""
        return 2 * self.num_actions

    @cached_property
    def _stretch(self) -> tuple[Floats, Floats, Floats]:
        """Limit of the raw action, scale and offset [A]; unbounded dimensions pass through."""
        bounded = self.space.bounded_below.ravel() & self.space.bounded_above.ravel()
        low = np.where(bounded, self.space.low.ravel(), -1.0).astype(np.float32)
        high = np.where(bounded, self.space.high.ravel(), 1.0).astype(np.float32)
        limit = np.where(bounded, np.float32(1.0), np.float32(np.inf))
        half = np.float32(0.5)
        return limit, (high - low) * half, (high + low) * half

    def draw_noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        """[*shape, A] normal."""
        return rng.standard_normal((*shape, self.num_actions), dtype=np.float32)

    def sample(self, inputs: Floats, noise: Floats) -> Floats:
        """[B, A]."""
        mean, log_std = np.split(inputs, 2, axis=-1)
        actions: NDArray[Any] = mean + np.exp(log_std) * noise
        return actions

    def mode(self, inputs: Floats) -> Floats:
        """[B, A] the means."""
        return inputs[:, : self.num_actions].copy()

    def log_prob(self, inputs: Floats, actions: Floats) -> Floats:
        """[B] log density of the unclipped action."""
        mean, log_std = np.split(inputs, 2, axis=-1)
        z = (actions - mean) * np.exp(-log_std)
        log_prob: Floats = (-0.5 * z**2 - log_std - np.float32(0.5 * _LOG_2PI)).sum(axis=-1)
        return log_prob

    def to_env(self, actions: Floats) -> NDArray[Any]:
        """[B, *space.shape], clipped to the space."""
        limit, scale, offset = self._stretch
        stretched = np.clip(actions, -limit, limit) * scale + offset
        fitted = stretched.reshape(-1, *self.space.shape).astype(self.space.dtype)
        return np.clip(fitted, self.space.low, self.space.high)


def action_head(space: gym.Space[Any]) -> ActionHead:
    """The distribution for an action space.

    Raises:
        ConfigError: no distribution for this kind of space.
    """
    if isinstance(space, gym.spaces.Discrete):
        return CategoricalHead(space)
    if isinstance(space, gym.spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return GaussianHead(space)
    raise ConfigError(
        f"action space {space} is not supported; there are distributions for Discrete and for "
        "Box of floats. Wrap the environment so that it has one of these."
    )
