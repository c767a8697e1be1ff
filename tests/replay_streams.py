"""Random streams of experience, and a slow replay buffer that knows what every step was.

Every observation is a number of its own, so that none can be taken for another.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from rllib.batch import SampleBatch
from rllib.replay import FrameStack

FIELDS = np.dtype([("place", "f4", (2,)), ("seen", [("flag", "?"), ("word", "<U4")])])


def scalar(number):
    return np.int64(number)


def vector(number):
    return np.array([number, -number], np.float32)


def structured(number):
    return np.array(((number, 0.5), (number % 2 == 0, f"{number % 1000}")), FIELDS)


def image(number):
    return np.array([[[number % 251, number // 251 % 251], [7, number % 2]]], np.uint8)


def image_with_channels_last(number):
    return np.moveaxis(np.repeat(image(number), 2, axis=0), 0, -1)


class Kind(NamedTuple):
    """How observations look, and how they are stacked."""

    frame: Any
    stack: FrameStack | None = None


KINDS = {
    "scalar": Kind(scalar),
    "vector": Kind(vector),
    "structured": Kind(structured),
    "repeat": Kind(image, FrameStack(4)),
    "zero": Kind(image, FrameStack(3, padding="zero")),
    "channels last": Kind(image_with_channels_last, FrameStack(2, axis=-1)),
    "channels last zero": Kind(image_with_channels_last, FrameStack(3, -1, "zero")),
}


@dataclass
class Step:
    """What really happened."""

    run: tuple
    obs: Any
    action: Any
    reward: float
    terminated: bool
    next_obs: Any
    begins_episode: bool
    state: Any = None


@dataclass
class Column:
    """One environment, whose episodes end at random."""

    key: tuple
    kind: Kind
    rng: np.random.Generator
    numbers: Any
    autoreset: str
    end_probability: float
    max_seq_len: int
    episode: int = -1
    age: int = 0
    resets_next: bool = False
    frames: list = field(default_factory=list)

    def __post_init__(self):
        self.reset()

    def reset(self):
        self.episode += 1
        self.num_steps = 0
        self.age = 0
        self.resets_next = False
        stack = self.kind.stack
        first = self.kind.frame(next(self.numbers))
        if stack is not None:
            before = first if stack.padding == "repeat" else np.zeros_like(first)
            self.frames = [before] * (stack.size - 1)
        self.see(first)

    def see(self, frame):
        if self.kind.stack is None:
            self.obs = frame
            return
        self.frames.append(frame)
        newest = self.frames[-self.kind.stack.size :]
        self.obs = np.concatenate(newest, axis=self.kind.stack.axis)

    def row(self, rows):
        """Append one row of a fragment; returns the step that it was, if it was one."""
        obs, reward = self.obs, np.float32(self.rng.normal())
        begins, terminated, truncated = self.age == 0, False, False
        state = np.array([self.episode, self.num_steps], np.float32)
        action, is_reset, step = self.rng.integers(5), self.resets_next, None
        self.age = (self.age + 1) % self.max_seq_len
        if is_reset:
            reward = 0.0
            self.reset()
        else:
            terminated, truncated = self.rng.random(2) < self.end_probability
            self.see(self.kind.frame(next(self.numbers)))
            step = Step(
                (*self.key, self.episode),
                obs,
                action,
                reward,
                bool(terminated),
                self.obs,
                self.num_steps == 0,
                state if begins and self.max_seq_len > 1 else None,
            )
            self.num_steps += 1
        final = self.obs if truncated and not terminated else None
        rows.append((obs, action, reward, terminated, truncated, is_reset, final, begins, state))
        if (terminated or truncated) and self.autoreset == "next":
            self.resets_next, self.age = True, 0
        elif terminated or truncated:
            self.reset()
        return step

    def pad(self, rows):
        """A row that is none: the stream had fewer steps than others."""
        rows.append((self.obs, 0, 0.0, False, False, True, None, False, None))


class Source:
    """N environments of one env runner.

    Args:
        autoreset: "next" gives reset rows, "same" none; "ragged" pads streams to the same length.
        max_seq_len: above 1, states are stored where sequences begin.
    """

    def __init__(
        self, kind, num_envs, numbers, *, seed=0, autoreset="same", ends=0.2, max_seq_len=1, key=0
    ):
        self.rng = np.random.default_rng(seed)
        self.autoreset = autoreset
        self.max_seq_len = max_seq_len
        self.columns = [
            Column((key, n), KINDS[kind], self.rng, numbers, autoreset, ends, max_seq_len)
            for n in range(num_envs)
        ]

    def fragment(self, num_rows):
        """A fragment, and its steps in the order in which a buffer counts them."""
        steps, table = [], []
        for column in self.columns:
            rows = []
            column.age = 0
            filled = num_rows
            if self.autoreset == "ragged":
                filled = self.rng.integers(num_rows + 1)
            for _ in range(filled):
                steps.append(column.row(rows))
            for _ in range(num_rows - filled):
                column.pad(rows)
            table.append(rows)
        return self.batch(table, num_rows), [step for step in steps if step is not None]

    def batch(self, table, T):
        N = len(table)
        grid = [[table[n][t] for n in range(N)] for t in range(T)]
        example = self.columns[0].obs

        def dense(place, dtype):
            shape = example.shape if place == 0 else ()
            array = np.zeros((T, N, *shape), dtype)
            for t, n in np.ndindex(T, N):
                array[t, n] = grid[t][n][place]
            return array

        finals = [(t * N + n, grid[t][n][6]) for t, n in np.ndindex(T, N)]
        finals = [(index, obs) for index, obs in finals if obs is not None]
        final_obs = np.zeros((len(finals), *example.shape), example.dtype)
        for k, (_, obs) in enumerate(finals):
            final_obs[k] = obs
        last_obs = np.zeros((N, *example.shape), example.dtype)
        for n, column in enumerate(self.columns):
            last_obs[n] = column.obs
        arrays = {
            "obs": dense(0, example.dtype),
            "actions": dense(1, np.int64),
            "rewards": dense(2, np.float32),
            "terminateds": dense(3, np.bool_),
            "truncateds": dense(4, np.bool_),
            "reset_rows": dense(5, np.bool_),
            "action_dist_inputs": np.zeros((T, N, 5), np.float32),
            "action_logp": np.zeros((T, N), np.float32),
            "last_obs": last_obs,
            "final_obs": final_obs,
            "final_index": np.array([index for index, _ in finals], np.int64),
        }
        if self.max_seq_len > 1:
            starts = [(t * N + n, grid[t][n][8]) for t, n in np.ndindex(T, N) if grid[t][n][7]]
            states = [state for _, state in starts]
            arrays["state_rows"] = np.array([row for row, _ in starts], np.int64)
            states = {"h": np.array(states, np.float32).reshape(-1, 2)}
            for array in arrays.values():
                array.flags.writeable = False
            arrays["state_in"] = states
        return SampleBatch(**arrays, weights_seq_no=0)


class Reference:
    """Remembers every step as an object."""

    def __init__(self, capacity, stack=None, has_memory=False):
        self.capacity = capacity
        self.stack = stack
        self.has_memory = has_memory
        self.steps = []
        self.runs = defaultdict(list)

    def add(self, steps):
        for step in steps:
            self.runs[step.run].append(step)
            self.steps.append(step)

    @property
    def oldest(self):
        return max(0, len(self.steps) - self.capacity)

    def after(self, position, n):
        """The step at a position and those that follow it in its episode: n altogether."""
        step = self.steps[position]
        run = self.runs[step.run]
        k = next(k for k, other in enumerate(run) if other is step)
        return run[k : k + n]

    def drawable(self):
        """Positions that can be drawn: their observations can be put together from what is kept."""
        kept = range(self.oldest, len(self.steps))
        if self.has_memory:
            kept = [position for position in kept if self.steps[position].state is not None]
        return [position for position in kept if self.is_whole(position)]

    def is_whole(self, position):
        if self.stack is None:
            return True
        step = self.steps[position]
        run = self.runs[step.run]
        k = next(k for k, other in enumerate(run) if other is step)
        oldest = k - self.stack.size + 1
        if oldest < 0 and not run[0].begins_episode:
            return False
        return any(run[max(oldest, 0)] is kept for kept in self.steps[self.oldest :])

    @property
    def num_episodes(self):
        return len({step.run for step in self.steps[self.oldest :]})


def check_transitions(drawn, reference, n, gamma):
    """Every transition is what really happened, of observations that are whole."""
    assert set(drawn.indices.tolist()) <= set(reference.drawable())
    for b, position in enumerate(drawn.indices):
        asked = n if isinstance(n, int) else drawn.n[b]
        run = reference.after(position, asked)
        total = sum(gamma**j * float(step.reward) for j, step in enumerate(run))
        last = run[-1]
        assert drawn.n[b] == len(run)
        np.testing.assert_array_equal(drawn.obs[b], run[0].obs)
        assert drawn.actions[b] == run[0].action
        assert drawn.rewards[b] == np.float32(total)
        assert drawn.terminateds[b] == last.terminated
        assert drawn.discounts[b] == np.float32(0.0 if last.terminated else gamma ** len(run))
        if not last.terminated:
            np.testing.assert_array_equal(drawn.next_obs[b], last.next_obs)


def check_sequences(drawn, reference, burn_in):
    """Every sequence is what really happened, and goes on as long as that did."""
    assert set(drawn.indices.tolist()) <= set(reference.drawable())
    length = drawn.mask.shape[1]
    for s, position in enumerate(drawn.indices):
        run = reference.after(position, length)
        mask = np.arange(length) < len(run)
        assert drawn.mask[s].tolist() == mask.tolist()
        for t, step in enumerate(run):
            np.testing.assert_array_equal(drawn.obs[s, t], step.obs)
            assert drawn.actions[s, t] == step.action
            assert drawn.rewards[s, t] == step.reward
            assert drawn.terminateds[s, t] == step.terminated
        if not run[-1].terminated:
            np.testing.assert_array_equal(drawn.obs[s, len(run)], run[-1].next_obs)
        assert not drawn.terminateds[s, len(run) :].any()
        assert not drawn.rewards[s, len(run) :].any()
        trained = mask & (np.arange(length) >= burn_in)
        if drawn.train_mask[s].tolist() != trained.tolist():
            assert run[0].begins_episode
            assert drawn.train_mask[s].tolist() == mask.tolist()
        if drawn.state_in:
            np.testing.assert_array_equal(drawn.state_in["h"][s], run[0].state)


def new_numbers():
    return count(1)
