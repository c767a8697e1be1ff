"""Proportional prioritised replay (Schaul et al. 2016, https://arxiv.org/abs/1511.05952).

Legend: B items drawn, S sequences of L steps.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib.errors import CheckpointError, ConfigError
from rllib.replay.frame_stack import FrameStack
from rllib.replay.replay import NO_WHOLE_STACK, Replay
from rllib.replay.ring import FIRST, Indices, Ring
from rllib.replay.samples import Bools, Floats
from rllib.replay.sum_tree import SumTree
from rllib.schedules import Points, is_schedule, point_values, value_at

EPSILON = 1e-6
"""Added to every error, so that nothing becomes impossible to draw."""


class PrioritizedReplay(Replay):
    """Draws an env step i with probability p_i / sum p, where p_i = (|TD error| + EPSILON)^alpha.

    Sequences are drawn by the priorities of their first steps. What is new gets the greatest error
    ever seen, so that it is soon drawn; so does a sequence with new steps. Weights
    (p_min / p_i)^beta correct the bias, where p_min is the least priority among those drawn.

    Args:
        capacity: in env steps; the oldest go first.
        rng: what is drawn from; its state is part of the buffer's.
        alpha: 0 draws uniformly, 1 in proportion to the errors; of a schedule, a new value counts
            for the priorities of what is added or updated from then on.
        beta: 0 corrects nothing, 1 all of the bias; ``sample`` may be given another. As alpha, it
            may be a schedule, which ``set_timestep`` follows.
        frame_stack: as for every ``Replay``.
        max_seq_len: the same.
        burn_in_len: the same.

    Raises:
        ConfigError: capacity below 1, alpha or beta below 0.
    """

    def __init__(
        self,
        capacity: int,
        rng: np.random.Generator,
        *,
        alpha: float | Points = 0.6,
        beta: float | Points = 0.4,
        frame_stack: FrameStack | None = None,
        max_seq_len: int = 1,
        burn_in_len: int = 0,
    ) -> None:
        super().__init__(
            capacity,
            rng,
            frame_stack=frame_stack,
            max_seq_len=max_seq_len,
            burn_in_len=burn_in_len,
        )
        self._settings = {"alpha": alpha, "beta": beta}
        for name, setting in self._settings.items():
            for value in point_values(setting):
                if not 0 <= value < np.inf:
                    raise ConfigError(f"a replay buffer's {name} is 0 or more, not {value}")
        self.set_timestep(0)
        self._tree = SumTree(capacity)
        self._max_error = 1.0

    def set_timestep(self, timestep: int) -> None:
        """Take alpha and beta from their schedules at ``num_env_steps_sampled_lifetime``."""
        self.alpha = value_at(self._settings["alpha"], timestep)
        self.beta = value_at(self._settings["beta"], timestep)

    def scheduled_settings(self) -> dict[str, float]:
        """The present alpha and beta, of those that have a schedule."""
        scheduled = [name for name, setting in self._settings.items() if is_schedule(setting)]
        return {name: getattr(self, name) for name in scheduled}

    def update_priorities(self, indices: Indices, td_errors: NDArray[Any]) -> None:
        """Tell how wrong the value was for what was drawn.

        Args:
            indices: [B] of a sample; steps that have been overwritten since are left out. Of one
                that was drawn twice the last error counts.
            td_errors: [B] temporal-difference errors, of sequences ``sequence_errors``.

        Raises:
            ValueError: an error is not finite.
        """
        ring = self._filled()
        errors = np.abs(td_errors, dtype=np.float64) + EPSILON
        if not np.isfinite(errors).all():
            raise ValueError(f"td_errors must be finite, but are {td_errors}")
        kept = indices >= ring.oldest
        if not kept.all():
            indices, errors = indices[kept], errors[kept]
        self._max_error = max(self._max_error, float(errors.max(initial=0.0)))
        self._tree.set(indices % self.capacity, errors**self.alpha)

    def _on_added(self, slot: int, count: int) -> None:
        if count == 0:
            return
        priority = self._max_error**self.alpha
        if self._memory is None:
            self._tree.fill(slot, slot + count, priority)
        else:
            begins = self._memory.number[slot : slot + count] >= 0
            self._tree.fill(slot, slot + count, begins * priority)

    def _on_continued(self, ring: Ring, firsts: Indices, counts: Indices) -> None:
        """Find the sequences that new steps are trained on in: those of the last states before, of
        which the burn-in is over by then."""
        assert self._memory is not None, "only sequences go on"
        found, slots, burn_in = [], firsts, self._burn_in_len
        for distance in range(1, burn_in + self._sparse.max_seq_len):
            previous = ring.previous[slots]
            goes_on = previous >= ring.oldest
            slots, counts = previous[goes_on] % self.capacity, counts[goes_on]
            if not len(slots):
                break
            begins = self._memory.number[slots] >= 0
            is_trained = (distance + counts > burn_in) | (ring.previous[slots] == FIRST)
            found.append(slots[begins & is_trained])
            if distance >= burn_in:
                slots, counts = slots[~begins], counts[~begins]
        if found:
            self._tree.set(np.concatenate(found), self._max_error**self.alpha)

    def _draw(self, num: int) -> Indices:
        """One from each of ``num`` equal parts of the total mass, as the paper does."""
        masses = (np.arange(num) + self.rng.random(num)) * (self._tree.total / num)
        return self._tree.find(masses)

    def _draw_instead(self, broken: Indices) -> Indices:
        """What is broken remains so: it need not be drawn again."""
        self._tree.set(broken, 0.0)
        total = self._tree.total
        if total <= 0.0:
            raise ValueError(NO_WHOLE_STACK)
        return self._tree.find(self.rng.random(len(broken)) * total)

    def _weights(self, slots: Indices, beta: float | None) -> Floats:
        priorities = self._tree.leaves[slots]
        weights = (priorities.min() / priorities) ** (self.beta if beta is None else beta)
        rounded: Floats = weights.astype(np.float32)
        return rounded

    def get_state(self, since: int = 0) -> dict[str, Any]:
        """State tree, as of every ``Replay``, with the priorities."""
        priorities = self._tree.leaves[: len(self)].copy()
        own = {"priorities": priorities, "max_error": self._max_error}
        return super().get_state(since) | own

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``.

        Raises:
            CheckpointError: as for every ``Replay``, or it is the state of one without priorities.
        """
        if "priorities" not in state:
            raise CheckpointError("the checkpoint's replay buffer has no priorities; this one does")
        super().set_state(state)
        priorities = np.array(state["priorities"], np.float64)
        is_sound = np.isfinite(priorities).all() and (priorities >= 0).all()
        if priorities.shape != (len(self),) or not is_sound:
            text = "should be finite, not negative, and one for each step"
            raise CheckpointError(f"the replay buffer's priorities {text}: {len(self)}")
        if self._memory is not None:  # of other states than then, perhaps
            priorities *= self._memory.number[: len(self)] >= 0
        self._tree = SumTree(self.capacity)
        self._tree.fill(0, len(priorities), priorities)
        self._max_error = float(state["max_error"])


def sequence_errors(td_errors: NDArray[Any], mask: Bools, eta: float = 0.9) -> NDArray[Any]:
    """[S] one error for each sequence: eta max + (1 - eta) mean (Kapturowski et al. 2019, R2D2).

    Args:
        td_errors: [S, L] of the single steps.
        mask: [S, L] the steps that were trained on; a sequence without any gets 0.
        eta: 1 takes the greatest error, 0 the mean.
    """
    errors = np.abs(td_errors) * mask
    means = errors.sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
    mixed: NDArray[Any] = eta * errors.max(axis=1) + (1.0 - eta) * means
    return mixed
