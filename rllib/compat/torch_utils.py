"""RLlib's small functions for tensors: ``rllib.utils.torch_utils``."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rllib.compat.nested import map_leaves

_SMALL_NUMBER = 1e-6


def convert_to_torch_tensor(
    x: Any, device: Any = None, pin_memory: bool = False, use_stream: bool = False
) -> Any:
    """The same nesting with tensors for arrays and numbers; ``None`` and text stay.

    Args:
        x: nested dicts, lists and tuples.
        device: where they shall be.
        pin_memory: pin them before, where the device is a GPU.
        use_stream: no effect here: copies go to torch's current stream.
    """

    def convert(leaf: Any) -> Any:
        tensor = _tensor(leaf)
        if not isinstance(tensor, Tensor) or device is None:
            return tensor
        is_pinned = pin_memory and torch.device(device).type == "cuda"
        return (tensor.pin_memory() if is_pinned else tensor).to(device, non_blocking=is_pinned)

    return map_leaves(convert, x)


def _tensor(leaf: Any) -> Any:
    if leaf is None or isinstance(leaf, str | bytes):
        return leaf
    if not isinstance(leaf, Tensor):
        array = np.asarray(leaf)
        if array.dtype.kind in "OUS":
            return leaf
        leaf = torch.from_numpy(array if array.flags.writeable else array.copy())
    return leaf.float() if leaf.dtype == torch.float64 else leaf


def copy_torch_tensors(x: Any, device: Any = None) -> Any:
    """The same nesting with copies of tensors, on ``device`` if it is given."""

    def copied(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return leaf.detach().to(device, copy=True) if device else leaf.detach().clone()

    return map_leaves(copied, x)


def explained_variance(y: Tensor, pred: Tensor) -> Tensor:
    """Scalar 1 - var(y - pred) / var(y), at least -1."""
    unexplained = (y.squeeze() - pred.squeeze()).var(dim=0)
    return (1 - unexplained / (y.squeeze().var(dim=0) + _SMALL_NUMBER)).clamp_min(-1.0)


def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Scalar norm of all tensors as one vector."""
    return torch.stack([tensor.square().sum() for tensor in tensors]).sum().sqrt()


def huber_loss(x: Tensor, delta: float = 1.0) -> Tensor:
    """x^2 / 2 within ``delta``, and linear beyond."""
    return functional.huber_loss(x, torch.zeros_like(x), reduction="none", delta=delta)


def l2_loss(x: Tensor) -> Tensor:
    """Scalar half the sum of squares."""
    return x.square().sum() / 2


def one_hot(x: Tensor, space: gym.Space[Any]) -> Tensor:
    """[B, n] of members [B] of Discrete, or [B, sum of n] of [B, k] of MultiDiscrete.

    Raises:
        ValueError: the space is another one.
    """
    if isinstance(space, gym.spaces.Discrete):
        return functional.one_hot(x.long(), int(space.n))
    if isinstance(space, gym.spaces.MultiDiscrete):
        choices = x.reshape(len(x), -1).long()
        sizes = np.ravel(space.nvec)
        parts = [functional.one_hot(choices[:, i], int(n)) for i, n in enumerate(sizes)]
        return torch.cat(parts, -1)
    raise ValueError(f"one_hot is of Discrete and MultiDiscrete, not {space}")


def reduce_mean_ignore_inf(x: Tensor, axis: int | None = None) -> Tensor:
    """Mean of what is not minus infinity."""
    counts = x != float("-inf")
    total = torch.where(counts, x, 0.0)
    if axis is None:
        return total.sum() / counts.sum()
    return total.sum(axis) / counts.sum(axis)


def sequence_mask(
    lengths: Tensor, maxlen: int | None = None, dtype: Any = None, time_major: bool = False
) -> Tensor:
    """[B, T] whether a step is within the length [B] of its sequence; or [T, B]."""
    steps = torch.arange(int(maxlen or lengths.max()), device=lengths.device)
    mask = (steps < lengths[:, None]).to(dtype or torch.bool)
    return mask.T if time_major else mask


def softmax_cross_entropy_with_logits(logits: Tensor, labels: Tensor) -> Tensor:
    """[B] cross entropy of probabilities [B, A] and logits [B, A]."""
    return -(labels * functional.log_softmax(logits, -1)).sum(-1)


def symlog(x: Tensor) -> Tensor:
    """Sign and logarithm of 1 + the size (Hafner et al. 2023)."""
    return x.sign() * x.abs().log1p()


def inverse_symlog(y: Tensor) -> Tensor:
    """The reverse of ``symlog``."""
    return y.sign() * y.abs().expm1()


def update_target_network(main_net: nn.Module, target_net: nn.Module, tau: float) -> None:
    """Move a target network by ``tau`` of the way towards the other."""
    main = main_net.state_dict()
    moved = {k: tau * main[k] + (1 - tau) * v for k, v in target_net.state_dict().items()}
    target_net.load_state_dict(moved)


def set_torch_seed(seed: int | None = None) -> None:
    """Seed torch's own random numbers, from which nothing in this package draws."""
    if seed is not None:
        torch.manual_seed(seed)
