"""Stacked frames apart and together again: of each stack only the newest frame is new.

    stacks  [f0 f0 f0 f0] [f0 f0 f0 f1] [f0 f0 f1 f2] ...      as the environment gives them
    frames            f0            f1            f2  ...      as they are kept

Legend: k frames of a stack, c entries of one frame along the stacked axis.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Padding = Literal["repeat", "zero"]


class FrameStack(NamedTuple):
    """How observations are stacked from frames, the newest last.

    Attributes:
        size: k, at least 2.
        axis: of an observation, along which frames lie: 0 for ALE's (4, 84, 84), -1 for
            (84, 84, 4). Its length is k or, for frames of several channels, k times as many.
        padding: what stands before an episode's first frame: that frame itself ("repeat", as
            gymnasium's ``FrameStackObservation`` does by default) or zeros ("zero").
    """

    size: int
    axis: int = 0
    padding: Padding = "repeat"

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse observations that cannot be such stacks.

        Raises:
            ValueError: says what does not fit.
        """
        if self.size < 2:
            raise ValueError(f"a frame stack has 2 frames or more, not {self.size}")
        if self.padding not in ("repeat", "zero"):
            raise ValueError(f"padding is 'repeat' or 'zero', not {self.padding!r}")
        if not -len(shape) <= self.axis < len(shape) or shape[self.axis] % self.size:
            raise ValueError(
                f"observations of shape {shape} are no stacks of {self.size} frames along axis "
                f"{self.axis}"
            )

    def newest(self, stacks: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """A view of the newest frames [..., *frame] of stacks [..., *shape]."""
        axis = self.axis % len(shape)
        behind = [slice(None)] * (len(shape) - 1 - axis)
        index: tuple[Any, ...] = (..., slice(-(shape[axis] // self.size), None), *behind)
        newest: NDArray[Any] = stacks[index]
        return newest

    def assemble(self, frames: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Stacks [..., *shape] of frames [..., k, *frame], which are in order of time."""
        lead = frames.ndim - len(shape) - 1
        frames = np.moveaxis(frames, lead, lead + self.axis % len(shape))
        return frames.reshape(*frames.shape[:lead], *shape)

    def split(self, stacks: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """The frames [..., k, *frame] of stacks [..., *shape], in order of time."""
        lead, axis = stacks.ndim - len(shape), self.axis % len(shape)
        apart = (*shape[:axis], self.size, shape[axis] // self.size, *shape[axis + 1 :])
        frames = stacks.reshape(*stacks.shape[:lead], *apart)
        return np.moveaxis(frames, lead + axis, lead)

    def is_padded(self, stacks: NDArray[Any], shape: tuple[int, ...]) -> Bools:
        """[B] whether stacks [B, *shape] hold one frame only, the first of an episode."""
        frames = self.split(stacks, shape)
        padding = frames[:, -1:] if self.padding == "repeat" else 0
        return all_of_each(frames[:, :-1] == padding)

    def is_shifted(
        self, before: NDArray[Any], after: NDArray[Any], shape: tuple[int, ...]
    ) -> Bools:
        """[B] whether stacks ``after`` [B, *shape] are ``before`` with one new frame each."""
        return all_of_each(self.split(before, shape)[:, 1:] == self.split(after, shape)[:, :-1])


def all_of_each(equal: Bools) -> Bools:
    """[B] whether all entries of each item [B, ...] are true."""
    return np.asarray(equal.all(axis=tuple(range(1, equal.ndim))))
