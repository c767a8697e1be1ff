"""Replay buffers: env steps of many env runners, drawn again and again.

    SampleBatch -> read_steps -> Ring     draw -> Ring.walk -> Transitions
                                               -> Ring.runs -> StepSequences

Legend: T rows, N streams, B transitions, S sequences of L steps.
"""

from abc import ABC, abstractmethod
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from rllib.batch import SampleBatch
from rllib.errors import CheckpointError, ConfigError
from rllib.replay.fragment import is_endless, read_beginnings, read_steps
from rllib.replay.frame_stack import FrameStack
from rllib.replay.memory_log import MemoryLog
from rllib.replay.ring import ENDED, UNKNOWN, Indices, Layout, Ring, Runs
from rllib.replay.ring_state import ring_from_state, ring_to_state, row_bytes, rows_since
from rllib.replay.samples import Floats, ReplayStatistics, StepSequences, Transitions
from rllib.replay.sparse_states import SparseStates
from rllib.seeding import rng_state, set_rng_state

NStep = int | tuple[int, int]

_REDRAWS = 8
"""How often sequences without a step to train on are drawn anew, before they are taken."""


NO_WHOLE_STACK = (
    "the replay buffer holds no step whose frames are all there; add more or raise its capacity"
)


class Replay(ABC):
    """The newest env steps of all env runners.

    A column of an env runner's fragments is one stream of time, or a part of the one of that number
    in ``streams``: a fragment goes on where the last one of the same source ended, if its first
    observation is the one that was observed last.

    Args:
        capacity: in env steps; the oldest go first.
        rng: what is drawn from; its state is part of the buffer's.
        frame_stack: how observations are stacked from frames. Each frame is then kept once, and
            stacks are put together again when they are drawn.
        max_seq_len: of a policy with memory, the steps of a sequence that are trained on: of its
            states no more are kept than such sequences need to reach every step.
        burn_in_len: the steps of a sequence before these.

    Raises:
        ConfigError: capacity below 1.
    """

    def __init__(
        self,
        capacity: int,
        rng: np.random.Generator,
        *,
        frame_stack: FrameStack | None = None,
        max_seq_len: int = 1,
        burn_in_len: int = 0,
    ) -> None:
        if capacity < 1:
            raise ConfigError(f"a replay buffer's capacity is 1 env step or more, not {capacity}")
        self.capacity = capacity
        self.rng = rng
        self.frame_stack = frame_stack
        self._ring: Ring | None = None
        self._memory: MemoryLog | None = None
        self._sparse = SparseStates(max_seq_len)
        self._burn_in_len = burn_in_len
        self._tails: dict[int, Indices] = {}
        self._num_sampled = 0

    def __len__(self) -> int:
        """Env steps that are kept."""
        return self._ring.size if self._ring is not None else 0

    @property
    def num_added_lifetime(self) -> int:
        """Env steps ever added: the position of the next one."""
        return self._ring.num_added if self._ring is not None else 0

    @property
    def row_bytes(self) -> int:
        """Bytes of what is kept of one env step, and never changes; 0 of an empty buffer."""
        return row_bytes(self._ring) if self._ring is not None else 0

    @property
    def memory_bytes(self) -> int:
        """Bytes of the recurrent states that are kept; 0 without memory."""
        return self._memory.num_bytes if self._memory is not None else 0

    @property
    def has_memory(self) -> bool:
        """Whether the steps are those of a policy with memory, which are drawn in sequences."""
        return self._memory is not None

    def set_timestep(self, timestep: int) -> None:  # noqa: B027 (most buffers have no schedules)
        """Go by what schedules say of ``num_env_steps_sampled_lifetime``."""

    def scheduled_settings(self) -> dict[str, float]:
        """The present values of settings that have a schedule, by name; most have none."""
        return {}

    def statistics(self) -> ReplayStatistics:
        """What the buffer holds, and what went through it."""
        return ReplayStatistics(
            num_env_steps_stored=len(self),
            num_episodes_stored=self._ring.num_episodes if self._ring is not None else 0,
            num_env_steps_added_lifetime=self.num_added_lifetime,
            num_env_steps_evicted_lifetime=self.num_added_lifetime - len(self),
            num_env_steps_sampled_lifetime=self._num_sampled,
        )

    # Adding

    def add(self, batch: SampleBatch, source: int = 0) -> None:
        """Add a fragment; the first stream's steps come first.

        Args:
            batch: of ``source``, the one that follows the last.
            source: index of the env runner.

        Raises:
            ConfigError: the fragment has more steps than fit.
            ValueError: its arrays are of another shape or dtype than before, a truncated episode
                has no final observation, or observations are not stacked as the frame stack says.
        """
        if self._goes_on(batch, source):
            return
        steps = read_steps(batch)
        count = len(steps.rewards)
        if count > self.capacity:
            raise ConfigError(
                f"a fragment of {count} env steps does not fit into a replay buffer with a "
                f"capacity of {self.capacity}; raise the capacity or lower the fragment's length"
            )
        if count == 0:
            return
        ring = self._ring_for(batch)
        slot = ring.num_added % self.capacity
        tails = self._tails_of(source, batch)
        streams = steps.streams if batch.streams is None else batch.streams[steps.streams]
        # What a reset row comes before begins an episode, whatever it looks like.
        tails[streams[batch.reset_rows[0, steps.streams]]] = ENDED
        tails[streams] = ring.append(steps, tails[streams])
        self._ring, self._tails[source] = ring, tails
        if batch.state_in:
            self._memory = self._memory or MemoryLog(self.capacity)
            slots = np.arange(slot, slot + count) % self.capacity
            goes_on = ring.previous[slots[steps.firsts]] >= 0
            begins, states = read_beginnings(batch, steps)
            places = ring.num_added - count, ring.oldest
            self._sparse.fit(source, len(tails))
            needed = self._sparse.needed(source, begins, steps, streams, goes_on, places)
            states = {name: part[needed] for name, part in states.items()}
            self._memory.replace(slots, begins[needed], states)
        self._on_added(slot, min(count, self.capacity - slot))
        self._on_added(0, max(slot + count - self.capacity, 0))
        if batch.state_in:
            self._on_continued(ring, slots[steps.firsts], np.diff(steps.firsts, append=count))

    def _goes_on(self, batch: SampleBatch, source: int) -> bool:
        """Add a fragment the short way, if it is one that goes on and on."""
        tails = self._tails.get(source)
        if self._ring is None or tails is None or batch.state_in or not is_endless(batch):
            return False
        if batch.streams is None and len(tails) != batch.rewards.shape[1]:
            return False
        if batch.streams is not None and len(tails) <= batch.streams.max():
            return False
        streams = slice(None) if batch.streams is None else batch.streams
        ring = self._ring_for(batch)
        slot = ring.num_added % self.capacity
        new = ring.go_on(batch, tails[streams])
        if new is None:
            return False
        tails[streams] = new
        self._on_added(slot, batch.rewards.size)
        return True

    def end_streams(self, source: int) -> None:
        """What ``source`` adds next goes on from nothing: it was restarted, or a fragment lost.

        A stream that goes on with another observation than was expected is noticed without being
        told. Say it nevertheless, because observations may be the same by chance.
        """
        self._tails.pop(source, None)
        self._sparse.end(source)

    def _tails_of(self, source: int, batch: SampleBatch) -> Indices:
        tails, num_streams = self._tails.get(source), batch.rewards.shape[1]
        if batch.streams is not None:
            most = int(batch.streams.max()) + 1
            num_streams = most if tails is None else max(len(tails), most)
        if tails is not None and len(tails) == num_streams:
            return tails
        wider = np.full(num_streams, UNKNOWN)
        if tails is not None:
            wider[: len(tails)] = tails[:num_streams]
        return wider

    def _ring_for(self, batch: SampleBatch) -> Ring:
        layout = Layout(
            batch.obs.shape[2:], batch.obs.dtype, batch.actions.shape[2:], batch.actions.dtype
        )
        if self._ring is None:
            return Ring(self.capacity, layout, self.frame_stack)
        if self._ring.layout != layout:
            _refuse(layout, self._ring.layout)
        if (self._memory is not None) != bool(batch.state_in):
            raise ValueError(
                "fragments of policies with and without memory cannot share a replay buffer"
            )
        return self._ring

    def _on_added(self, slot: int, count: int) -> None:  # noqa: B027 (most buffers need not know)
        """There are new steps in the slots [slot, slot + count)."""

    def _on_continued(self, ring: Ring, firsts: Indices, counts: Indices) -> None:  # noqa: B027
        """Streams of a policy with memory have new steps, so many from these slots [M] on: what
        goes on there is a part of older sequences as well."""

    # Drawing

    def sample(
        self, num_items: int, *, n_step: NStep = 1, gamma: float = 0.99, beta: float | None = None
    ) -> Transitions:
        """Draw transitions, with replacement.

        Args:
            num_items: B.
            n_step: steps from ``obs`` to ``next_obs``; a pair draws from both ends and all
                between for each transition.
            gamma: discount of one step.
            beta: how much of the bias is corrected by the weights, where not all steps are equally
                likely; ``None`` takes the buffer's.

        Raises:
            ValueError: the buffer is empty, or belongs to a policy with memory, or ``n_step`` is
                no number of steps.
        """
        ring = self._filled()
        if self._memory is not None:
            raise ValueError("the steps of a policy with memory are drawn by sample_sequences")
        n = self._draw_n(n_step, num_items)
        slots = self._draw_whole(ring, num_items)
        walk = ring.walk(slots, n, gamma)
        terminateds = ring.link[walk.ends] == walk.ends
        self._num_sampled += num_items
        discount = gamma if isinstance(n, int) and n == 1 else gamma**walk.n
        return Transitions(
            obs=ring.obs_at(slots),
            actions=ring.actions.take(slots, axis=0),
            rewards=walk.rewards,
            next_obs=ring.obs_after(walk.ends),
            terminateds=terminateds,
            discounts=np.multiply(discount, ~terminateds, dtype=np.float32),
            n=walk.n,
            indices=ring.positions(slots),
            weights=self._weights(slots, beta),
        )

    def sample_sequences(
        self, num: int, length: int, burn_in: int = 0, *, beta: float | None = None
    ) -> StepSequences:
        """Draw sequences of one episode each, with replacement.

        They begin where a recurrent state was stored, if any was; otherwise anywhere.

        Args:
            num: S.
            length: steps to train on, at least 1; L is ``burn_in + length``.
            burn_in: steps before these.
            beta: as for ``sample``.

        Raises:
            ValueError: the buffer is empty, or a length is impossible.
        """
        ring = self._filled()
        if length < 1 or burn_in < 0:
            raise ValueError(f"no sequences of {length=} after {burn_in=} can be drawn")
        runs = self._draw_runs(ring, num, length, burn_in)
        slots = runs.rows[:, 0]
        self._num_sampled += int(np.count_nonzero(runs.mask))
        return StepSequences(
            obs=ring.obs_of_runs(runs),
            actions=ring.actions[runs.rows],
            rewards=ring.rewards[runs.rows] * runs.mask,
            terminateds=(ring.link[runs.rows] == runs.rows) & runs.mask,
            mask=runs.mask,
            train_mask=runs.train_mask,
            state_in=self._memory.states(slots) if self._memory is not None else {},
            indices=ring.positions(slots),
            weights=self._weights(slots, beta),
        )

    def update_priorities(  # noqa: B027 (most buffers have none)
        self, indices: Indices, td_errors: NDArray[Any]
    ) -> None:
        """Tell how wrong the value was for what was drawn; without priorities it is all the same.

        Args:
            indices: [B] of a sample; steps that have been overwritten since are left out.
            td_errors: [B] their temporal-difference errors.
        """

    def _filled(self) -> Ring:
        if self._ring is None:
            raise ValueError("the replay buffer is empty: add a fragment before drawing from it")
        return self._ring

    def _draw_n(self, n_step: NStep, num: int) -> int | Indices:
        low, high = (n_step, n_step) if isinstance(n_step, int) else n_step
        if not 1 <= low <= high:
            raise ValueError(f"n_step is a number of steps or a pair (low, high), not {n_step!r}")
        return low if low == high else self.rng.integers(low, high + 1, num)

    def _draw_whole(self, ring: Ring, num: int) -> Indices:
        """Slots of steps whose stacks are whole: the oldest ones' first frames may be gone."""
        slots = self._draw(num)
        if self.frame_stack is None:
            return slots
        while len(broken := np.flatnonzero(~ring.is_whole(slots))):
            slots[broken] = self._draw_instead(slots[broken])
        return slots

    def _draw_runs(self, ring: Ring, num: int, length: int, burn_in: int) -> Runs:
        """Runs that end within the burn-in are drawn anew, as long as there is hope for others."""
        slots = self._draw_whole(ring, num)
        runs = ring.runs(slots, length, burn_in)
        for _ in range(_REDRAWS):
            useless = np.flatnonzero(~runs.train_mask.any(axis=1))
            if not len(useless):
                break
            slots[useless] = self._draw_whole(ring, len(useless))
            runs = ring.runs(slots, length, burn_in)
        return runs

    def _items(self, ring: Ring) -> Indices:
        """Slots of all that can be drawn, if their stacks are whole."""
        return np.arange(ring.size) if self._memory is None else self._memory.live

    @abstractmethod
    def _draw(self, num: int) -> Indices:
        """Slots of steps, or of the beginnings of sequences where states are stored there."""

    @abstractmethod
    def _draw_instead(self, broken: Indices) -> Indices:
        """The same, instead of slots whose stacks are no longer whole."""

    @abstractmethod
    def _weights(self, slots: Indices, beta: float | None) -> Floats:
        """Importance weights of what was drawn, the largest 1."""

    # State

    def rows_since(self, position: int) -> dict[str, Any] | None:
        """The env steps added at ``position`` or later that are still there, as a state tree.

        They never change, so that a saver may keep them and ask for the following ones next time:
        ``join_rows`` makes the rows of a state of several such trees.

        Args:
            position: what ``num_added_lifetime`` was when the first of them was added.
        """
        return rows_since(self._ring, position) if self._ring is not None else None

    def get_state(self, since: int = 0) -> dict[str, Any]:
        """State tree: drawing goes on from it to the last bit.

        Args:
            since: leave out the rows before this position (see ``rows_since``); what else there is
                takes some 20 bytes per step, and ``memory_bytes``.
        """
        return {
            "capacity": self.capacity,
            "frame_stack": list(self.frame_stack) if self.frame_stack is not None else None,
            "ring": ring_to_state(self._ring, since) if self._ring is not None else None,
            "memory": self._memory.get_state() if self._memory is not None else None,
            "sources": list(self._tails),
            "tails": [tails.copy() for tails in self._tails.values()],
            "sparse": self._sparse.get_state(),
            "num_sampled": self._num_sampled,
            "rng": rng_state(self.rng),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``.

        Raises:
            CheckpointError: it is the state of a buffer of another capacity or frame stack, or rows
                are missing.
        """
        self._check_state(state)
        ring, memory = state["ring"], state["memory"]
        self._ring = None
        if ring is not None:
            self._ring = ring_from_state(ring, self.capacity, self.frame_stack)
        self._memory = None
        tails = [np.array(known, np.int64) for known in state["tails"]]
        stop = self.num_added_lifetime
        if any(known.ndim != 1 or (known >= stop).any() for known in tails):
            raise CheckpointError(f"the replay buffer's tails should be positions below {stop}")
        self._tails = dict(zip(state["sources"], tails, strict=True))
        self._sparse.clear()
        if memory is not None:
            self._memory = MemoryLog(self.capacity)
            self._memory.set_state(self._fitted(memory, state.get("sparse")))
        self._num_sampled = int(state["num_sampled"])
        set_rng_state(self.rng, state["rng"])

    def _fitted(self, memory: dict[str, Any], sparse: dict[str, Any] | None) -> dict[str, Any]:
        """What sequences of this buffer need of the states of another one."""
        if sparse is not None and self._sparse.set_state(sparse):
            return memory
        # Checkpoints of before have none, and hold all states.
        slots = np.array(memory["slots"], np.int64)
        needed = self._sparse.thin(self._filled(), slots, self._tails)
        parts = {name: np.array(part)[needed] for name, part in memory["parts"].items()}
        return {**memory, "slots": slots[needed], "parts": parts}

    def _check_state(self, state: dict[str, Any]) -> None:
        stack = list(self.frame_stack) if self.frame_stack is not None else None
        for name, ours in (("capacity", self.capacity), ("frame_stack", stack)):
            if state[name] != ours:
                raise CheckpointError(
                    f"the checkpoint's replay buffer has {name} {state[name]}, this one {ours}; "
                    "continue with the settings of the run that was saved"
                )


class UniformReplay(Replay):
    """Draws every env step with the same probability."""

    def _draw(self, num: int) -> Indices:
        if self._memory is not None:
            return self._memory.draw(self.rng, num)
        return self.rng.integers(0, len(self), num)

    def _draw_instead(self, broken: Indices) -> Indices:
        ring = self._filled()
        items = self._items(ring)
        whole = items[ring.is_whole(items)]
        if not len(whole):
            raise ValueError(NO_WHOLE_STACK)
        return whole[self.rng.integers(0, len(whole), len(broken))]

    def _weights(self, slots: Indices, beta: float | None) -> Floats:
        return np.ones(len(slots), np.float32)


def _refuse(found: Layout, expected: Layout) -> NoReturn:
    pairs = zip(Layout._fields, found, expected, strict=True)
    name, there, here = next(pair for pair in pairs if pair[1] != pair[2])
    raise ValueError(
        f"the fragment's {name} is {there}, but the replay buffer holds {here}; all env runners "
        "that share a buffer need the same spaces"
    )
