"""SAC's losses and gradients of an actor and its critics, compiled.

Legend: B rows, D features, A action dimensions, K critics.
"""

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rllib.kernels.dense import DenseKernel, Floats
from rllib.kernels.library import library
from rllib.kernels.together import Together


class SACMeans(NamedTuple):
    """Of all rows."""

    critic_loss: float
    actor_loss: float
    logp: float


class SACRows(NamedTuple):
    """What is read of env steps, in float32.

    Attributes:
        obs: [B, D].
        next_obs: [B, D].
        actions: [B, A] in [-1, 1].
        rewards: [B].
        discounts: [B].
        weights: [B].
        noise: [2B, A] normal: of the actions that the actor chooses now, and later.
    """

    obs: Floats
    next_obs: Floats
    actions: Floats
    rewards: Floats
    discounts: Floats
    weights: Floats
    noise: Floats


_OWN = {"spread": 2, "inside": 2, "logp": 2, "errors": 1, "values": 1}
"""Arrays that are written, and how many rows they have for each of B."""


class _Batch(ctypes.Structure):
    """``Batch`` of sac.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("num_rows", "num_features", "size")),
        *((name, ctypes.c_int64) for name in ("num_critics", "num_threads")),
        ("passes", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in (*SACRows._fields, *_OWN)),
        *((name, ctypes.c_double) for name in ("alpha", "log_std_low", "log_std_high")),
        *((name, ctypes.c_double) for name in ("critic_loss", "actor_loss", "mean_logp")),
    )


class SACKernel:
    """Goes forward through all networks, and back through those that are trained.

    Args:
        actor: gives means and log standard deviations [B, 2A].
        critics: K of them, which read observations and actions [B, D + A] and give values [B, 1].
        targets: the same of the critics' slow copies.
        log_std_range: to which log standard deviations are clipped.
        num_threads: that they may have; the numbers are the same.

    Attributes:
        errors: [B] of the latest losses: mean size of the TD errors.
        values: [B] of the actions that were taken, by the first critic.
    """

    def __init__(
        self,
        actor: DenseKernel,
        critics: Sequence[DenseKernel],
        targets: Sequence[DenseKernel],
        log_std_range: tuple[float, float],
        num_threads: int = 1,
    ) -> None:
        functions = library()
        assert functions is not None, "the other kernels are there"
        self._functions = functions
        self.networks = Together([actor, *critics, *targets], num_threads)
        self.num_features, self.size = actor.num_inputs, actor.num_outputs // 2
        self._batch = _Batch(
            num_features=self.num_features,
            size=self.size,
            num_critics=len(critics),
            num_threads=num_threads,
            passes=self.networks.address,
            log_std_low=log_std_range[0],
            log_std_high=log_std_range[1],
        )
        self._address = ctypes.addressof(self._batch)
        self._own: dict[str, Floats] = {}
        self._reserve(0)

    def _reserve(self, num_rows: int) -> None:
        self.capacity = num_rows
        for chain in self.networks.chains:
            chain.reserve(2 * num_rows)
        for name, times in _OWN.items():
            width = self.size if name in ("spread", "inside") else 1
            self._own[name] = np.zeros(times * num_rows * width, np.float32)
            setattr(self._batch, name, self._own[name].ctypes.data)

    @property
    def errors(self) -> Floats:
        """See the class; valid until the next losses."""
        return self._own["errors"][: self._batch.num_rows]

    @property
    def values(self) -> Floats:
        """See the class; valid until the next losses."""
        return self._own["values"][: self._batch.num_rows]

    def losses(self, rows: SACRows, alpha: float) -> SACMeans:
        """Of the weights as they are now: see ``rllib.learning.sac_by_hand``.

        Args:
            rows: at least one.
            alpha: weight of the entropy.

        Raises:
            ValueError: an array has another shape than it should have.
        """
        batch, num_rows = self._batch, len(rows.rewards)
        if num_rows > self.capacity:
            self._reserve(num_rows)
        kept = SACRows(*map(_contiguous, rows))
        self._check(kept)
        for name, array in zip(SACRows._fields, kept, strict=True):
            setattr(batch, name, array.ctypes.data)
        batch.num_rows, batch.alpha = num_rows, alpha
        self._functions.sac_losses(self._address)
        return SACMeans(batch.critic_loss, batch.actor_loss, batch.mean_logp)

    def _check(self, rows: SACRows) -> None:
        B, D, A = len(rows.rewards), self.num_features, self.size
        shapes = ((B, D), (B, D), (B, A), (B,), (B,), (B,), (2 * B, A))
        for name, array, shape in zip(SACRows._fields, rows, shapes, strict=True):
            if array.shape != shape:
                raise ValueError(f"{name} is to have the shape {shape}, not {array.shape}")

    def backward(self) -> None:
        """Of the latest losses, to all parameters; their gradients are overwritten."""
        self._functions.sac_gradients(self._address)


def _contiguous(array: NDArray[Any]) -> Floats:
    return np.ascontiguousarray(array, np.float32)
