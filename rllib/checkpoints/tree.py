"""State trees: nested dicts whose tensors are kept apart from the JSON around them.

Where a tensor belongs stands ``{"$tensor": name}``; its name is its path in the tree.
"""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib.errors import CheckpointError

TENSOR_KEY = "$tensor"

StateTree = dict[str, Any]
Tensors = dict[str, NDArray[Any]]


def encode(node: Any, path: str, tensors: Tensors) -> Any:
    """Move tensors out of the tree into ``tensors``, named by their path.

    Args:
        node: the tree.
        path: JSON pointer of the tree; empty for a whole one.
        tensors: takes the tensors, as contiguous numpy arrays.

    Returns:
        The tree as JSON data.

    Raises:
        CheckpointError: if a leaf can be neither tensor nor JSON; the message has its path.
    """
    if isinstance(node, dict):
        _check_keys(node, path)
        return {key: encode(value, _join(path, key), tensors) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [encode(value, _join(path, str(i)), tensors) for i, value in enumerate(node)]
    if isinstance(node, np.generic):
        return node.item()
    if (array := _as_array(node, path)) is not None:
        tensors[path] = array
        return {TENSOR_KEY: path}
    if node is None or isinstance(node, bool | int | float | str):
        return node
    raise CheckpointError(f"state[{path!r}]: a {type(node).__name__} cannot be saved")


def _check_keys(node: dict[Any, Any], path: str) -> None:
    for key in node:
        if not isinstance(key, str):
            raise CheckpointError(f"state[{path!r}]: the key {key!r} should be a string")
        if key.startswith("$"):
            raise CheckpointError(f"state[{path!r}]: the key {key!r} may not begin with '$'")


def _join(path: str, key: str) -> str:
    """JSON pointer (RFC 6901) of a child, which is unique whatever characters keys have."""
    return f"{path}/{key.replace('~', '~0').replace('/', '~1')}"


def _as_array(node: Any, path: str) -> NDArray[Any] | None:
    torch = sys.modules.get("torch")  # a tensor cannot exist without it, so never import it here
    if torch is not None and isinstance(node, torch.Tensor):
        try:
            node = node.detach().cpu().numpy()
        except TypeError as error:
            raise CheckpointError(f"state[{path!r}]: cannot be saved: {error}") from None
    if not isinstance(node, np.ndarray):
        return None
    if node.dtype.kind not in "biuf" or node.dtype.itemsize > 8:
        raise CheckpointError(f"state[{path!r}]: an array of {node.dtype} cannot be saved")
    return np.ascontiguousarray(node).reshape(node.shape)  # the first turns 0-d into 1-d


def decode(node: Any, tensors: Tensors) -> Any:
    """Put the tensors back into the tree, taking each out of ``tensors``.

    Raises:
        CheckpointError: if one that the tree names is not there.
    """
    if isinstance(node, list):
        return [decode(value, tensors) for value in node]
    if not isinstance(node, dict):
        return node
    if TENSOR_KEY not in node:
        return {key: decode(value, tensors) for key, value in node.items()}
    name = node[TENSOR_KEY]
    if not isinstance(name, str) or name not in tensors:
        raise CheckpointError(f"the tensor {name!r} is missing")
    return tensors.pop(name)
