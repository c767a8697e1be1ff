"""State trees: nested dicts, by strings, of arrays, numbers, text, ``None`` and lists of those."""

from collections import deque
from typing import Any

import numpy as np

StateTree = dict[str, Any]


def tree_of(value: Any) -> Any:
    """A copy of what can be a part of a state tree. Raises `TypeError` with what cannot."""
    match value:
        case np.ndarray() | np.generic() if value.dtype.kind in "biuf":
            return np.array(value)
        case None | bool() | int() | float() | str():
            return value
        case list() | tuple() | deque():
            return [tree_of(each) for each in value]
        case dict() if all(isinstance(key, str) for key in value):
            return {key: tree_of(each) for key, each in value.items()}
    raise TypeError(f"has {type(value).__name__}, which is no array, number, text, list or dict")


def value_like(present: Any, value: Any) -> Any:
    """As the environment has it: a state tree knows neither tuples nor numpy's numbers."""
    match value:
        case np.ndarray():
            return np.array(value)[()]
        case list():
            parts = [value_like(None, each) for each in value]
            if isinstance(present, deque):
                return deque(parts, present.maxlen)
            return tuple(parts) if isinstance(present, tuple) else parts
    return value
