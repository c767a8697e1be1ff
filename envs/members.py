"""Whether what an environment returned as an observation can be one, and which part is not.

A choice that there is not would become a vector of zeros, and an array of another shape or kind
would be stretched, cut or rounded on its way. Bounds are looked at by ``rllib.envs.bounds``.
"""

from collections.abc import Mapping
from reprlib import repr as short_repr
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from rllib.envs.faults import field_path
from rllib.envs.packing import find_overflow, parts_of


class Misfit(NamedTuple):
    """A value that does not fit, in words.

    Attributes:
        field: ``obs['camera']``.
        value: the ``repr`` of what was there, shortened, with the shape of an array.
        wanted: what it should be, and what can be done about it.
    """

    field: str
    value: str
    wanted: str


def find_misfit(
    space: gym.Space[Any], value: Any, root: str = "obs", keys: tuple[Any, ...] = ()
) -> Misfit | None:
    """The first part of ``value`` that is of another shape or kind, or no member of a Discrete.

    Elements of arrays are looked at by ``rllib.envs.bounds``, for many environments at once.

    Args:
        space: that ``value`` should be of.
        value: what the environment returned.
        root: how messages call it.
        keys: the way to ``space`` in that of the whole observation.
    """
    parts = parts_of(space)
    wanted = _wanted(space, value) if parts is None else _wanted_around(space, parts, value)
    if wanted is not None:
        return Misfit(field_path(root, keys), describe(value), wanted)
    for key, part in (parts or {}).items():
        if misfit := find_misfit(part, value[key], root, (*keys, key)):
            return misfit
    return None


def _wanted_around(
    space: gym.Space[Any], parts: Mapping[Any, gym.Space[Any]], value: Any
) -> str | None:
    """What a dict or tuple should be, if it is not."""
    if isinstance(space, gym.spaces.Dict):
        right = isinstance(value, Mapping) and value.keys() == parts.keys()
        return None if right else f"a dict with exactly the keys {list(parts)}"
    right = isinstance(value, tuple | list) and len(value) == len(parts)
    return None if right else f"a tuple of {len(parts)}"


def _wanted(space: gym.Space[Any], value: Any) -> str | None:
    """What a value of a space without parts should be, if it is not."""
    if isinstance(space, gym.spaces.Discrete):
        last = space.start + space.n - 1
        wanted = f"a member of {space}, an integer from {space.start} to {last}"
        return None if space.contains(value) else wanted
    if space.shape is None or space.dtype is None:
        return None if space.contains(value) else f"a member of {space}"
    if is_exact(space, value):
        return None
    if fits(value, space.shape, space.dtype):
        beyond = find_overflow(np.asarray(value), space.dtype)
        limit = f"without {beyond}, which {space.dtype} cannot hold, the dtype of its space"
        return None if beyond is None else f"{limit}; return smaller numbers, or give it another"
    return (
        f"of shape {space.shape} and dtype {space.dtype}, as its space says; return "
        f"np.asarray(value, np.{space.dtype}) of that shape, or correct the observation_space"
    )


def is_exact(space: gym.Space[Any], value: Any) -> bool:
    """Whether it is an array of just the shape and type of the space."""
    return type(value) is np.ndarray and value.dtype == space.dtype and value.shape == space.shape


def fits(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether ``value`` becomes an array of that shape and type without changing in kind."""
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        return False
    return array.shape == shape and np.can_cast(array.dtype, dtype, "same_kind")


def describe(value: Any) -> str:
    """A value in short, with what numpy would not show of an array."""
    shape = f" of shape {value.shape}, {value.dtype}" if isinstance(value, np.ndarray) else ""
    return short_repr(value) + shape
