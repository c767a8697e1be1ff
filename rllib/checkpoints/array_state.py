"""Arrays of any dtype as state trees: what safetensors cannot hold goes as bytes.

A structured array becomes ``{"bytes": uint8 [rows, itemsize], "dtype": <JSON>, "shape": [...]}``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib.errors import CheckpointError


def array_to_state(array: NDArray[Any]) -> Any:
    """A copy of the array, or the tree that stands for it."""
    if array.dtype.kind in "biuf" and array.dtype.isnative:
        return np.array(array, order="C")
    if array.dtype.hasobject:
        raise CheckpointError(f"an array of {array.dtype} holds Python objects: it cannot be saved")
    raw = np.frombuffer(array.tobytes(), np.uint8)
    return {
        "bytes": raw.reshape(array.size, array.dtype.itemsize),
        "dtype": describe_dtype(array.dtype),
        "shape": list(array.shape),
    }


def array_from_state(state: Any) -> NDArray[Any]:
    """The array of ``array_to_state``, writable and the receiver's own."""
    if not isinstance(state, dict):
        return np.array(state)
    raw = np.array(state["bytes"], np.uint8)
    return np.frombuffer(raw, read_dtype(state["dtype"])).reshape(state["shape"])


def array_like(own: NDArray[Any], state: Any, what: str) -> NDArray[Any]:
    """The array of a state in place of ``own``, which compiled code may have the address of.

    Raises:
        CheckpointError: it has another shape, or numbers of another kind.
    """
    found = array_from_state(state)
    if (found.shape, found.dtype.kind) != (own.shape, own.dtype.kind):
        raise CheckpointError(
            f"{what} is {found.dtype} {list(found.shape)}, it should be {own.dtype} "
            f"{list(own.shape)}"
        )
    return np.array(found, own.dtype, order="C")


def describe_dtype(dtype: np.dtype[Any]) -> Any:
    """JSON data for a dtype, with the offsets of its fields."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return {"base": describe_dtype(base), "shape": list(shape)}
    if dtype.fields is None or dtype.names is None:
        return dtype.str
    return {
        "names": list(dtype.names),
        "formats": [describe_dtype(dtype.fields[name][0]) for name in dtype.names],
        "offsets": [dtype.fields[name][1] for name in dtype.names],
        "itemsize": dtype.itemsize,
    }


def read_dtype(description: Any) -> np.dtype[Any]:
    """The dtype of ``describe_dtype``."""
    if isinstance(description, str):
        return np.dtype(description)
    if "base" in description:
        return np.dtype((read_dtype(description["base"]), tuple(description["shape"])))
    formats = [read_dtype(field) for field in description["formats"]]
    fields: Any = {**description, "formats": formats}
    structured: np.dtype[Any] = np.dtype(fields)
    return structured
