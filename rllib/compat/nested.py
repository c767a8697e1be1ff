"""Functions on every leaf of nested dicts, lists and tuples."""

from collections.abc import Callable, Iterator
from typing import Any


def map_leaves(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """The same nesting of ``function(leaf, *leaves of others in the same place)``.

    Raises:
        ValueError: lists or tuples in the same place are of different lengths.
        KeyError: a dict in the same place lacks a key.
    """
    if isinstance(tree, dict):
        return {k: map_leaves(function, v, *(o[k] for o in others)) for k, v in tree.items()}
    if isinstance(tree, list | tuple):
        parts = [map_leaves(function, *each) for each in zip(tree, *others, strict=True)]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return function(tree, *others)


def leaves(tree: Any) -> Iterator[Any]:
    """Every leaf, of dicts in the order of their sorted keys."""
    if isinstance(tree, dict):
        for key in sorted(tree):
            yield from leaves(tree[key])
    elif isinstance(tree, list | tuple):
        for part in tree:
            yield from leaves(part)
    else:
        yield tree
