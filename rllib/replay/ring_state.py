"""The ring as a state tree: rows that never change again, apart from the little that does.

Rows are saved in the order in which they were added, so that a saver may append the rows since the
last time to those that it has (``join_rows``) and replace the rest of the tree.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib.checkpoints.array_state import array_from_state, array_to_state
from rllib.errors import CheckpointError
from rllib.replay.frame_stack import FrameStack
from rllib.replay.pool import Pool
from rllib.replay.ring import UNKNOWN, Layout, Ring

_ROWS = ("frames", "actions", "rewards")


def rows_since(ring: Ring, position: int) -> dict[str, Any]:
    """The steps added at ``position`` or later, if they are still there, in order.

    Returns:
        ``{"first": position of the first of them, "frames": ..., "actions": ..., "rewards": ...}``
    """
    first = min(max(position, ring.oldest), ring.num_added)
    columns = {name: array_to_state(_in_order(ring, name, first)) for name in _ROWS}
    return {"first": first, **columns}


def row_bytes(ring: Ring) -> int:
    """Bytes of one row."""
    return sum(getattr(ring, name)[:1].nbytes for name in _ROWS)


def _in_order(ring: Ring, name: str, first: int) -> NDArray[Any]:
    """A column from position ``first`` on; a view, or a copy where the ring's end is between."""
    column: NDArray[Any] = getattr(ring, name)
    start, stop = first % ring.capacity, ring.num_added % ring.capacity
    if first == ring.num_added:
        return column[:0]
    return column[start:stop] if start < stop else np.concatenate([column[start:], column[:stop]])


def join_rows(pieces: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One tree of rows from several of ``rows_since``, in the order in which they were taken.

    Raises:
        CheckpointError: rows are missing between two of them.
    """
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in _ROWS}
    following = first = int(pieces[0]["first"])
    for piece in pieces:
        if piece["first"] > following:
            raise CheckpointError(
                f"the replay rows {following} to {piece['first'] - 1} are missing"
            )
        known = following - int(piece["first"])
        for name in _ROWS:
            columns[name].append(array_from_state(piece[name])[known:])
        following += len(columns["rewards"][-1])
    joined = {name: array_to_state(np.concatenate(parts)) for name, parts in columns.items()}
    return {"first": first, **joined}


def ring_to_state(ring: Ring, since: int) -> dict[str, Any]:
    """State tree of a ring with the rows from position ``since`` on."""
    return {
        "rows": rows_since(ring, since),
        "link": _in_order(ring, "link", ring.oldest).copy(),
        "previous": _in_order(ring, "previous", ring.oldest).copy(),
        "aside": ring.aside.get_state(),
        "num_added": ring.num_added,
        "num_episodes": ring.num_episodes,
        "obs_shape": list(ring.layout.obs_shape),
    }


def ring_from_state(state: dict[str, Any], capacity: int, stack: FrameStack | None) -> Ring:
    """The ring of ``ring_to_state``; its rows may also be a list of pieces, in order.

    Raises:
        CheckpointError: rows that it held are missing.
    """
    rows = state["rows"]
    pieces: list[dict[str, Any]] = rows if isinstance(rows, list) else [rows]
    frames, actions = (array_from_state(pieces[-1][name]) for name in ("frames", "actions"))
    obs_shape = tuple(state["obs_shape"])
    ring = Ring(capacity, Layout(obs_shape, frames.dtype, actions.shape[1:], actions.dtype), stack)
    ring.num_added, ring.num_episodes = int(state["num_added"]), int(state["num_episodes"])
    ring.aside = Pool.from_state(state["aside"])
    following = ring.oldest
    for piece in pieces:
        if piece["first"] <= following:
            following = max(following, _put(ring, piece))
    if following != ring.num_added:
        raise CheckpointError(
            f"the replay rows {ring.oldest} to {ring.num_added - 1} should be there; join the rows "
            "of all saves since then"
        )
    slots = np.arange(ring.oldest, ring.num_added) % capacity
    for name, least, most in (
        ("link", -len(ring.aside.rows), capacity - 1),
        ("previous", UNKNOWN, ring.num_added - 1),
    ):
        getattr(ring, name)[slots] = _numbers(state, name, len(slots), least, most)
    _check_aside(ring, ring.link[slots])
    return ring


def _numbers(state: dict[str, Any], name: str, size: int, least: int, most: int) -> NDArray[Any]:
    """Slots or positions, none of which leads out of the ring."""
    numbers = np.array(state[name], np.int64)
    if numbers.shape != (size,):
        text = f"has shape {list(numbers.shape)}, it should be {[size]}"
        raise CheckpointError(f"the replay buffer's {name} {text}")
    if size and not (least <= numbers.min() and numbers.max() <= most):
        text = f"should be from {least} to {most}, it is from {numbers.min()} to {numbers.max()}"
        raise CheckpointError(f"the replay buffer's {name} {text}")
    return numbers


def _check_aside(ring: Ring, link: NDArray[Any]) -> None:
    """What is kept aside looks like frames, and each row but the first is lent once or free."""
    rows, frames = ring.aside.rows, ring.frames
    if (rows.shape[1:], rows.dtype) != (frames.shape[1:], frames.dtype):
        text = f"are {rows.dtype} {list(rows.shape[1:])}, not {frames.dtype}"
        raise CheckpointError(
            f"the replay buffer's rows aside {text} {list(frames.shape[1:])}, as its frames are"
        )
    places = np.concatenate([~link[link < 0], ring.aside.free])
    if not np.array_equal(np.sort(places), np.arange(1, len(rows))):
        raise CheckpointError("the replay buffer's rows aside are not each lent once, or free")


def _put(ring: Ring, piece: dict[str, Any]) -> int:
    """Put the rows of a piece where they belong, and return the position after the last.

    Raises:
        CheckpointError: they are newer than the newest, or of different numbers.
    """
    columns = {name: array_from_state(piece[name]) for name in _ROWS}
    first, counts = int(piece["first"]), {len(column) for column in columns.values()}
    stop = first + counts.pop()
    if counts or stop > ring.num_added:
        raise CheckpointError(f"the replay rows {first} to {stop - 1} do not fit the others")
    start = max(first, ring.oldest)
    slots = np.arange(start, stop) % ring.capacity
    for name, column in columns.items():
        getattr(ring, name)[slots] = column[start - first :]
    return stop
