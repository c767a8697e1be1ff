"""Spaces as code to paste, and the space that fits what was seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from numpy.typing import NDArray

Keys = tuple[Any, ...]

_MOST_NUMBERS = 16
"""Bounds that are written one by one."""


@dataclass(slots=True)
class Extent:
    """Values of one part of an observation: their shape, their type, and between what they lie."""

    low: NDArray[Any]
    high: NDArray[Any]

    def add(self, value: NDArray[Any]) -> None:
        """One more; of another shape, it is all there is from now on."""
        if value.shape != self.low.shape:
            self.low, self.high = value, value
        else:
            self.low, self.high = np.minimum(self.low, value), np.maximum(self.high, value)


Extents = Mapping[Keys, Extent]


def corrected(space: gym.Space[Any], extents: Extents, keys: Keys = ()) -> gym.Space[Any]:
    """The space with the parts exchanged into which what was seen does not fit."""
    if isinstance(space, Dict):
        return Dict({key: corrected(part, extents, (*keys, key)) for key, part in space.items()})
    if isinstance(space, Tuple):
        parts = [corrected(part, extents, (*keys, index)) for index, part in enumerate(space)]
        return Tuple(parts)
    return _corrected_leaf(space, extents[keys]) if keys in extents else space


def _corrected_leaf(space: gym.Space[Any], seen: Extent) -> gym.Space[Any]:
    low, high, whole = seen.low, seen.high, seen.low.dtype.kind in "biu"
    if isinstance(space, Discrete) and whole and low.shape == ():
        start, end = min(int(space.start), int(low)), int(space.start + space.n)
        return Discrete(max(end, int(high) + 1) - start, start=start)
    if isinstance(space, MultiDiscrete) and whole and low.shape == space.shape and (low >= 0).all():
        return MultiDiscrete(np.maximum(space.nvec, high + 1))
    if isinstance(space, MultiBinary) and whole and low.min() >= 0 and high.max() <= 1:
        return MultiBinary(low.shape)
    return _box(space, seen)


def _box(space: gym.Space[Any], seen: Extent) -> Box:
    """What lies outside of a bound says nothing about where the bound is, so there is none."""
    dtype = seen.low.dtype
    if space.dtype is not None and np.can_cast(dtype, space.dtype, "same_kind"):
        dtype = space.dtype
    least, most = (-np.inf, np.inf) if dtype.kind == "f" else _range(dtype)
    if not isinstance(space, Box) or space.shape != seen.low.shape or space.dtype != dtype:
        return Box(least, most, seen.low.shape, dtype.type)
    low = np.where(seen.low < space.low, least, space.low).astype(dtype)
    high = np.where(seen.high > space.high, most, space.high).astype(dtype)
    return Box(low, high, dtype=dtype.type)


def _range(dtype: np.dtype[Any]) -> tuple[int, int]:
    return (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


def as_code(space: gym.Space[Any]) -> str:
    """Python that makes the space, of names in ``gymnasium.spaces`` and ``np``."""
    match space:
        case Box():
            return _box_as_code(space)
        case Discrete():
            return f"Discrete({space.n}{_start(space.start)})"
        case MultiDiscrete():
            return f"MultiDiscrete({space.nvec.tolist()}{_start(space.start.tolist())})"
        case MultiBinary():
            return f"MultiBinary({space.n})"
        case Dict():
            inside = ", ".join(f"{key!r}: {as_code(part)}" for key, part in space.items())
            return f"Dict({{{inside}}})"
        case Tuple():
            return f"Tuple([{', '.join(as_code(part) for part in space)}])"
        case _:
            return repr(space)


def _start(start: Any) -> str:
    return f", start={start}" if np.any(start) else ""


def _box_as_code(space: Box) -> str:
    low, high, dtype = space.low, space.high, f"dtype=np.{space.dtype}"
    if (_is_one(low) and _is_one(high)) or low.size > _MOST_NUMBERS:
        return f"Box({_number(low.min())}, {_number(high.max())}, {space.shape}, {dtype})"
    return f"Box({_array(low)}, {_array(high)}, {dtype})"


def _is_one(bound: NDArray[Any]) -> bool:
    return bool((bound == bound.flat[0]).all())


def _array(bound: NDArray[Any]) -> str:
    inside = np.array2string(bound, separator=", ", max_line_width=10**6)
    return f"np.array({inside.replace('inf', 'np.inf')})"


def _number(number: Any) -> str:
    return repr(number.item()).replace("inf", "np.inf")
