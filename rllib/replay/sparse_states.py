"""Which recurrent states are kept: as few as sequences need to reach every step.

    given    x   x   x   x   x   x   x     fragments of one step, each with the state before it
    kept     x           x           x     sequences of three steps

A fragment brings a state wherever a sequence may begin: with itself, with an episode, and after as
many steps as a sequence has. Of short fragments of a stream that goes on, most are not needed.

Legend: C states of a fragment, N streams, M of them with steps, R steps.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rllib.errors import CheckpointError
from rllib.replay.fragment import Bools, Indices, Steps
from rllib.replay.ring import Ring

_NONE = -1


class SparseStates:
    """Knows the newest state that is kept of every stream.

    Args:
        max_seq_len: steps of a sequence that are trained on; 1 keeps all states.
    """

    def __init__(self, max_seq_len: int) -> None:
        self.max_seq_len = max_seq_len
        # By source [2, N]: the newest state's position, and steps of the stream since then.
        self._newest: dict[int, Indices] = {}

    def needed(
        self,
        source: int,
        begins: Indices,
        steps: Steps,
        streams: Indices,
        goes_on: Bools,
        positions: tuple[int, int],
    ) -> Bools:
        """[C] which states of a fragment to keep; it may be the first of a stream that is not.

        The others begin an episode, or are as far from the one before as they may be.

        Args:
            source: of the fragment, the one that follows the last.
            begins: [C] in ascending order, the steps before which the states are.
            steps: of the fragment.
            streams: [M] the streams with steps, of those that ``fit`` has told of.
            goes_on: [M] whether the stream's first step goes on where the stream was left.
            positions: of the fragment's first step, and of the oldest step that is still there.
        """
        first, oldest = positions
        newest = self._newest[source]
        position, since = newest[:, streams]
        stops = np.append(steps.firsts[1:], len(steps.rewards))
        at = np.searchsorted(begins, steps.firsts)
        following = np.append(begins, [len(steps.rewards)] * 2)
        reach = since + np.minimum(following[at + 1], stops) - steps.firsts
        is_spare = goes_on & (position >= oldest) & (reach <= self.max_seq_len)
        is_spare &= following[at] == steps.firsts
        needed = np.ones(len(begins), np.bool_)
        needed[at[is_spare]] = False
        kept = begins[needed]
        last = np.append(_NONE, kept)[np.searchsorted(kept, stops)]
        is_new = last >= steps.firsts
        newest[:, streams] = np.where(
            is_new,
            [first + last, stops - last],
            [np.where(goes_on, position, _NONE), since + stops - steps.firsts],
        )
        return needed

    def fit(self, source: int, num_streams: int) -> None:
        """Know of as many streams of a source."""
        known = self._newest.get(source)
        if known is not None and known.shape[1] == num_streams:
            return
        self._newest[source] = np.full((2, num_streams), _NONE)
        if known is not None:
            self._newest[source][:, : known.shape[1]] = known[:, :num_streams]

    def end(self, source: int) -> None:
        """What the source adds next goes on from nothing."""
        self._newest.pop(source, None)

    def get_state(self) -> dict[str, Any]:
        """State tree."""
        newest = [each.copy() for each in self._newest.values()]
        return {"max_seq_len": self.max_seq_len, "sources": list(self._newest), "newest": newest}

    def set_state(self, state: dict[str, Any]) -> bool:
        """Go on from ``get_state``, unless that was for sequences of another length; returns
        whether it was not.

        Raises:
            CheckpointError: it is of another shape.
        """
        newest = [np.array(each, np.int64) for each in state["newest"]]
        if any(each.ndim != 2 or len(each) != 2 for each in newest):
            raise CheckpointError("the replay buffer's newest states should be [2, streams] each")
        self._newest = dict(zip(state["sources"], newest, strict=True))
        return bool(state.get("max_seq_len", self.max_seq_len) == self.max_seq_len)

    def clear(self) -> None:
        """Know of no stream."""
        self._newest.clear()

    def thin(self, ring: Ring, slots: Indices, tails: Mapping[int, Indices]) -> Bools:
        """[C] which states of a whole buffer to keep, of one that went by another length.

        All sequences are as likely to be drawn: where more states are kept than elsewhere, steps
        are trained on more often.

        Args:
            ring: the buffer's steps.
            slots: [C] the states' steps.
            tails: by source [N], the position of each stream's last step, if it goes on.
        """
        newest, since = self._walk(ring, slots)
        steps = (slots - ring.oldest) % ring.capacity
        self.clear()
        for source, known in tails.items():
            last = known - ring.oldest
            is_kept = last >= 0
            is_kept[is_kept] = newest[last[is_kept]] != _NONE
            self._newest[source] = np.full((2, len(known)), _NONE)
            last = last[is_kept]
            self._newest[source][:, is_kept] = newest[last] + ring.oldest, since[last]
        return np.equal(newest[steps], steps)

    def _walk(self, ring: Ring, slots: Indices) -> tuple[Indices, Indices]:
        """Of each step [R], oldest first: the newest state that is needed up to there, as the step
        that it is before, and the steps of the stream since then."""
        places = np.arange(ring.oldest, ring.num_added) % ring.capacity
        is_state = np.isin(places, slots).tolist()
        link = ring.link[places]
        follows = (link >= 0) & (link != places)
        following = np.where(follows, (link - ring.oldest) % ring.capacity, _NONE).tolist()
        previous = (ring.previous[places] - ring.oldest).tolist()
        until = [1] * len(places)  # steps up to the next state, or the end
        for k in reversed(range(len(places))):
            if following[k] != _NONE and not is_state[following[k]]:
                until[k] += until[following[k]]
        newest, since = [_NONE] * len(places), [0] * len(places)
        for k, before in enumerate(previous):
            if before >= 0:
                newest[k], since[k] = newest[before], since[before]
            if is_state[k] and (newest[k] == _NONE or since[k] + until[k] > self.max_seq_len):
                newest[k], since[k] = k, 0
            since[k] += 1
        return np.array(newest, np.int64), np.array(since, np.int64)
