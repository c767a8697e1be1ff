"""What is looked at while an environment plays: one class for each kind of mistake."""

from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np

from rllib.envs.bounds import FIRST_STEPS, lies_within
from rllib.envs.check.code import Extent, Keys, as_code, corrected
from rllib.envs.check.findings import Finding, error, warning
from rllib.envs.faults import field_path, find_nonfinite
from rllib.envs.members import Misfit, describe, find_misfit, fits
from rllib.envs.packing import Leaf, leaves

MASK = "action_mask"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one call of ``reset`` or ``step`` returned; of a reset there are only observation and
    info.

    Attributes:
        t: env steps so far.
    """

    t: int
    obs: Any
    info: Any
    reward: Any = 0.0
    terminated: Any = False
    truncated: Any = False
    is_reset: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether either flag is true."""
        return is_true(self.terminated) or is_true(self.truncated)


def is_true(flag: Any) -> bool:
    """What a flag means, also one of several numbers, which is told as an error of its own."""
    return bool(np.any(flag))


class Watch(Protocol):
    """Looks at one thing in everything that an environment returns."""

    def see(self, seen: Seen) -> None:
        """One more call."""

    def findings(self) -> Iterator[Finding]:
        """What was found in all of them."""


def parts_of_value(space: gym.Space[Any], value: Any) -> Iterator[tuple[Leaf, Any]]:
    """The parts that the space has and the value too."""
    for leaf in leaves(space):
        part = value
        try:
            for key in leaf.keys:
                part = part[key]
        except (KeyError, IndexError, TypeError):
            continue
        yield leaf, part


class Outside(NamedTuple):
    """What lay outside of its bounds first: when, where, and whether training would refuse it."""

    t: int
    leaf: Leaf
    is_refused: bool


class ObservationWatch:
    """Structure, shape, type and range of every part, and the space that would fit."""

    def __init__(self, space: gym.Space[Any], root: str = "obs") -> None:
        self.space, self.root = space, root
        self.extents: dict[Keys, Extent] = {}
        self.misfits: dict[str, tuple[int, Misfit]] = {}
        self.nonfinite: dict[str, tuple[int, float]] = {}
        self.other_dtypes: dict[str, tuple[np.dtype[Any], Any]] = {}
        self.outside: dict[str, Outside] = {}
        self.num_seen = 0

    def see(self, seen: Seen) -> None:
        """One more observation."""
        self.num_seen += 1
        if misfit := find_misfit(self.space, seen.obs, self.root):
            self.misfits.setdefault(misfit.field, (seen.t, misfit))
        for leaf, value in parts_of_value(self.space, seen.obs):
            self._see_part(leaf, value, seen.t)

    def _see_part(self, leaf: Leaf, value: Any, t: int) -> None:
        try:
            array = np.asarray(value)
        except ValueError:  # ragged: a misfit already
            return
        if array.dtype.kind not in "biuf":
            return
        path = leaf.path(self.root)
        self.extents.setdefault(leaf.keys, Extent(array, array)).add(array)
        if bad := find_nonfinite(array):
            self.nonfinite.setdefault(path, (t, bad.value))
        if path in self.misfits or array.shape != (leaf.space.shape or ()):
            return
        if isinstance(leaf.space, gym.spaces.Box) and array.dtype != leaf.space.dtype:
            self.other_dtypes.setdefault(path, (array.dtype, leaf.space.dtype))
        is_mask = leaf.keys == (MASK,)  # of which MaskWatch tells more
        if not bad and not is_mask and not lies_within(leaf, array):
            is_first = self.num_seen <= 1 + FIRST_STEPS
            is_refused = is_first or array.dtype.kind != "f"
            self.outside.setdefault(path, Outside(t, leaf, is_refused))

    def findings(self) -> Iterator[Finding]:
        """What training would refuse is an error; what it tells or converts is a warning."""
        space = f"self.observation_space = {as_code(corrected(self.space, self.extents))}"
        for path, (t, misfit) in self.misfits.items():
            text = f"{misfit.value} at env step {t}; it should be {misfit.wanted}"
            yield error(path, text, f"or, for what was seen: {space}")
        for path, (t, value) in self.nonfinite.items():
            yield error(path, f"{value} at env step {t}", "return finite numbers")
        for path, (dtype, wanted) in self.other_dtypes.items():
            text = f"is of dtype {dtype} and is converted to {wanted}, that of the space"
            yield warning(path, text, f"return np.asarray(value, np.{wanted})")
        for path, (t, leaf, is_refused) in self.outside.items():
            extent = self.extents[leaf.keys]
            text = f"lies outside of {leaf.space}, first at env step {t}"
            text += f"; seen were {extent.low.min()} to {extent.high.max()}"
            yield (error if is_refused else warning)(path, text, space)


class RewardWatch:
    """Rewards are finite numbers."""

    def __init__(self, place: str = "reward") -> None:
        self.place = place
        self.bad: Finding | None = None

    def see(self, seen: Seen) -> None:
        """One more reward; the first bad one is told."""
        if self.bad is None:
            self.bad = self._judge(seen.reward, seen.t)

    def _judge(self, reward: Any, t: int) -> Finding | None:
        text = f"{describe(reward)} at env step {t}"
        if isinstance(reward, int | float | np.integer | np.floating):
            return None if np.isfinite(reward) else error(self.place, text, "return finite numbers")
        if fits(reward, (), np.dtype(np.float64)):
            return warning(self.place, f"{text} is no plain number", "return float(reward)")
        return error(self.place, f"{text} is no number", "return float(reward)")

    def findings(self) -> Iterator[Finding]:
        """The first bad reward."""
        if self.bad is not None:
            yield self.bad


