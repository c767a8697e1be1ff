"""One array per batch of observations, whatever the space.

Observations of a Dict or Tuple space become one structured array, whose fields are the keys (of a
Tuple: "0", "1", ...) and nest as the space does. So buffers, fragments and replay treat every
observation alike: they index, join and copy one array [..., N].

Legend: N environments.
"""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.envs.faults import EnvSetupError

Shape = tuple[int, ...]


def packed_dtype(space: gym.Space[Any]) -> tuple[np.dtype[Any], Shape]:
    """Type and shape of one packed observation.

    Raises:
        EnvSetupError: observations of a part of the space have no fixed shape.
    """
    return _dtype_of(space, "")


def _dtype_of(space: gym.Space[Any], path: str) -> tuple[np.dtype[Any], Shape]:
    parts = parts_of(space)
    if parts is not None:
        fields = {name: _dtype_of(part, f"{path}[{name!r}]") for name, part in parts.items()}
        return np.dtype([(name, *spec) for name, spec in fields.items()], align=True), ()
    if space.dtype is None or space.shape is None or not isinstance(space, _FIXED):
        raise EnvSetupError(
            f"observation{path} is of space {space}, whose members have no fixed shape; use Box, "
            "Discrete, MultiDiscrete, MultiBinary, or Dict and Tuple of those"
        )
    return np.dtype(space.dtype), space.shape


_FIXED = (
    gym.spaces.Box,
    gym.spaces.Discrete,
    gym.spaces.MultiDiscrete,
    gym.spaces.MultiBinary,
)


def parts_of(space: gym.Space[Any]) -> dict[str, gym.Space[Any]] | None:
    """The parts of a Dict or Tuple space by field name; ``None`` for other spaces."""
    if isinstance(space, gym.spaces.Dict):
        return {str(key): part for key, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return {str(index): part for index, part in enumerate(space.spaces)}
    return None


def is_composite(space: gym.Space[Any]) -> bool:
    """Whether observations of the space have to be packed."""
    return isinstance(space, gym.spaces.Dict | gym.spaces.Tuple)


def pack(space: gym.Space[Any], batch: Any, num: int) -> NDArray[Any]:
    """[N, ...] one array of a batch as vector environments give it.

    Args:
        space: of a single observation.
        batch: array [N, ...]; of a composite space a dict or tuple of batches, by its parts.
        num: N.

    Raises:
        ValueError: a part is missing, or of another shape.
    """
    if not is_composite(space):
        return np.array(batch)
    dtype, _ = packed_dtype(space)
    packed = np.zeros(num, dtype)
    _fill(packed, space, batch)
    return packed


def num_in(batch: Any) -> int:
    """N of a batch of a composite space."""
    while isinstance(batch, Mapping | tuple):
        batch = next(iter(batch.values() if isinstance(batch, Mapping) else batch))
    return len(batch)


def pack_one(space: gym.Space[Any], obs: Any) -> NDArray[Any]:
    """[...] one observation: a 0-dimensional structured array for a composite space."""
    dtype, _ = packed_dtype(space)
    if not is_composite(space):
        return np.asarray(obs, dtype)
    packed = np.zeros((), dtype)
    _fill(packed, space, obs)
    return packed


def _fill(packed: NDArray[Any], space: gym.Space[Any], batch: Any) -> None:
    for name, part in (parts_of(space) or {}).items():
        values = _part(batch, name)
        if is_composite(part):
            _fill(packed[name], part, values)
        else:
            packed[name] = values


def _part(batch: Any, name: str) -> Any:
    if isinstance(batch, Mapping):
        return batch[name] if name in batch else _by_text(batch, name)
    return batch[int(name)]


def _by_text(batch: Mapping[Any, Any], name: str) -> Any:
    """Keys of a Dict space need not be text."""
    for key, value in batch.items():
        if str(key) == name:
            return value
    raise ValueError(f"an observation has no {name!r}, only {sorted(map(str, batch))}")


def unpack(packed: NDArray[Any]) -> Any:
    """Nested dicts of views of the fields; a plain array as it is."""
    if packed.dtype.names is None:
        return packed
    return {name: unpack(packed[name]) for name in packed.dtype.names}
