"""Env steps of many streams in one ring; every step knows its own stream's next and previous one.

    slot       0      1      2      3      4      5
    obs       a0     a1     b0     b1     a2     b2      streams a and b, fragments of two steps
    link       1      4      3      5    ~aside ~aside   what was observed next

An observation is kept once: s_{t+1} is the observation of the following step. Only where no step
follows (an episode was truncated, or the stream has not gone on yet), s_{t+1} is kept aside. A step
that terminated an episode links to itself.

Positions count all steps ever added, slots the places of the ring: slot = position % capacity.

Legend: B steps drawn, S sequences of L steps, R steps added, M streams, k frames of a stack.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rllib.batch import SampleBatch
from rllib.replay.fragment import Steps, by_stream
from rllib.replay.frame_stack import FrameStack, all_of_each
from rllib.replay.pool import Pool

Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]

# What stands for the position of a stream's last step, and of the step before one:
ENDED = FIRST = -1
"""The stream's episode has ended: the next step is the first of one."""
UNKNOWN = -2
"""Nothing is known of the stream's past."""


class Layout(NamedTuple):
    """What one step consists of."""

    obs_shape: tuple[int, ...]
    obs_dtype: np.dtype[Any]
    action_shape: tuple[int, ...]
    action_dtype: np.dtype[Any]


class Walk(NamedTuple):
    """B walks of up to n steps within one episode.

    Attributes:
        ends: [B] the slots of the last steps.
        rewards: [B] sum of gamma^j r_{t+j} over the steps, rounded once.
        n: [B] int64, how many steps there were.
    """

    ends: Indices
    rewards: NDArray[np.float32]
    n: Indices


class Runs(NamedTuple):
    """S runs of consecutive steps of one episode each.

    Attributes:
        rows: [S, L] int64 slots of the steps; padding repeats the last one.
        mask: [S, L] whether this is a step, and no padding.
        train_mask: [S, L] whether it is one to train on: not the burn-in, which is needed unless
            the run is the beginning of an episode.
    """

    rows: Indices
    mask: Bools
    train_mask: Bools


