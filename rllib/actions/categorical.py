"""Choices: one of A actions, or one in each of D action dimensions.

Legend: B rows, A actions, D action dimensions, n choices of the largest dimension.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.actions.base import ActionHead, Floats, Ints, Shape
from rllib.actions.masks import FORBIDDEN


def log_softmax(logits: Floats) -> Floats:
    """Log probabilities [..., A] of logits [..., A]."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_p: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return log_p


def _choose(logits: Floats, noise: Floats) -> Ints:
    """Invert the cumulative distribution; works on weights that are not normalised."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    edges = weights.cumsum(axis=-1)
    # The last edge is left out: rounding must never yield the action after the last one.
    chosen: Ints = (edges[..., :-1] <= noise[..., None] * edges[..., -1:]).sum(axis=-1)
    return chosen


def _log_prob(logits: Floats, chosen: Ints) -> Floats:
    return np.take_along_axis(log_softmax(logits), chosen[..., None], axis=-1)[..., 0]


@dataclass(frozen=True)
class CategoricalHead(ActionHead):
    """One of A actions; inputs are logits [B, A], noise is uniform in [0, 1)."""

    space: gym.spaces.Discrete

    action_dtype = np.int64
    action_shape = ()
    noise_shape = ()

    @property
    def num_inputs(self) -> int:
        """A."""
        return int(self.space.n)

    def draw_noise(self, rng: np.random.Generator, shape: Shape) -> Floats:
        """[*shape] uniform."""
        return rng.random(shape, dtype=np.float32)

    def sample(self, inputs: Floats, noise: Floats) -> Ints:
        """[B]."""
        return _choose(inputs, noise)

    def mode(self, inputs: Floats) -> Ints:
        """[B] the largest logit."""
        actions: Ints = inputs.argmax(axis=-1)
        return actions

    def log_prob(self, inputs: Floats, actions: Ints) -> Floats:
        """[B]."""
        return _log_prob(inputs, actions)

    def to_env(self, actions: Ints) -> Ints:
        """Discrete spaces may start elsewhere than at 0."""
        return actions + self.space.start


@dataclass(frozen=True)
class MultiCategoricalHead(ActionHead):
    """An independent choice in each of D dimensions; inputs are their logits, one after the other.

    Actions are int64 [B, D] and count from 0. A Box of integers is one choice of
    ``high - low + 1`` in each of its dimensions.
    """

    space: gym.spaces.MultiDiscrete | gym.spaces.Box

    action_dtype = np.int64

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """[D] choices in each dimension."""
        return tuple(int(n) for n in choices(self.space).flat)

    @cached_property
    def _start(self) -> NDArray[Any]:
        return self.space.low if isinstance(self.space, gym.spaces.Box) else self.space.start

    @cached_property
    def _is_choice(self) -> NDArray[np.bool_]:
        """[D, n] what of a table of logits is no padding."""
        return np.arange(max(self.sizes)) < np.array(self.sizes)[:, None]

    @cached_property
    def num_inputs(self) -> int:
        """Choices of all dimensions together."""
        return sum(self.sizes)

    @property
    def action_shape(self) -> Shape:
        """D."""
        return (len(self.sizes),)

    @property
    def noise_shape(self) -> Shape:
        """D."""
        return (len(self.sizes),)

    def _table(self, inputs: Floats) -> Floats:
        """Logits [B, D, n]; what smaller dimensions do not have is forbidden."""
        if self._is_choice.all():
            return inputs.reshape(len(inputs), *self._is_choice.shape)
        table = np.full((len(inputs), *self._is_choice.shape), FORBIDDEN)
        table[:, self._is_choice] = inputs
        return table

    def draw_noise(self, rng: np.random.Generator, shape: Shape) -> Floats:
        """[*shape, D] uniform."""
        return rng.random((*shape, *self.noise_shape), dtype=np.float32)

    def sample(self, inputs: Floats, noise: Floats) -> Ints:
        """[B, D]."""
        return _choose(self._table(inputs), noise)

    def mode(self, inputs: Floats) -> Ints:
        """[B, D] the largest logit of each dimension."""
        actions: Ints = self._table(inputs).argmax(axis=-1)
        return actions

    def log_prob(self, inputs: Floats, actions: Ints) -> Floats:
        """[B]."""
        log_prob: Floats = _log_prob(self._table(inputs), actions).sum(axis=-1)
        return log_prob

    def to_env(self, actions: Ints) -> NDArray[Any]:
        """[B, *space.shape], counted from where the space begins."""
        shaped: NDArray[Any] = actions.reshape(-1, *self._start.shape) + self._start
        return shaped.astype(self.space.dtype, copy=False)


def choices(space: gym.spaces.MultiDiscrete | gym.spaces.Box) -> NDArray[Any]:
    """[*space.shape] number of choices in each dimension."""
    if isinstance(space, gym.spaces.MultiDiscrete):
        return space.nvec
    # In Python's integers: there are more numbers of 64 bits than such a number can count.
    return np.asarray(space.high.astype(object) - space.low.astype(object) + 1)
