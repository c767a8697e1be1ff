"""PPO's loss and gradients of two networks, compiled.

Legend: B rows, D features, A actions or action dimensions.
"""

import ctypes
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rllib.kernels.dense import DenseKernel, Floats
from rllib.kernels.library import library
from rllib.kernels.together import Together


class PPOMeans(NamedTuple):
    """Parts of the loss, over all rows."""

    policy_loss: float
    vf_loss: float
    vf_loss_unclipped: float
    entropy: float
    kl: float


class LogStd(NamedTuple):
    """Of normal distributions.

    Attributes:
        limit: beyond which they do not count, to both sides.
        own: [A] where they are parameters of their own and not outputs of the policy.
        gradient: [A] to be written, of the same.
    """

    limit: float
    own: Floats | None = None
    gradient: Floats | None = None


class _Batch(ctypes.Structure):
    """``Batch`` of ppo.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("num_rows", "size", "is_gaussian")),
        *((name, ctypes.c_int64) for name in ("input_step", "log_std_step", "value_step")),
        *((name, ctypes.c_void_p) for name in ("inputs", "log_std", "values")),
        *((name, ctypes.c_void_p) for name in ("of_inputs", "of_log_std", "of_values")),
        *((name, ctypes.c_void_p) for name in ("actions", "old_inputs")),
        *((name, ctypes.c_void_p) for name in ("old_logp", "advantages", "targets")),
        *((name, ctypes.c_double) for name in ("log_std_limit", "clip", "vf_clip")),
        *((name, ctypes.c_double) for name in ("vf_coeff", "kl_coeff", "entropy_coeff")),
        *((name, ctypes.c_double) for name in PPOMeans._fields),
    )


class PPOKernel:
    """Goes forward through policy and value function, and back.

    Args:
        policy: gives logits [B, A]; or with normal distributions means [B, A], or those and
            logarithms of standard deviations [B, 2A].
        critic: gives values [B, 1].
        log_std: of normal distributions; None if one of A actions is chosen.
        num_threads: that both may have; the numbers are the same.
    """

    def __init__(
        self,
        policy: DenseKernel,
        critic: DenseKernel,
        log_std: LogStd | None,
        num_threads: int = 1,
    ) -> None:
        functions = library()
        assert functions is not None, "the other kernels are there"
        self._functions = functions
        self.policy, self.critic, self.log_std = policy, critic, log_std
        self.networks = Together([policy, critic], num_threads)
        both = log_std is not None and log_std.own is None
        self.size = policy.num_outputs // 2 if both else policy.num_outputs
        self._action_type = np.dtype(np.int64 if log_std is None else np.float32)
        self._batch = _Batch(size=self.size, is_gaussian=log_std is not None)
        self._batch.log_std_limit = np.inf if log_std is None else log_std.limit
        self._address = ctypes.addressof(self._batch)
        self._point()

    def _point(self) -> None:
        """To where the networks read and write, which moves when there are more rows than ever."""
        batch, policy, critic = self._batch, self.policy, self.critic
        batch.inputs, batch.of_inputs = policy.outputs.ctypes.data, policy.of_outputs.ctypes.data
        batch.values, batch.of_values = critic.outputs.ctypes.data, critic.of_outputs.ctypes.data
        batch.input_step = policy.outputs.strides[0] // policy.outputs.itemsize
        batch.value_step = critic.outputs.strides[0] // critic.outputs.itemsize
        if self.log_std is None:
            return
        if self.log_std.own is None or self.log_std.gradient is None:
            skipped = self.size * policy.outputs.itemsize
            batch.log_std, batch.of_log_std = batch.inputs + skipped, batch.of_inputs + skipped
            batch.log_std_step = batch.input_step
        else:
            batch.log_std = self.log_std.own.ctypes.data
            batch.of_log_std = self.log_std.gradient.ctypes.data

    def loss(
        self,
        features: Floats,
        actions: NDArray[Any],
        old_inputs: Floats,
        old_logp: Floats,
        advantages: Floats,
        value_targets: Floats,
        *,
        clip_param: float,
        vf_clip_param: float | None,
        vf_loss_coeff: float,
        kl_coeff: float,
        entropy_coeff: float,
    ) -> PPOMeans:
        """Of the weights as they are now: see ``rllib.learning.ppo_by_hand``.

        Args:
            features: [B, D].
            actions: [B] or [B, A].
            old_inputs: [B, A] or [B, 2A] of the distributions that acted.
            old_logp: [B] of the actions by those.
            advantages: [B].
            value_targets: [B].
            clip_param: how far the ratio may move from 1.
            vf_clip_param: squared error of a value above which there is no gradient; None for none.
            vf_loss_coeff: weight of the value's loss.
            kl_coeff: weight of the KL divergence.
            entropy_coeff: weight of the entropy.

        Raises:
            ValueError: an array has another number of elements than it should have.
        """
        num_rows, capacity = len(features), (self.policy.capacity, self.critic.capacity)
        self.policy.take(features)
        self.critic.take(features)
        self.networks.load()
        self.networks.forward(num_rows)
        if capacity != (self.policy.capacity, self.critic.capacity):
            self._point()
        width = self.size if self.log_std is None else 2 * self.size
        of_row = 1 if self.log_std is None else self.size
        batch = self._batch
        kept = [
            _checked(actions, self._action_type, num_rows * of_row),
            _checked(old_inputs, _FLOAT, num_rows * width),
            *(_checked(each, _FLOAT, num_rows) for each in (old_logp, advantages, value_targets)),
        ]
        batch.actions, batch.old_inputs, batch.old_logp, batch.advantages, batch.targets = (
            each.ctypes.data for each in kept
        )
        batch.num_rows, batch.clip, batch.vf_coeff = num_rows, clip_param, vf_loss_coeff
        batch.vf_clip = np.inf if vf_clip_param is None else vf_clip_param
        batch.kl_coeff, batch.entropy_coeff = kl_coeff, entropy_coeff
        self._functions.ppo_loss(self._address)
        return PPOMeans(
            batch.policy_loss, batch.vf_loss, batch.vf_loss_unclipped, batch.entropy, batch.kl
        )

    def backward(self) -> None:
        """Of the latest loss, to all parameters; their gradients are overwritten."""
        num_rows = self._batch.num_rows
        self.networks.backward(num_rows, num_rows)


_FLOAT = np.dtype(np.float32)


def _checked(array: NDArray[Any], dtype: np.dtype[Any], size: int) -> NDArray[Any]:
    """Contiguous and of a type."""
    if array.size != size:
        raise ValueError(f"an array of {size} elements is wanted, not one of {array.size}")
    return np.ascontiguousarray(array, dtype)