class Ring:
    """The newest ``capacity`` env steps.

    Args:
        capacity: in env steps.
        layout: of one step.
        stack: how observations are stacked from frames, of which only the newest is kept.
    """

    def __init__(self, capacity: int, layout: Layout, stack: FrameStack | None) -> None:
        self.capacity = capacity
        self.layout = layout
        self.stack = stack
        frame = np.empty((0, *layout.obs_shape), layout.obs_dtype)
        if stack is not None:
            stack.check(layout.obs_shape)
            frame = stack.newest(frame, layout.obs_shape)
        # Memory that was never written to is not handed out by the system: no need to grow.
        self.frames = np.empty((capacity, *frame.shape[1:]), layout.obs_dtype)
        self.actions = np.empty((capacity, *layout.action_shape), layout.action_dtype)
        self.rewards = np.empty(capacity, np.float32)
        self.link = np.empty(capacity, np.int64)
        self.previous = np.empty(capacity, np.int64)
        self.aside = Pool(frame.shape[1:], layout.obs_dtype)
        self.num_added = 0
        self.num_episodes = 0

    @property
    def size(self) -> int:
        """Steps that are kept."""
        return min(self.num_added, self.capacity)

    @property
    def oldest(self) -> int:
        """Position of the oldest step that is kept."""
        return self.num_added - self.size

    def positions(self, slots: Indices) -> Indices:
        """The positions of the steps in these slots."""
        if self.num_added <= self.capacity:
            return slots
        newest = self.num_added - 1
        return newest - (newest - slots) % self.capacity

    # Adding

    def append(self, steps: Steps, tails: Indices) -> Indices:
        """Add steps of M streams.

        Args:
            steps: at most ``capacity``.
            tails: [M] position of each stream's last step if its episode goes on, else ``ENDED`` or
                ``UNKNOWN``.

        Returns:
            The new tails [M].

        Raises:
            ValueError: stacks are no stacks, or not padded as they should be.
        """
        if self.stack is not None:
            self._check_stacks(self.stack, steps)
        count = len(steps.rewards)
        joined = self._joined(steps, tails)
        previous = self._previous_of(steps, tails, joined)
        self._join(tails[joined], self.num_added + steps.firsts[joined])
        self._evict(count)
        self._write(self.frames, self.newest(steps.obs))
        self._write(self.actions, steps.actions)
        self._write(self.rewards, steps.rewards)
        self._write(self.previous, previous)
        self._write(self.link, self._link_of(steps))
        self.num_episodes += len(steps.terminal) + len(steps.cut)
        self.num_added += count
        return np.where(steps.tails < 0, ENDED, steps.tails + (self.num_added - count))

    def go_on(self, batch: SampleBatch, tails: Indices) -> Indices | None:
        """The same at once for fragments of few rows, of which most are so: see ``is_endless``.

        Args:
            batch: a fragment without ends.
            tails: [N] of its streams.

        Returns:
            The new tails [N]; None if a stream does not go on where it was left, or the ring's end
            comes in between. Nothing was changed then.
        """
        T, N = batch.rewards.shape
        start, count = self.num_added % self.capacity, T * N
        oldest = max(self.num_added + count - self.capacity, 0)
        if self.stack is not None or start + count > self.capacity or tails.min() < oldest:
            return None
        slots = tails % self.capacity
        aside = ~self.link[slots]
        if np.count_nonzero(self.aside.rows[aside] != batch.obs[0]):
            return None
        self._evict(count)
        stop, firsts = start + count, slice(start, start + count, T)
        self.frames[start:stop] = by_stream(batch.obs)
        self.actions[start:stop] = by_stream(batch.actions)
        self.rewards[start:stop] = by_stream(batch.rewards)
        self.previous[start:stop] = np.arange(self.num_added - 1, self.num_added + count - 1)
        self.previous[firsts] = tails
        self.link[slots] = np.arange(start, stop, T)
        self.link[start:stop] = np.arange(start + 1, stop + 1)
        # What the streams end with now takes the place of what they ended with before.
        self.aside.rows[aside] = batch.last_obs
        self.link[start + T - 1 : stop : T] = ~aside
        self.num_added += count
        new: Indices = np.arange(self.num_added - count + T - 1, self.num_added, T)
        return new

    def newest(self, obs: NDArray[Any]) -> NDArray[Any]:
        """What is kept of observations: the newest frame, or all of it."""
        return obs if self.stack is None else self.stack.newest(obs, self.layout.obs_shape)

    def _joined(self, steps: Steps, tails: Indices) -> Indices:
        """Which of the M streams go on exactly where they were left.

        Others were restarted, or a fragment of theirs was lost, or their last step has to go now.
        """
        oldest = self.num_added + len(steps.rewards) - self.capacity
        known = np.flatnonzero(tails >= max(oldest, 0))
        if not len(known):
            return known
        slots, found = tails[known] % self.capacity, steps.obs[steps.firsts[known]]
        same = all_of_each(self.aside.rows[~self.link[slots]] == self.newest(found))
        if self.stack is not None:
            same &= self._are_known_of(self.stack, slots, found)
        return known if same.all() else known[same]

    def _are_known_of(self, stack: FrameStack, slots: Indices, obs: NDArray[Any]) -> Bools:
        """[B] whether the older frames of stacks are those of the steps before, in these slots."""
        index, is_kept = self._history(stack, slots)
        kept = self._read(index)[:, 1:]
        equal = kept == stack.split(obs, self.layout.obs_shape)[:, :-1]
        equal |= ~is_kept[:, 1:].reshape(*kept.shape[:2], *[1] * (kept.ndim - 2))
        return all_of_each(equal)

    def _previous_of(self, steps: Steps, tails: Indices, joined: Indices) -> Indices:
        """[R] positions of the steps before, or ``FIRST`` or ``UNKNOWN``."""
        previous = np.arange(self.num_added - 1, self.num_added + len(steps.rewards) - 1)
        previous[steps.begins] = FIRST
        before = tails
        if len(joined) < len(tails):
            before = np.where(tails < 0, tails, UNKNOWN)
            before[joined] = tails[joined]
        if self.stack is not None:
            # Its padding tells whether an episode begins, whatever else may be known.
            is_padded = self.stack.is_padded(steps.obs[steps.firsts], self.layout.obs_shape)
            before = np.where(before < 0, np.where(is_padded, FIRST, UNKNOWN), before)
        previous[steps.firsts] = before
        return previous

    def _check_stacks(self, stack: FrameStack, steps: Steps) -> None:
        """Refuse what could not be put together again."""
        shape = self.layout.obs_shape
        if not stack.is_padded(steps.obs[steps.begins], shape).all():
            raise ValueError(
                f"an episode does not begin with a stack of {stack.size} frames padded by "
                f"{stack.padding!r} along axis {stack.axis}; set padding to the other of 'repeat' "
                "and 'zero', or keep whole observations (no frame stack)"
            )
        is_shifted = stack.is_shifted(steps.obs[:-1], steps.obs[1:], shape)
        is_shifted[steps.begins - 1] = True
        is_shifted[steps.firsts[1:] - 1] = True
        after_cut = stack.is_shifted(steps.obs[steps.cut], steps.cut_obs, shape)
        if not (is_shifted.all() and after_cut.all()):
            raise ValueError(
                f"a stack of {stack.size} frames along axis {stack.axis} is not the one before "
                "with one new frame; keep whole observations (no frame stack)"
            )

    def _join(self, tails: Indices, followers: Indices) -> None:
        slots = tails % self.capacity
        self.aside.release(~self.link[slots])
        self.link[slots] = followers % self.capacity
        self.num_episodes -= len(slots)

    def _evict(self, num_coming: int) -> None:
        """Make room: what was kept aside for the oldest steps goes with them."""
        count = self.size + num_coming - self.capacity
        if count <= 0:
            return
        slots = np.arange(self.oldest, self.oldest + count) % self.capacity
        link = self.link[slots]
        aside = ~link[link < 0]
        self.aside.release(aside)
        self.num_episodes -= len(aside) + int(np.count_nonzero(link == slots))

    def _write(self, column: NDArray[Any], values: NDArray[Any]) -> None:
        start = self.num_added % self.capacity
        until_end = self.capacity - start
        column[start : start + len(values)] = values[:until_end]
        if len(values) > until_end:
            column[: len(values) - until_end] = values[until_end:]

    def _link_of(self, steps: Steps) -> Indices:
        slots = np.arange(self.num_added, self.num_added + len(steps.rewards) + 1) % self.capacity
        link = slots[1:].copy()
        link[steps.terminal] = slots[steps.terminal]
        link[steps.cut] = ~self.aside.put(self.newest(steps.cut_obs))
        return link

    # Reading

    def walk(self, slots: Indices, n: int | Indices, gamma: float) -> Walk:
        """Go n steps on from each slot [B], but not beyond what is known of its episode."""
        taken = np.ones(len(slots), np.int64)
        most = n if isinstance(n, int) else int(n.max())
        if most == 1:
            return Walk(slots, self.rewards[slots], taken)
        ends, rewards = slots, self.rewards[slots].astype(np.float64)
        for j in range(1, most):
            following = self.link[ends]
            goes_on = (following >= 0) & (following != ends) & (j < n)
            ends = np.where(goes_on, following, ends)
            rewards += np.where(goes_on, np.float64(gamma) ** j * self.rewards[ends], 0.0)
            taken += goes_on
        return Walk(ends, rewards.astype(np.float32), taken)

    def runs(self, slots: Indices, length: int, burn_in: int) -> Runs:
        """From each slot [S] a run of up to ``burn_in + length`` steps."""
        rows = np.empty((len(slots), burn_in + length), np.int64)
        mask = np.ones(rows.shape, np.bool_)
        rows[:, 0] = slots
        for t in range(1, burn_in + length):
            last = rows[:, t - 1]
            following = self.link[last]
            mask[:, t] = mask[:, t - 1] & (following >= 0) & (following != last)
            rows[:, t] = np.where(mask[:, t], following, last)
        train_mask = mask.copy()
        train_mask[self.previous[slots] != FIRST, :burn_in] = False
        return Runs(rows, mask, train_mask)

    def obs_at(self, slots: Indices) -> NDArray[Any]:
        """[B, ...] s_t of the steps in these slots [B]."""
        if self.stack is None:
            return self.frames.take(slots, axis=0)
        return self._assemble(self.stack, self._history(self.stack, slots)[0])

    def obs_after(self, slots: Indices) -> NDArray[Any]:
        """[B, ...] s_{t+1} of the steps in these slots [B]; of no meaning where t terminated."""
        following = self.link[slots]
        if self.stack is None:
            return self._read(following)
        history = self._history(self.stack, slots)[0]
        index = np.concatenate([history[:, 1:], following[:, None]], axis=1)
        return self._assemble(self.stack, index)

    def obs_of_runs(self, runs: Runs) -> NDArray[Any]:
        """[S, L + 1, ...] the observations of runs, and what was observed after the last step."""
        rows = runs.rows
        index = np.concatenate([rows, rows[:, -1:]], axis=1)
        index[np.arange(len(rows)), runs.mask.sum(axis=1)] = self.link[rows[:, -1]]
        if self.stack is None:
            return self._read(index)
        history = self._history(self.stack, rows[:, 0])[0]
        index = np.concatenate([history[:, :-1], index], axis=1)
        windows = np.lib.stride_tricks.sliding_window_view(index, self.stack.size, axis=1)
        return self._assemble(self.stack, windows)

    def is_whole(self, slots: Indices) -> Bools:
        """[B] whether all frames of the stacks are still there."""
        if self.stack is None:
            return np.ones(len(slots), np.bool_)
        return self._history(self.stack, slots)[1][:, 0]

    def _history(self, stack: FrameStack, slots: Indices) -> tuple[Indices, Bools]:
        """Where the frames [B, k] of the stacks are, and which of them are still there [B, k]."""
        index = np.empty((len(slots), stack.size), np.int64)
        is_kept = np.ones(index.shape, np.bool_)
        index[:, -1] = slots
        began = np.zeros(len(slots), np.bool_)
        for j in range(stack.size - 2, -1, -1):
            previous = self.previous[slots]
            began |= previous == FIRST
            is_kept[:, j] = is_kept[:, j + 1] & (began | (previous >= self.oldest))
            slots = np.where(began, slots, previous % self.capacity)
            index[:, j] = np.where(began, ~0, slots) if stack.padding == "zero" else slots
        return index, is_kept

    def _assemble(self, stack: FrameStack, index: Indices) -> NDArray[Any]:
        return stack.assemble(self._read(index), self.layout.obs_shape)

    def _read(self, index: Indices) -> NDArray[Any]:
        """Frames by slot; those that are kept aside by the complement of their row."""
        found = self.frames.take(index, axis=0, mode="clip")
        is_aside = index < 0
        if np.count_nonzero(is_aside):
            found[is_aside] = self.aside.rows[~index[is_aside]]
        return found
