"""How fragments are divided among learners: whole ones where that is fair, else by environments.

3 fragments, 2 learners:   [ 0 | 0 ][ 0 | 1 ][ 1 | 1 ]
"""

from typing import Any, NamedTuple

from rllib.batch import SampleBatch
from rllib.sampling.fragments import columns


class Share(NamedTuple):
    """From part ``start`` up to part ``stop`` of a fragment in ``of`` parts."""

    start: int
    stop: int
    of: int

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the fragment."""
        return self.stop - self.start == self.of


def divide(num_fragments: int, num_learners: int) -> list[dict[int, Share]]:
    """The shares of each learner in the fragments, by the fragments' index: equally much for all.

    Fragments stand in a row, which is cut into as many pieces as there are learners; so a learner
    gets whole fragments but for the first and the last one of its piece.
    """
    pieces: list[dict[int, Share]] = []
    for rank in range(num_learners):
        begin, end = rank * num_fragments, (rank + 1) * num_fragments
        held = range(begin // num_learners, -(-end // num_learners))
        pieces.append({i: _overlap(i, begin, end, num_learners) for i in held})
    return pieces


def _overlap(index: int, begin: int, end: int, num_learners: int) -> Share:
    first = index * num_learners
    start, stop = max(begin - first, 0), min(end - first, num_learners)
    return Share(start, stop, num_learners)


def take(fragment: Any, share: Share) -> Any:
    """A share of a fragment, or of each fragment in a dict.

    Raises:
        TypeError: it is a share of something that is no fragment.
    """
    if share.is_whole:
        return fragment
    if isinstance(fragment, dict):
        return {key: take(part, share) for key, part in fragment.items()}
    if isinstance(fragment, SampleBatch):
        num_envs = fragment.rewards.shape[1]
        return columns(
            fragment, share.start * num_envs // share.of, share.stop * num_envs // share.of
        )
    raise TypeError(
        f"a {type(fragment).__name__} cannot be divided among {share.of} learners; give the "
        f"learner group a multiple of {share.of} of them"
    )
