"""MuJoCo's worlds, many at once: by compiled threads where they were built, else one by one.

Results are the same to the last bit: a world depends on nothing but itself.

Legend: N worlds.
"""

import ctypes
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rllib.envs.compiled import compiled

Bools = NDArray[np.bool_]

_STORY = 512
"""As ``physics.c`` has it."""


class Copy(NamedTuple):
    """Arrays of one shape and type, contiguous, which stay where they are."""

    to: NDArray[Any]
    source: NDArray[Any]


class Copies(NamedTuple):
    """What is copied of a world, always as much, before and after it goes on."""

    before: Sequence[Copy]
    after: Sequence[Copy]


class Worlds(Protocol):
    """What steps N worlds."""

    def advance(self, resting: Bools | None = None) -> None:
        """Go on by ``num_steps`` steps, except where ``resting`` [N]; copies are made of all.

        Raises:
            mujoco.FatalError: MuJoCo cannot.
        """


def worlds_of(
    mujoco: Any,
    pairs: Sequence[tuple[Any, Any]],
    copies: Sequence[Copies],
    num_steps: int,
    *,
    settles: bool,
    num_threads: int,
) -> Worlds:
    """The fastest way there is here.

    Args:
        mujoco: the module.
        pairs: N models and data, which stay where they are from here on.
        copies: of each.
        num_steps: of the simulation at a time.
        settles: whether contact forces are to be worked out afterwards.
        num_threads: that may be used.
    """
    if num_threads > 1 and len(pairs) > 1:
        library, functions = compiled(), _functions(mujoco)
        if library is not None and functions is not None:
            return _Together(
                mujoco, library, functions, pairs, copies, num_steps, settles, num_threads
            )
    return _OneByOne(mujoco, pairs, copies, num_steps, settles)


class _OneByOne:
    def __init__(
        self,
        mujoco: Any,
        pairs: Sequence[tuple[Any, Any]],
        copies: Sequence[Copies],
        num_steps: int,
        settles: bool,
    ) -> None:
        self.step, self.pairs, self.num_steps = mujoco.mj_step, pairs, num_steps
        self.before = [each for world in copies for each in world.before]
        self.after = [each for world in copies for each in world.after]
        self.settle = mujoco.mj_rnePostConstraint if settles else None

    def advance(self, resting: Bools | None = None) -> None:
        _make(self.before)
        for model, data in self.pairs if resting is None else compress(self.pairs, ~resting):
            self.step(model, data, self.num_steps)
            if self.settle is not None:
                self.settle(model, data)
        _make(self.after)


def _make(copies: Sequence[Copy]) -> None:
    for to, source in copies:
        to[:] = source


class _Functions(ctypes.Structure):
    """Addresses, with which ``Work`` of physics.c begins."""

    _fields_ = tuple(
        (name, ctypes.c_void_p) for name in ("step", "settle", "set_handler", "common_handler")
    )


class _Work(ctypes.Structure):
    """``Work`` of physics.c."""

    _fields_ = (
        ("functions", _Functions),
        *((name, ctypes.c_int64) for name in ("num_steps", "num_worlds")),
        *((name, ctypes.c_void_p) for name in ("models", "data", "resting", "stories")),
        *((name, ctypes.c_int64) for name in ("num_before", "num_after")),
        *((name, ctypes.c_void_p) for name in ("before", "after")),
    )


class _Together:
    def __init__(
        self,
        mujoco: Any,
        library: ctypes.CDLL,
        functions: _Functions,
        pairs: Sequence[tuple[Any, Any]],
        copies: Sequence[Copies],
        num_steps: int,
        settles: bool,
        num_threads: int,
    ) -> None:
        self.mujoco, self.advance_all = mujoco, library.physics_advance
        self.num_threads = min(num_threads, len(pairs))
        self._alive = pairs, copies
        models, data = (
            np.array([each._address for each in part]) for part in zip(*pairs, strict=True)
        )
        self._stories = np.zeros((len(pairs), _STORY), np.uint8)
        self._begins = self._stories[:, 0]
        before, after = (
            np.array([[_addresses(each) for each in world] for world in part], np.int64)
            for part in zip(*copies, strict=True)
        )
        self._arrays = models, data, before, after
        self._work = _Work(functions, num_steps, len(pairs))
        if not settles:
            self._work.functions.settle = None
        self._work.models, self._work.data = models.ctypes.data, data.ctypes.data
        self._work.stories = self._stories.ctypes.data
        self._work.before, self._work.num_before = before.ctypes.data, before.shape[1]
        self._work.after, self._work.num_after = after.ctypes.data, after.shape[1]
        self._address = ctypes.addressof(self._work)

    def advance(self, resting: Bools | None = None) -> None:
        self._work.resting = None if resting is None else resting.ctypes.data
        self.advance_all(self._address, self.num_threads)
        if self._begins.any():
            self._raise()

    def _raise(self) -> None:
        index = int(np.flatnonzero(self._begins)[0])
        story = self._stories[index].tobytes().partition(b"\0")[0].decode(errors="replace")
        self._stories[:] = 0
        raise self.mujoco.FatalError(f"in environment {index}: {story}")


def _addresses(copy: Copy) -> tuple[int, int, int]:
    """``Copy`` of physics.c."""
    assert copy.to.nbytes == copy.source.nbytes, "an array is copied into one of its size"
    return copy.to.ctypes.data, copy.source.ctypes.data, copy.to.nbytes


def _functions(mujoco: Any) -> _Functions | None:
    """Of the very library that MuJoCo's module calls; None if it has not got them all."""
    paths = [*Path(mujoco.__file__).parent.glob("libmujoco.so*")]
    if len(paths) != 1:
        return None
    library = ctypes.CDLL(str(paths[0]))
    # With the last two its Python module makes exceptions of errors, which else end the process.
    names: tuple[str, ...] = ("mj_step", "mj_rnePostConstraint")
    names += ("_mjPRIVATE_setTlsLogHandler", "_mjPRIVATE_getGlobalLogHandler")
    if not all(hasattr(library, name) for name in names):
        return None
    return _Functions(*(ctypes.cast(getattr(library, name), ctypes.c_void_p) for name in names))
