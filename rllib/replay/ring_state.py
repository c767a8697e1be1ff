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
from rllib.replay.ring import Layout, Ring

_ROWS = ("frames", "actions", "rewards")


def rows_since(ring: Ring, position: int) -> dict[str, Any]:
    """The steps added at ``position`` or later, if they are still there, in order.

    Returns:
        ``{"first": position of the first of them, "frames": ..., "actions": ..., "rewards": ...}``
    """
    first = min(max(position, ring.oldest), ring.num_added)
    slots = np.arange(first, ring.num_added) % ring.capacity
    columns = {name: array_to_state(getattr(ring, name)[slots]) for name in _ROWS}
    return {"first": first, **columns}


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
    slots = np.arange(ring.oldest, ring.num_added) % ring.capacity
    return {
        "rows": rows_since(ring, since),
        "link": ring.link[slots],
        "previous": ring.previous[slots],
        "aside": ring.aside.get_state(),
        "num_added": ring.num_added,
        "num_episodes": ring.num_episodes,
        "obs_shape": list(ring.layout.obs_shape),
    }


def ring_from_state(state: dict[str, Any], capacity: int, stack: FrameStack | None) -> Ring:
    """The ring of ``ring_to_state``.

    Raises:
        CheckpointError: rows that it held are missing.
    """
    rows = {name: array_from_state(state["rows"][name]) for name in _ROWS}
    layout = Layout(
        tuple(state["obs_shape"]),
        rows["frames"].dtype,
        rows["actions"].shape[1:],
        rows["actions"].dtype,
    )
    ring = Ring(capacity, layout, stack)
    ring.num_added, ring.num_episodes = int(state["num_added"]), int(state["num_episodes"])
    ring.aside = Pool.from_state(state["aside"])
    slots = np.arange(ring.oldest, ring.num_added) % capacity
    known = ring.oldest - int(state["rows"]["first"])
    if known < 0 or len(rows["rewards"]) - known != ring.size:
        raise CheckpointError(
            f"the replay rows {ring.oldest} to {ring.num_added - 1} should be there; join the rows "
            "of all saves since then"
        )
    for name in _ROWS:
        getattr(ring, name)[slots] = rows[name][known:]
    ring.link[slots] = state["link"]
    ring.previous[slots] = state["previous"]
    return ring
