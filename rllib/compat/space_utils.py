"""RLlib's functions for spaces and their members: ``rllib.utils.spaces.space_utils``."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.compat.nested import leaves, map_leaves

Space = gym.Space[Any]


def get_base_struct_from_space(space: Space) -> Any:
    """Dict and Tuple spaces as dicts and tuples, down to the others."""
    if isinstance(space, gym.spaces.Tuple):
        return tuple(map(get_base_struct_from_space, space))
    if isinstance(space, gym.spaces.Dict):
        return {key: get_base_struct_from_space(part) for key, part in space.spaces.items()}
    return space


def flatten_space(space: Space) -> list[Space]:
    """All spaces below Dict and Tuple ones, of Dict spaces in the order of their sorted keys."""
    return list(leaves(get_base_struct_from_space(space)))


def is_composite_space(space: Space) -> bool:
    """Whether it holds other spaces."""
    composite = (gym.spaces.Dict, gym.spaces.Graph, gym.spaces.Sequence, gym.spaces.Tuple)
    return isinstance(space, composite)


def get_original_space(space: Space) -> Space:
    """The same: no space here stands for another one."""
    return space


def batch(
    list_of_structs: Sequence[Any], *, individual_items_already_have_batch_dim: bool = False
) -> Any:
    """Members of a space as one nesting of arrays [B, ...].

    Args:
        list_of_structs: one nesting for each.
        individual_items_already_have_batch_dim: join them along their first dimension instead.

    Raises:
        ValueError: there are none.
    """
    if not list_of_structs:
        raise ValueError("batch() of no members")
    if individual_items_already_have_batch_dim:
        return map_leaves(lambda *parts: np.concatenate(parts), *list_of_structs)
    return map_leaves(lambda *parts: np.array(parts), *list_of_structs)


def unbatch(batches_struct: Any) -> list[Any]:
    """One nesting for each row: the reverse of ``batch``."""
    size = len(next(leaves(batches_struct)))
    return [map_leaves(lambda part, i=i: part[i], batches_struct) for i in range(size)]


def flatten_to_single_ndarray(input_: Any) -> Any:
    """Everything of a nesting as one row; an array stays as it is."""
    if not isinstance(input_, dict | list | tuple):
        return input_
    return np.concatenate([np.reshape(leaf, -1) for leaf in leaves(input_)])


def clip_action(action: Any, action_space: Any) -> Any:
    """The action with every Box part within its bounds."""

    def clip(part: Any, space: Space) -> Any:
        is_box = isinstance(space, gym.spaces.Box)
        return np.clip(part, space.low, space.high) if is_box else part  # type: ignore[attr-defined]

    return _with_spaces(clip, action, action_space)


def unsquash_action(action: Any, action_space_struct: Any) -> Any:
    """The action with every bounded Box part stretched from [-1, 1] to its bounds, and clipped.

    Choices in a Box of integers are shifted to its least one.
    """

    def unsquash(part: Any, space: Space) -> Any:
        if not (isinstance(space, gym.spaces.Box) and space.is_bounded()):
            return part
        if np.issubdtype(space.dtype, np.integer):
            return space.low + part
        stretched = space.low + (np.asarray(part) + 1.0) * (space.high - space.low) / 2.0
        return np.clip(stretched, space.low, space.high)

    return _with_spaces(unsquash, action, action_space_struct)


def normalize_action(action: Any, action_space_struct: Any) -> Any:
    """The action with every Box part of floats from its bounds to [-1, 1]."""

    def normalize(part: Any, space: Space) -> Any:
        if not (isinstance(space, gym.spaces.Box) and np.issubdtype(space.dtype, np.floating)):
            return part
        scaled: NDArray[Any] = (np.asarray(part) - space.low) * 2.0 / (space.high - space.low) - 1.0
        return scaled

    return _with_spaces(normalize, action, action_space_struct)


def _with_spaces(change: Any, action: Any, spaces: Any) -> Any:
    struct = get_base_struct_from_space(spaces) if isinstance(spaces, gym.Space) else spaces
    return map_leaves(lambda space, part: change(part, space), struct, action)
