"""Spaces as plain data, for YAML and checkpoints: ``{"Discrete": {"n": 2, "start": 0}}``."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium import Space, spaces


def write_space(space: Any) -> dict[str, Any]:
    """Plain data of a space; ``read_space`` makes the same space of it.

    Raises:
        ValueError: there is no plain form for a space of this class.
    """
    match space:
        case spaces.Box():
            fields: Any = {
                "low": _bound(space.low),
                "high": _bound(space.high),
                "shape": list(space.shape),
                "dtype": str(space.dtype),
            }
        case spaces.Discrete():
            fields = {"n": int(space.n), "start": int(space.start)}
        case spaces.MultiDiscrete():
            fields = {"nvec": space.nvec.tolist(), "start": space.start.tolist()}
        case spaces.MultiBinary():
            fields = {"n": space.n if isinstance(space.n, int) else list(space.n)}
        case spaces.Dict():
            fields = {name: write_space(part) for name, part in space.spaces.items()}
        case spaces.Tuple():
            fields = [write_space(part) for part in space.spaces]
        case _:
            raise ValueError(f"a {type(space).__name__} space cannot be written to a file")
    return {_base_name(space): fields}


def read_space(value: Any) -> Any:
    """The space that plain data stands for; a space, or None, is returned as it is.

    Raises:
        ValueError: it is neither; says what is wrong.
    """
    if value is None or isinstance(value, Space):
        return value
    if not (isinstance(value, Mapping) and len(value) == 1):
        raise ValueError(f"should be a gymnasium space, or {{Discrete: {{n: 2}}}}, got {value!r}")
    [(name, fields)] = value.items()
    if name not in _MAKERS:
        raise ValueError(f"unknown space {name!r}; there are: {', '.join(_MAKERS)}")
    try:
        return _MAKERS[name](fields)
    except (AssertionError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"no {name} space can be made of {fields!r}: {error}") from error


def _read_box(fields: Mapping[str, Any]) -> Any:
    dtype = np.dtype(fields.get("dtype", "float32"))
    low, high = (np.asarray(fields[name], dtype) for name in ("low", "high"))
    shape = tuple(fields["shape"]) if "shape" in fields else np.broadcast(low, high).shape
    return spaces.Box(np.broadcast_to(low, shape), np.broadcast_to(high, shape), dtype=dtype.type)


_MAKERS: dict[str, Callable[[Any], Space[Any]]] = {
    "Box": _read_box,
    "Discrete": lambda fields: spaces.Discrete(**fields),
    "MultiDiscrete": lambda fields: spaces.MultiDiscrete(**fields),
    "MultiBinary": lambda fields: spaces.MultiBinary(**fields),
    "Dict": lambda fields: spaces.Dict({k: read_space(v) for k, v in fields.items()}),
    "Tuple": lambda fields: spaces.Tuple([read_space(v) for v in fields]),
}


def _bound(bound: Any) -> Any:
    """One number where all elements have the same bound."""
    first = bound.flat[0] if bound.size else bound.dtype.type(0)
    return first.item() if (bound == first).all() else bound.tolist()


def _base_name(space: Any) -> str:
    """Name of gymnasium's own class, for a subclass too."""
    bases = type(space).__mro__
    return next(base.__name__ for base in bases if base.__module__.startswith("gymnasium."))
