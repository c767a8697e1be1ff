"""Real numbers: normal, normal squashed into bounds, and deterministic with noise.

Legend: B rows, A action dimensions.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, log, pi
from typing import Any, Self

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.actions.base import ActionHead, Fit, Floats, Shape
from rllib.schedules import Points, value_at

LOG_2PI = log(2.0 * pi)

LOG_STD_RANGE = (-20.0, 2.0)
"""Of a squashed normal: within it every density is finite, and none is flat over all actions."""

INSIDE = 1.0 - 1e-6
"""A squashed action is taken for at most this when its density is asked for: a float32 that was
rounded to 1 has lost where it came from."""


@dataclass(frozen=True)
class BoxHead(ActionHead):
    """A real numbers of order one, stretched to the bounds of the space where it is bounded.

    So a network with outputs of order one covers any space. What is trained on is the action
    before it is stretched and clipped.

    Args:
        space: of the actions.
        fit: what else may become of them on the way to the environment.
    """

    space: gym.spaces.Box
    fit: Fit = field(default="stretch", kw_only=True)

    action_dtype = np.float32

    @cached_property
    def num_actions(self) -> int:
        """A."""
        return int(np.prod(self.space.shape))

    @property
    def action_shape(self) -> Shape:
        """A."""
        return (self.num_actions,)

    @property
    def noise_shape(self) -> Shape:
        """A."""
        return (self.num_actions,)

    @cached_property
    def stretch(self) -> tuple[Floats, Floats]:
        """Scale and offset [A]; half-bounded and unbounded dimensions pass through."""
        bounded = self.space.bounded_below & self.space.bounded_above
        low = np.where(bounded, self.space.low, -1.0).ravel()
        high = np.where(bounded, self.space.high, 1.0).ravel()
        # Halved first: the width of a space may be more than its type can hold.
        scale, offset = high * 0.5 - low * 0.5, high * 0.5 + low * 0.5
        return scale.astype(np.float32), offset.astype(np.float32)

    def draw_noise(self, rng: np.random.Generator, shape: Shape) -> Floats:
        """[*shape, A] normal."""
        return rng.standard_normal((*shape, self.num_actions), dtype=np.float32)

    def to_env(self, actions: Floats) -> NDArray[Any]:
        """[B, *space.shape], as ``fit`` says."""
        if self.fit == "stretch":
            scale, offset = self.stretch
            actions = actions * scale + offset
        shaped = actions.reshape(-1, *self.space.shape).astype(self.space.dtype, copy=False)
        if self.fit == "none":
            return shaped
        return np.minimum(np.maximum(shaped, self.space.low), self.space.high)

    def fitted(self, fit: Fit) -> Self:
        """The same with another ``fit``."""
        return replace(self, fit=fit)


@dataclass(frozen=True)
class GaussianHead(BoxHead):
    """Independent normals; inputs are means and log standard deviations [B, 2A], noise is normal.

    By default -1 and 1 stand for the bounds of the space, and what lies beyond is clipped.
    """

    @cached_property
    def num_inputs(self) -> int:
        """2A."""
        return 2 * self.num_actions

    @property
    def log_std_columns(self) -> range:
        """The second half."""
        return range(self.num_actions, self.num_inputs)

    def sample(self, inputs: Floats, noise: Floats) -> Floats:
        """[B, A]."""
        A = self.num_actions
        actions: NDArray[Any] = inputs[:, :A] + np.exp(inputs[:, A:]) * noise
        return actions

    def mode(self, inputs: Floats) -> Floats:
        """[B, A] the means."""
        return inputs[:, : self.num_actions].copy()

    def log_prob(self, inputs: Floats, actions: Floats) -> Floats:
        """[B] log density of the unclipped action."""
        A = self.num_actions
        mean, log_std = inputs[:, :A], inputs[:, A:]
        log_prob: Floats = _normal_log_prob(log_std, (actions - mean) * np.exp(-log_std)).sum(-1)
        return log_prob


@dataclass(frozen=True)
class SquashedGaussianHead(BoxHead):
    """tanh of independent normals (Haarnoja et al. 2018, arXiv 1812.05905, appendix C).

    Inputs are means and log standard deviations [B, 2A] of the normals, the latter clipped to
    ``LOG_STD_RANGE``; noise is normal. Actions lie in [-1, 1], and by default cover the space.
    """

    @cached_property
    def num_inputs(self) -> int:
        """2A."""
        return 2 * self.num_actions

    def _split(self, inputs: Floats) -> tuple[Floats, Floats]:
        A = self.num_actions
        return inputs[:, :A], inputs[:, A:].clip(*LOG_STD_RANGE)

    def sample(self, inputs: Floats, noise: Floats) -> Floats:
        """[B, A] in [-1, 1]."""
        mean, log_std = self._split(inputs)
        actions: Floats = np.tanh(mean + np.exp(log_std) * noise)
        return actions

    def mode(self, inputs: Floats) -> Floats:
        """[B, A] the squashed means: the medians, as everybody takes them."""
        actions: Floats = np.tanh(inputs[:, : self.num_actions])
        return actions

    def log_prob(self, inputs: Floats, actions: Floats) -> Floats:
        """[B] log density; of actions nearer to the bounds than float32 can tell, a limit."""
        mean, log_std = self._split(inputs)
        raw = np.arctanh(actions.clip(-INSIDE, INSIDE))
        z = (raw - mean) * np.exp(-log_std)
        log_prob: Floats = (_normal_log_prob(log_std, z) - _log_slope(raw)).sum(axis=-1)
        return log_prob


@dataclass(frozen=True)
class DeterministicHead(BoxHead):
    """tanh of the inputs [B, A]; to explore, with normal noise added (Fujimoto et al. 2018, TD3).

    Args:
        noise_std: of the noise, in units of half the space's width; may be a schedule, of which
            ``at`` takes the value.
        noise_clip: noise beyond plus and minus this is cut.
    """

    noise_std: float | Points = 0.1
    noise_clip: float = inf

    @property
    def num_inputs(self) -> int:
        """A."""
        return self.num_actions

    @cached_property
    def _limits(self) -> tuple[np.float32, np.float32]:
        return np.float32(value_at(self.noise_std, 0)), np.float32(self.noise_clip)

    def at(self, timestep: int) -> "DeterministicHead":
        """The head with the noise of this timestep."""
        if isinstance(self.noise_std, float):
            return self
        return replace(self, noise_std=value_at(self.noise_std, timestep))

    def sample(self, inputs: Floats, noise: Floats) -> Floats:
        """[B, A] in [-1, 1]."""
        std, limit = self._limits
        actions: Floats = (np.tanh(inputs) + (std * noise).clip(-limit, limit)).clip(-1.0, 1.0)
        return actions

    def mode(self, inputs: Floats) -> Floats:
        """[B, A] without noise."""
        actions: Floats = np.tanh(inputs)
        return actions

    def log_prob(self, inputs: Floats, actions: Floats) -> Floats:
        """[B] zeros: there is no density, and whoever acts like this is trained without one."""
        return np.zeros(len(inputs), np.float32)


def _normal_log_prob(log_std: Floats, z: Floats) -> Floats:
    """Log density of the normal where it is ``z`` standard deviations from its mean."""
    log_prob: Floats = -0.5 * z * z - log_std - 0.5 * LOG_2PI
    return log_prob


def _log_slope(raw: Floats) -> Floats:
    """``log(1 - tanh(raw)**2)``, which by its own formula is ``log 0`` from 10 on."""
    slope: Floats = 2.0 * (log(2.0) - raw - np.logaddexp(0.0, -2.0 * raw))
    return slope
