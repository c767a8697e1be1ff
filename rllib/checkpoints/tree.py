"""State trees: nested dicts whose tensors are kept apart from the JSON around them.

Where a tensor belongs stands ``{"$tensor": name}``; its name is its path in the tree. ``Rows`` have
files of their own: in their place stands ``{"$rows": {"log": name, "pieces": [...]}}``.
"""

import sys
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from rllib.checkpoints.rows import Piece, Rows, StateTree, new_name
from rllib.errors import CheckpointError

TENSOR_KEY, ROWS_KEY = "$tensor", "$rows"

Tensors = dict[str, NDArray[Any]]


class RowsNode(msgspec.Struct, forbid_unknown_fields=True):
    """What stands for ``Rows``."""

    log: str
    pieces: list[Piece]


class Encoded:
    """A state tree as JSON data and tensors.

    Attributes:
        tensors: all but those of rows, by name.
        rows: the leaves that are ``Rows``.
        fresh: the tensors of each new file of rows, by name of the file.
        pieces: what stands for each log.
        tree: the JSON data.

    Raises:
        CheckpointError: if a leaf can be neither tensor nor JSON; the message has its path.
    """

    def __init__(self, state: StateTree) -> None:
        self.tensors: Tensors = {}
        self.rows: list[Rows] = []
        self.fresh: dict[str, Tensors] = {}
        self.pieces: dict[str, list[Piece]] = {}
        self.tree = encode(state, "", self.tensors, self._add_rows)

    def _add_rows(self, rows: Rows) -> Any:
        pieces = [each.piece for each in rows.kept]
        if rows.stop > rows.first:
            file, tensors = new_name(), Tensors()
            pieces.append(Piece(file, rows.first, rows.stop, encode(rows.fresh, "", tensors)))
            self.fresh[file] = tensors
        self.rows.append(rows)
        self.pieces[rows.log] = pieces
        return msgspec.to_builtins(RowsNode(rows.log, pieces))


def encode(
    node: Any, path: str, tensors: Tensors, add_rows: Callable[[Rows], Any] | None = None
) -> Any:
    """Move tensors out of the tree into ``tensors``, named by their path.

    Args:
        node: the tree.
        path: JSON pointer of the tree; empty for a whole one.
        tensors: takes the tensors, as contiguous numpy arrays.
        add_rows: takes ``Rows``, and returns what stands for them.

    Returns:
        The tree as JSON data.

    Raises:
        CheckpointError: if a leaf can be neither tensor nor JSON; the message has its path.
    """
    if isinstance(node, dict):
        _check_keys(node, path)
        return {k: encode(each, _join(path, k), tensors, add_rows) for k, each in node.items()}
    if isinstance(node, list | tuple):
        items = enumerate(node)
        return [encode(each, _join(path, str(i)), tensors, add_rows) for i, each in items]
    if isinstance(node, Rows) and add_rows is not None:
        return {ROWS_KEY: add_rows(node)}
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
    native = node.astype(node.dtype.newbyteorder("="), copy=False)  # files have but one byte order
    return np.ascontiguousarray(native).reshape(node.shape)  # the first turns 0-d into 1-d


def decode(node: Any, tensors: Tensors, read: Callable[[Piece], StateTree] | None = None) -> Any:
    """Put the tensors back into the tree, taking each out of ``tensors``.

    Args:
        node: JSON data of ``encode``.
        tensors: by name.
        read: gives the tree of a piece of rows; where these stand comes the list of such trees.

    Raises:
        CheckpointError: if one that the tree names is not there.
    """
    if isinstance(node, list):
        return [decode(value, tensors, read) for value in node]
    if not isinstance(node, dict):
        return node
    if ROWS_KEY in node and read is not None:
        return [read(piece) for piece in rows_of(node).pieces]
    if TENSOR_KEY not in node:
        return {key: decode(value, tensors, read) for key, value in node.items()}
    name = node[TENSOR_KEY]
    if not isinstance(name, str) or name not in tensors:
        raise CheckpointError(f"the tensor {name!r} is missing")
    return tensors.pop(name)


def rows_of(node: dict[str, Any]) -> RowsNode:
    """What a node says that stands for ``Rows``.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        return msgspec.convert(node[ROWS_KEY], RowsNode)
    except msgspec.ValidationError as error:
        raise CheckpointError(f"{ROWS_KEY}: {error}") from None


def all_rows(node: Any) -> list[RowsNode]:
    """Every node of a tree that stands for ``Rows``."""
    if isinstance(node, dict):
        if ROWS_KEY in node:
            return [rows_of(node)]
        node = list(node.values())
    return [each for child in node for each in all_rows(child)] if isinstance(node, list) else []
