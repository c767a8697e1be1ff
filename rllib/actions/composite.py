"""Actions of several parts: Dict and Tuple spaces, nested as they may be.

Legend: B rows, W numbers in an action.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.actions.base import ActionHead, Fit, Floats, Shape

Columns = int | slice
"""Where a part's numbers stand in a row; an ``int`` if a part's own rows have no dimension."""


class Part(NamedTuple):
    """The head of one leaf, and its places in rows of inputs, actions and noise."""

    head: ActionHead
    inputs: slice
    actions: Columns
    noise: Columns

    def of(self, row: NDArray[Any]) -> NDArray[Any]:
        """The part's actions [B, ...] from those of all [B, W]."""
        return row[:, self.actions].astype(self.head.action_dtype, copy=False)


@dataclass(frozen=True)
class CompositeHead(ActionHead):
    """Independent parts, one after the other in gymnasium's order.

    Actions are float32 rows [B, W], so that they are one array like any other; the choices in them
    are exact up to 2**24.

    Args:
        space: Dict or Tuple.
        heads: of the leaves of ``space``, in their order.
    """

    space: gym.spaces.Dict | gym.spaces.Tuple[Any]
    heads: Sequence[ActionHead]

    action_dtype = np.float32

    @cached_property
    def parts(self) -> list[Part]:
        """Where each leaf stands."""
        return [
            Part(head, slice(inputs - head.num_inputs, inputs), actions, noise)
            for head, inputs, actions, noise in zip(
                self.heads,
                np.cumsum([head.num_inputs for head in self.heads]).tolist(),
                _columns([head.action_shape for head in self.heads]),
                _columns([head.noise_shape for head in self.heads]),
                strict=True,
            )
        ]

    @cached_property
    def num_inputs(self) -> int:
        """Those of all parts together."""
        return sum(head.num_inputs for head in self.heads)

    @cached_property
    def action_shape(self) -> Shape:
        """W."""
        return (sum(prod(head.action_shape) for head in self.heads),)

    @cached_property
    def noise_shape(self) -> Shape:
        """That of all parts together."""
        return (sum(prod(head.noise_shape) for head in self.heads),)

    @property
    def log_std_columns(self) -> list[int]:
        """Those of all parts."""
        return [
            part.inputs.start + column
            for part in self.parts
            for column in part.head.log_std_columns
        ]

    def at(self, timestep: int) -> "CompositeHead":
        """The parts with their schedules at this timestep."""
        return CompositeHead(self.space, [head.at(timestep) for head in self.heads])

    def fitted(self, fit: Fit) -> "CompositeHead":
        """The parts with this way of fitting real numbers."""
        return CompositeHead(self.space, [head.fitted(fit) for head in self.heads])

    def draw_noise(self, rng: np.random.Generator, shape: Shape) -> Floats:
        """[*shape, noise of all parts], each part's of its own kind."""
        noise = np.empty((*shape, *self.noise_shape), np.float32)
        for part in self.parts:
            noise[..., part.noise] = part.head.draw_noise(rng, shape)
        return noise

    def sample(self, inputs: Floats, noise: Floats) -> Floats:
        """[B, W]."""
        actions = np.empty((len(inputs), *self.action_shape), np.float32)
        for head, columns, place, noisy in self.parts:
            actions[:, place] = head.sample(inputs[:, columns], noise[:, noisy])
        return actions

    def mode(self, inputs: Floats) -> Floats:
        """[B, W]."""
        actions = np.empty((len(inputs), *self.action_shape), np.float32)
        for head, columns, place, _ in self.parts:
            actions[:, place] = head.mode(inputs[:, columns])
        return actions

    def log_prob(self, inputs: Floats, actions: Floats) -> Floats:
        """[B] sum over the parts."""
        log_probs = [
            part.head.log_prob(inputs[:, part.inputs], part.of(actions)) for part in self.parts
        ]
        total: Floats = np.sum(log_probs, axis=0)
        return total

    def to_env(self, actions: Floats) -> Any:
        """Dicts and tuples as ``space`` has them, of arrays [B, ...]."""
        return _nest(self.space, iter([part.head.to_env(part.of(actions)) for part in self.parts]))


def leaf_spaces(space: gym.Space[Any]) -> Iterator[gym.Space[Any]]:
    """The parts of a space that are no Dict or Tuple, in gymnasium's order."""
    if not isinstance(space, gym.spaces.Dict | gym.spaces.Tuple):
        yield space
        return
    for part in _children(space):
        yield from leaf_spaces(part)


def _children(space: gym.spaces.Dict | gym.spaces.Tuple[Any]) -> Sequence[gym.Space[Any]]:
    spaces = space.spaces
    return list(spaces.values()) if isinstance(spaces, dict) else spaces


def _nest(space: gym.Space[Any], leaves: Iterator[Any]) -> Any:
    """``leaves`` in the structure of ``space``."""
    if isinstance(space, gym.spaces.Dict):
        return {key: _nest(part, leaves) for key, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(_nest(part, leaves) for part in space.spaces)
    return next(leaves)


def _columns(shapes: Sequence[Shape]) -> list[Columns]:
    """Where values of these shapes stand in a row that holds them all."""
    ends = np.cumsum([prod(shape) for shape in shapes]).tolist()
    return [
        slice(end - prod(shape), end) if shape else end - 1
        for shape, end in zip(shapes, ends, strict=True)
    ]