class FlagWatch:
    """``terminated`` and ``truncated`` are true or false, ``info`` is a dict.

    Args:
        whose: stands behind the names of the three.
    """

    def __init__(self, whose: str = "") -> None:
        self.whose = whose
        self.bad: dict[str, Finding] = {}

    def see(self, seen: Seen) -> None:
        """One more of each; the first bad one is told."""
        for name in ("terminated", "truncated"):
            flag = getattr(seen, name)
            if not isinstance(flag, bool | np.bool_):
                say = warning if fits(flag, (), np.dtype(np.int64)) else error
                text = f"{describe(flag)} at env step {seen.t} is neither True nor False"
                self.bad.setdefault(name, say(name + self.whose, text, f"return bool({name})"))
        if not isinstance(seen.info, dict):
            text = f"{describe(seen.info)} at env step {seen.t} is no dict"
            fix = "return {} if there is nothing to say"
            self.bad.setdefault("info", error(f"info{self.whose}", text, fix))

    def findings(self) -> Iterator[Finding]:
        """The first bad value of each."""
        yield from self.bad.values()


class BufferWatch:
    """An observation stays as it was when the environment goes on."""

    def __init__(self) -> None:
        self.last: Any = None
        self.kept: Any = None
        self.changed: int | None = None

    def see(self, seen: Seen) -> None:
        """Compares the last observation with what it was."""
        if self.changed is None and self.last is not None and not _equal(self.last, self.kept):
            self.changed = seen.t
        self.last, self.kept = seen.obs, deepcopy(seen.obs)

    def findings(self) -> Iterator[Finding]:
        """The first step that wrote into the observation before."""
        if self.changed is not None:
            text = f"env step {self.changed} wrote into the array that the one before had returned"
            yield warning("obs", text, "return a copy: obs.copy()")


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping):
        return all(_equal(one[key], other[key]) for key in other)
    if isinstance(one, tuple | list):
        return all(_equal(a, b) for a, b in zip(one, other, strict=False))
    if isinstance(one, np.ndarray):
        return bool(one.tobytes() == other.tobytes())
    return True  # numbers cannot be written into


class MaskWatch:
    """A mask of 0 and 1 that leaves an action in every dimension."""

    def __init__(self, sizes: tuple[int, ...], root: str = "obs") -> None:
        self.starts, self.shape = np.cumsum([0, *sizes[:-1]]), (sum(sizes),)
        self.place = field_path(root, [MASK])
        self.bad: dict[str, Finding] = {}

    def see(self, seen: Seen) -> None:
        """One more mask; one after the end of an episode forbids nothing."""
        mask = seen.obs.get(MASK) if isinstance(seen.obs, Mapping) else None
        if mask is None or seen.has_ended:
            return
        mask = np.asarray(mask)
        if mask.shape != self.shape:
            return  # a misfit, which is told already
        if not np.isin(mask, (0, 1)).all():
            text = f"{describe(mask)} at env step {seen.t} is not made of 0 and 1"
            self.bad.setdefault("values", error(self.place, text, "1 stands for what is allowed"))
        if not np.logical_or.reduceat(mask != 0, self.starts).all():
            fix = "allow at least one action, or end the episode before it comes to this"
            text = f"forbids every action at env step {seen.t}: {mask.tolist()}"
            self.bad.setdefault("all", error(self.place, text, fix))

    def findings(self) -> Iterator[Finding]:
        """The first bad mask of each kind."""
        yield from self.bad.values()


class EndWatch:
    """Whether episodes end, and whether a time limit says that it is one."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.length = 0
        self.total = 0
        self.ends: Counter[tuple[int, str]] = Counter()

    def see(self, seen: Seen) -> None:
        """One more step."""
        if seen.is_reset:
            self.length = 0
            return
        self.length, self.total = self.length + 1, self.total + 1
        if is_true(seen.truncated):
            self.ends[self.length, "truncated"] += 1
        elif seen.has_ended:
            self.ends[self.length, "terminated"] += 1

    def findings(self) -> Iterator[Finding]:
        """Episodes without an end, and a limit in disguise."""
        if not self.ends and self.limit is None and self.total > 1:  # else there was an error
            text = f"no episode ended in {self.total:,} env steps of random actions"
            fix = "if that can go on forever, register it with max_episode_steps=, or wrap it in "
            yield warning("episodes", text, fix + "gymnasium.wrappers.TimeLimit(env, 1000)")
        if self.limit is not None and (self.limit, "terminated") in self.ends:
            text = f"ended as terminated at max_episode_steps={self.limit}"
            yield warning("terminated", text, _CUT)
        elif len(self.ends) == 1 and self.ends.total() > 2:
            [(length, kind)] = self.ends
            if kind == "terminated" and length > 1:
                yield warning("terminated", f"every episode ended after {length} env steps", _CUT)


_CUT = (
    "if it is a time limit that ends them, return truncated=True instead: what is terminated is "
    "worth nothing beyond its end, and what is truncated is bootstrapped"
)
