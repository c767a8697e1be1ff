"""DQN's loss and gradients of two networks, compiled.

Legend: B rows, D features, A actions.
"""

import ctypes
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rllib.kernels.dense import DenseKernel, Floats
from rllib.kernels.library import library


class QKernels(NamedTuple):
    """The layers of a Q-network.

    Attributes:
        encoder: what both streams read; None if that are the features.
        advantages: gives [B, A], the action values themselves where there is no other stream.
        states: gives [B, 1].
    """

    encoder: DenseKernel | None
    advantages: DenseKernel
    states: DenseKernel | None

    @property
    def all(self) -> list[DenseKernel]:
        """Those that there are."""
        return [each for each in self if each is not None]

    def load(self) -> None:
        """Take over the weights as they are now."""
        for each in self.all:
            each.load()

    def forward(self, x: Floats) -> None:
        """From [B, D] to the outputs of the streams."""
        hidden = x if self.encoder is None else self.encoder.forward(x)
        self.advantages.forward(hidden)
        if self.states is not None:
            self.states.forward(hidden)

    def backward(self, num_rows: int) -> None:
        """From the streams' ``of_outputs`` to the gradients of all parameters."""
        streams = [self.advantages] if self.states is None else [self.advantages, self.states]
        for each in streams:
            each.go_back(num_rows, of_inputs=self.encoder is not None)
        if self.encoder is not None:
            of_hidden = [each.of_features[:num_rows] for each in streams]
            self.encoder.backward(sum(of_hidden[1:], of_hidden[0]))


class _Values(ctypes.Structure):
    """``Values`` of dqn.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("advantages", "states")),
        *((name, ctypes.c_int64) for name in ("step", "state_step")),
    )


class _Batch(ctypes.Structure):
    """``Batch`` of dqn.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("num_rows", "size", "is_huber")),
        *((name, _Values) for name in ("values", "gradient", "chooser", "following")),
        *((name, ctypes.c_void_p) for name in ("actions", "rewards", "discounts", "weights")),
        *((name, ctypes.c_void_p) for name in ("targets", "errors", "taken")),
        ("loss", ctypes.c_double),
    )


_COLUMNS = ("rewards", "discounts", "weights", "targets", "errors", "taken")


class DQNLoss(NamedTuple):
    """The mean, and [B] the size of each row's error and the value of its action."""

    loss: float
    errors: Floats
    values: Floats


class DQNKernel:
    """Goes forward through both networks, and back through the one that is trained.

    Args:
        online: the one that is trained.
        target: of the same layers.
    """

    def __init__(self, online: QKernels, target: QKernels) -> None:
        functions = library()
        assert functions is not None, "the other kernels are there"
        self._functions = functions
        self.online, self.target = online, target
        self._batch = _Batch(size=online.advantages.num_outputs)
        self._address = ctypes.addressof(self._batch)
        self._reserve(0)

    def _reserve(self, num_rows: int) -> None:
        """Room for so many rows, which moves what the networks write."""
        self._capacity = num_rows
        online, target = self.online, self.target
        for each in (*online.all, *target.all):
            each.reserve(num_rows)
        self._batch.values = _places(online, "outputs")
        self._batch.gradient = _places(online, "of_outputs")
        self._batch.following = _places(target, "outputs")
        self._actions = np.empty(num_rows, np.int64)
        self._batch.actions = self._actions.ctypes.data
        self._columns = {name: np.empty(num_rows, np.float32) for name in _COLUMNS}
        for name, column in self._columns.items():
            setattr(self._batch, name, column.ctypes.data)
        self._is_double: bool | None = None

    def loss(
        self,
        features: Floats,
        next_features: Floats,
        actions: NDArray[np.int64],
        rewards: Floats,
        discounts: Floats,
        weights: Floats,
        *,
        double_q: bool,
        huber: bool,
    ) -> DQNLoss:
        """Of the weights as they are now: see ``rllib.learning.dqn_by_hand``.

        Raises:
            ValueError: an array has another number of elements than it should have.
        """
        batch, columns, num_rows = self._batch, self._columns, len(actions)
        if num_rows > self._capacity:
            self._reserve(num_rows)
            columns = self._columns
        batch.num_rows, batch.is_huber = num_rows, huber
        self._actions[:num_rows] = actions
        columns["rewards"][:num_rows] = rewards
        columns["discounts"][:num_rows] = discounts
        columns["weights"][:num_rows] = weights
        self._look_ahead(next_features, double_q)
        self.online.forward(features)
        self._functions.dqn_loss(self._address)
        errors, taken = columns["errors"][:num_rows], columns["taken"][:num_rows]
        return DQNLoss(batch.loss, errors.copy(), taken.copy())

    def _look_ahead(self, later: Floats, double_q: bool) -> None:
        """What the values should be, by what was observed later [B, D]."""
        self.online.load()
        self.target.load()
        self.target.forward(later)
        if double_q:
            self.online.forward(later)
        if double_q is not self._is_double:
            self._is_double = double_q
            self._batch.chooser = self._batch.values if double_q else self._batch.following
        self._functions.dqn_targets(self._address)

    def backward(self) -> None:
        """Of the latest loss, to all parameters; their gradients are overwritten."""
        self.online.backward(self._batch.num_rows)


def _places(network: QKernels, name: str) -> _Values:
    """Where a network's outputs are, or their gradients."""
    advantages: NDArray[Any] = getattr(network.advantages, name)
    found = _Values(advantages.ctypes.data, None, _step(advantages))
    if network.states is not None:
        states: NDArray[Any] = getattr(network.states, name)
        found.states, found.state_step = states.ctypes.data, _step(states)
    return found


def _step(rows: NDArray[Any]) -> int:
    return rows.strides[0] // rows.itemsize
