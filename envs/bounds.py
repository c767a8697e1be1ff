"""Whether observations lie within their space, for many environments at once.

A choice or an integer outside of its space is a mistake in any step: it would become a vector of
zeros, or a pixel brighter than white. Real numbers are another matter. Sound environments fly out
of their bounds in good faith (LunarLander above its ceiling), and nothing breaks by it; but not in
their first steps, where numbers outside mean that the bounds are those of something else, pixels of
0 to 255 in a Box of 0 to 1 for example. So there they are refused, and later they are told once.

Legend: N environments.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.envs.faults import field_path
from rllib.envs.packing import Leaf

FIRST_STEPS = 10
"""Steps after a reset in which numbers outside of the bounds of a float Box are refused."""

SAMPLED = 64
"""Of so many later steps one is looked at: that costs an eighth of a step of 16 CartPoles."""

_ROUNDING = 1e-5
"""Of a bound, or of 1 where that is more: numbers are computed, and rounded on the way."""


class Outsider(NamedTuple):
    """A number outside of its bounds.

    Attributes:
        leaf: the part of the observation in which it is.
        row: of the environment.
        element: where in the part.
        value: the number.
        low: the least that it may be.
        high: the most.
    """

    leaf: Leaf
    row: int
    element: tuple[int, ...]
    value: Any
    low: Any
    high: Any

    @property
    def bounds(self) -> str:
        """Between what it should lie, and what can be done about it."""
        where = f"its bounds [{self.low}, {self.high}]"
        fix = "return what lies within, or correct the observation_space"
        if isinstance(self.value, float):
            fix += ", or leave the comparison out: environment(disable_env_checking=True)"
        return f"{where}; {fix}"

    def told(self, root: str = "obs") -> str:
        """``obs['x'][1] = 7 ...``, of observations that messages call ``root``."""
        return f"{field_path(self.leaf.path(root), self.element)} = {self.value}"


@dataclass(frozen=True, slots=True)
class Interval:
    """Between what the numbers of one part lie; float bounds are widened by what rounding does."""

    leaf: Leaf
    low: NDArray[Any]
    high: NDArray[Any]

    def first_outside(self, packed: NDArray[Any]) -> Outsider | None:
        """The first number outside in packed observations [N, ...]; NaN is none."""
        values = self.leaf.of(packed)
        outside = (values < self.low) | (values > self.high)
        if not outside.any():
            return None
        place = tuple(int(i) for i in np.unravel_index(int(outside.argmax()), outside.shape))
        low, high = (bound[place[1:]].item() for bound in bounds_of(self.leaf.space))
        return Outsider(self.leaf, place[0], place[1:], values[place].item(), low, high)


class Bounds:
    """The bounds of all parts of an observation that have any.

    Args:
        leaves: of an observation space.
        is_checked: otherwise nothing has bounds.

    Attributes:
        exact: of choices and integers, that must never be overstepped.
        floats: of real numbers; one that was overstepped, and told, is no longer among them.
    """

    def __init__(self, leaves: Iterable[Leaf], is_checked: bool = True) -> None:
        limited = [leaf for leaf in leaves if is_checked and _can_leave(leaf.space)]
        self.exact = [_interval(leaf) for leaf in limited if not _is_float(leaf.space)]
        self.floats = [_interval(leaf) for leaf in limited if _is_float(leaf.space)]

    def first_choice_outside(self, packed: NDArray[Any]) -> Outsider | None:
        """The first choice or integer outside in packed observations [N, ...]."""
        for interval in self.exact:
            if outsider := interval.first_outside(packed):
                return outsider
        return None

    def first_float_outside(self, packed: NDArray[Any]) -> Outsider | None:
        """The first real number outside in packed observations [N, ...]."""
        return next(_outsiders(self.floats, packed), None)

    def new_floats_outside(self, packed: NDArray[Any]) -> list[Outsider]:
        """One real number outside of each part that never had any; they are looked at no more."""
        found = list(_outsiders(self.floats, packed))
        told = [outsider.leaf for outsider in found]
        self.floats = [each for each in self.floats if each.leaf not in told]
        return found


def _outsiders(intervals: Iterable[Interval], packed: NDArray[Any]) -> Iterator[Outsider]:
    for interval in intervals:
        if outsider := interval.first_outside(packed):
            yield outsider


def lies_within(leaf: Leaf, value: NDArray[Any]) -> bool:
    """Whether one value [...] of a part is within its bounds, but for rounding."""
    alone = Leaf((), (), leaf.space)
    return not _can_leave(leaf.space) or _interval(alone).first_outside(value[None]) is None


def bounds_of(space: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """[...] the least and the most that a member of a space without parts has in each element."""
    match space:
        case gym.spaces.Discrete():
            return np.asarray(space.start), np.asarray(space.start + space.n - 1)
        case gym.spaces.MultiDiscrete():
            return space.start, space.start + space.nvec - 1
        case gym.spaces.MultiBinary():
            return np.zeros(space.shape, np.int8), np.ones(space.shape, np.int8)
        case _:
            return space.low, space.high


def _interval(leaf: Leaf) -> Interval:
    low, high = bounds_of(leaf.space)
    if not _is_float(leaf.space):
        return Interval(leaf, low, high)
    low, high = (bound.astype(leaf.space.dtype, copy=False) for bound in (low, high))
    return Interval(leaf, low - _slack(low), high + _slack(high))


def _slack(bound: NDArray[Any]) -> NDArray[Any]:
    size = np.where(np.isfinite(bound), np.abs(bound), 1)
    return (np.maximum(size, 1) * _ROUNDING).astype(bound.dtype)


def _is_float(space: gym.Space[Any]) -> bool:
    return isinstance(space, gym.spaces.Box) and np.issubdtype(space.dtype, np.floating)


def _can_leave(space: gym.Space[Any]) -> bool:
    """Whether its type has numbers that lie outside."""
    low, high = bounds_of(space)
    if _is_float(space):
        return bool(np.isfinite(low).any() or np.isfinite(high).any())
    dtype = np.dtype(space.dtype)
    if dtype == np.bool_:
        return False
    all_of = np.iinfo(dtype)
    return bool((low > all_of.min).any() or (high < all_of.max).any())
