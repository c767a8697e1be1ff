"""One array per batch of observations, whatever the space.

Observations of a Dict or Tuple space become one structured array, whose fields are the keys (of a
Tuple: "0", "1", ...) and nest as the space does; every field is aligned as in C. So buffers,
fragments and replay treat every observation alike: they index, join and copy one array [..., N].

Legend: N environments.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.envs.faults import EnvSetupError, field_path

Shape = tuple[int, ...]

_FIXED = (
    gym.spaces.Box,
    gym.spaces.Discrete,
    gym.spaces.MultiDiscrete,
    gym.spaces.MultiBinary,
)
_INSTEAD: dict[type[gym.Space[Any]], str] = {
    gym.spaces.Text: "give MultiDiscrete, one code per character",
    gym.spaces.Sequence: "give a Dict of a Box of the greatest length and a Discrete count",
    gym.spaces.Graph: "give a Dict of Boxes of nodes and edges with the greatest number of each",
    gym.spaces.OneOf: "give a Dict of all alternatives and a Discrete that says which it is",
}


class MisfitError(ValueError):
    """A part of an observation is missing, or is of another shape or kind than its space says.

    Attributes:
        field: ``obs['camera']``, for example.
    """

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Leaf:
    """A part of a space that is no Dict or Tuple.

    Attributes:
        keys: the way to it in an observation as the environment gives it.
        names: the way to it in a packed one.
        space: its own.
    """

    keys: tuple[Any, ...]
    names: tuple[str, ...]
    space: gym.Space[Any]

    def of(self, packed: NDArray[Any]) -> NDArray[Any]:
        """The part [..., *shape] of packed observations [...], as a view."""
        for name in self.names:
            packed = packed[name]
        return packed

    def path(self, root: str) -> str:
        """``obs['camera'][0]`` for the root ``obs``."""
        return field_path(root, self.keys)


def leaves(
    space: gym.Space[Any], root: str = "observation", keys: tuple[Any, ...] = ()
) -> Iterator[Leaf]:
    """The parts of a space that are no Dict or Tuple, in gymnasium's order.

    Args:
        space: of observations or actions.
        root: how messages call it.
        keys: the way to it, where it is part of another.

    Raises:
        EnvSetupError: observations of a part have no fixed shape, or there is no part.
    """
    parts = parts_of(space)
    if parts is None:
        yield Leaf(keys, tuple(map(str, keys)), _of_fixed_shape(space, root, keys))
        return
    if not parts or "" in parts:
        what = "has an empty key" if parts else "has no parts"
        raise EnvSetupError(f"{field_path(root, keys)} is of space {space}, which {what}")
    for key, part in parts.items():
        yield from leaves(part, root, (*keys, key))


def _of_fixed_shape(space: gym.Space[Any], root: str, keys: tuple[Any, ...]) -> gym.Space[Any]:
    if isinstance(space, _FIXED):
        if 0 in (space.shape or ()):
            raise EnvSetupError(
                f"{field_path(root, keys)} is of space {space}, which has no numbers in it; leave "
                "it out, and where there is nothing else give a Box of shape (1,) that is always 0"
            )
        return space
    instead = next((text for kind, text in _INSTEAD.items() if isinstance(space, kind)), None)
    raise EnvSetupError(
        f"{field_path(root, keys)} is of space {space}, whose members have no fixed "
        f"shape; {instead or 'use Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple'}"
    )


def parts_of(space: gym.Space[Any]) -> dict[Any, gym.Space[Any]] | None:
    """The parts of a Dict space by key, of a Tuple space by index; ``None`` for other spaces."""
    if isinstance(space, gym.spaces.Dict):
        return space.spaces
    if isinstance(space, gym.spaces.Tuple):
        return dict(enumerate(space.spaces))
    return None


def with_parts(
    space: gym.Space[Any], change: Callable[[Leaf], gym.Space[Any]], keys: tuple[Any, ...] = ()
) -> gym.Space[Any]:
    """The space with ``change(leaf)`` in place of each part that is no Dict or Tuple."""
    parts = parts_of(space)
    if parts is None:
        return change(Leaf(keys, tuple(map(str, keys)), space))
    changed = [(key, with_parts(part, change, (*keys, key))) for key, part in parts.items()]
    if isinstance(space, gym.spaces.Dict):
        return gym.spaces.Dict(OrderedDict(changed))
    return gym.spaces.Tuple([part for _, part in changed])


def is_composite(space: gym.Space[Any]) -> bool:
    """Whether observations of the space have to be packed."""
    return isinstance(space, gym.spaces.Dict | gym.spaces.Tuple)


def packed_dtype(space: gym.Space[Any]) -> tuple[np.dtype[Any], Shape]:
    """Type and shape of one packed observation.

    Raises:
        EnvSetupError: observations of a part of the space have no fixed shape.
    """
    list(leaves(space))  # names what cannot be packed by its whole path
    return _dtype_of(space)


def _dtype_of(space: gym.Space[Any]) -> tuple[np.dtype[Any], Shape]:
    parts = parts_of(space)
    if parts is None:
        return np.dtype(space.dtype), space.shape or ()
    fields = [(str(key), *_dtype_of(part)) for key, part in parts.items()]
    return np.dtype(fields, align=True), ()


class Packer:
    """Packs the observations of one space.

    Attributes:
        dtype: of a packed observation.
        shape: of one.
        leaves: the parts that are no Dict or Tuple.

    Raises:
        EnvSetupError: observations of a part of the space have no fixed shape.
    """

    def __init__(self, space: gym.Space[Any]) -> None:
        self.space = space
        self.dtype, self.shape = packed_dtype(space)
        self.leaves = tuple(leaves(space))
        self.is_composite = is_composite(space)

    def pack(self, batch: Any, num: int) -> NDArray[Any]:
        """[N, ...] one array of our own of a batch as vector environments give it.

        Args:
            batch: array [N, ...]; of a composite space a dict or tuple of batches, by its parts.
            num: N.

        Raises:
            MisfitError: a part is missing, or of another shape or kind.
        """
        return self._pack(batch, (num,))

    def pack_one(self, obs: Any) -> NDArray[Any]:
        """[...] one observation: a 0-dimensional structured array for a composite space.

        Raises:
            MisfitError: a part is missing, or of another shape or kind.
        """
        return self._pack(obs, ())

    def _pack(self, batch: Any, lead: Shape) -> NDArray[Any]:
        if not self.is_composite:
            return self._plain(batch, lead)
        packed = np.zeros(lead, self.dtype)  # so that equal observations are equal in every byte
        for leaf in self.leaves:
            self._fill(leaf, leaf.of(packed), batch)
        return packed

    def _plain(self, batch: Any, lead: Shape) -> NDArray[Any]:
        packed = np.array(batch)
        if packed.dtype == self.dtype and packed.shape == lead + self.shape:
            return packed
        converted = np.empty(lead + self.shape, self.dtype)
        self._fill(self.leaves[0], converted, packed)
        return converted

    def _fill(self, leaf: Leaf, place: NDArray[Any], batch: Any) -> None:
        value = batch
        for key in leaf.keys:
            value = _part(value, key, leaf)
        value = np.asarray(value)
        if value.shape != place.shape or not np.can_cast(value.dtype, place.dtype, "same_kind"):
            raise MisfitError(
                f"{leaf.path('obs')} is of shape {value.shape} and dtype {value.dtype}; it should "
                f"be of shape {place.shape} and dtype {place.dtype}, as its space says",
                leaf.path("obs"),
            )
        if (beyond := find_overflow(value, place.dtype)) is not None:
            raise MisfitError(
                f"{leaf.path('obs')} has {beyond}, which {place.dtype} cannot hold, the dtype of "
                "its space; return smaller numbers, or give the space another dtype",
                leaf.path("obs"),
            )
        place[...] = value


def _part(batch: Any, key: Any, leaf: Leaf) -> Any:
    """Batches that were unpacked have text for keys throughout."""
    if isinstance(batch, Mapping):
        if key in batch:
            return batch[key]
        if str(key) in batch:
            return batch[str(key)]
    elif isinstance(batch, tuple | list) and isinstance(key, int) and key < len(batch):
        return batch[key]
    there = sorted(map(str, batch)) if isinstance(batch, Mapping) else f"a {type(batch).__name__}"
    path = leaf.path("obs")
    raise MisfitError(f"an observation has no {path}: in place of {key!r} there is {there}", path)


def find_overflow(values: NDArray[Any], dtype: np.dtype[Any]) -> Any:
    """The first number that ``dtype`` would turn into another or into infinity, or ``None``.

    Infinity itself is no such number, nor is what is only rounded.
    """
    if values.dtype == dtype or np.can_cast(values.dtype, dtype):
        return None
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    beyond = ((values < limits.min) | (values > limits.max)) & np.isfinite(values)
    return values.flat[int(beyond.argmax())].item() if beyond.any() else None


def pack(space: gym.Space[Any], batch: Any, num: int) -> NDArray[Any]:
    """``Packer(space).pack(batch, num)``, for whoever packs once."""
    return Packer(space).pack(batch, num)


def pack_one(space: gym.Space[Any], obs: Any) -> NDArray[Any]:
    """``Packer(space).pack_one(obs)``, for whoever packs once."""
    return Packer(space).pack_one(obs)


def row_of(batch: Any, index: int) -> Any:
    """One observation of a batch that is an array, or a dict or tuple of batches."""
    if isinstance(batch, Mapping):
        return {key: row_of(part, index) for key, part in batch.items()}
    if isinstance(batch, tuple):
        return tuple(row_of(part, index) for part in batch)
    return batch[index]


def unpack(packed: NDArray[Any]) -> Any:
    """Nested dicts of views of the fields; a plain array as it is."""
    if packed.dtype.names is None:
        return packed
    return {name: unpack(packed[name]) for name in packed.dtype.names}
