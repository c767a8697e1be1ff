"""RLlib's small functions for arrays: ``rllib.utils.numpy``."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rllib.compat.nested import map_leaves

SMALL_NUMBER = 1e-6
LARGE_INTEGER = 100_000_000
MIN_LOG_NN_OUTPUT, MAX_LOG_NN_OUTPUT = -5, 2
"""RLlib's limits of logarithms of standard deviations."""


def convert_to_numpy(x: Any, reduce_type: bool = True) -> Any:
    """The same nesting with arrays for tensors, and Python's numbers for scalar ones.

    Args:
        x: nested dicts, lists and tuples.
        reduce_type: make float32 and int32 of float64 and int64.
    """
    return map_leaves(lambda leaf: _reduced(_as_array(leaf), reduce_type), x)


def _as_array(leaf: Any) -> Any:
    if not isinstance(leaf, torch.Tensor):
        return leaf
    return leaf.item() if leaf.ndim == 0 else leaf.detach().cpu().numpy()


def _reduced(leaf: Any, reduce_type: bool) -> Any:
    if not (reduce_type and isinstance(leaf, np.ndarray)):
        return leaf
    smaller = {np.dtype(np.float64): np.float32, np.dtype(np.int64): np.int32}
    return leaf.astype(smaller.get(leaf.dtype, leaf.dtype), copy=False)


def _array(x: Any) -> NDArray[Any]:
    return np.asarray(x.detach().cpu() if isinstance(x, torch.Tensor) else x)


def softmax(x: Any, axis: int = -1, epsilon: float | None = None) -> NDArray[Any]:
    """Probabilities of logits, none of them below ``epsilon`` (``SMALL_NUMBER``)."""
    x = _array(x)
    exp = np.exp(x - x.max(axis, keepdims=True))
    found: NDArray[Any] = np.maximum(exp / exp.sum(axis, keepdims=True), epsilon or SMALL_NUMBER)
    return found


def one_hot(
    x: Any,
    depth: int = 0,
    on_value: float = 1.0,
    off_value: float = 0.0,
    dtype: Any = np.float32,
) -> NDArray[Any]:
    """[..., depth] of integers [...].

    Args:
        x: integers from 0 on, or truth values, which have a depth of 2.
        depth: how many there are; 0 takes the greatest.
        on_value: in the place of the integer.
        off_value: elsewhere.
        dtype: of the result.

    Raises:
        ValueError: one of them is not below ``depth``.
    """
    x = _array(x)
    depth = 2 if x.dtype == np.bool_ else depth or int(x.max()) + 1
    if x.size and not 0 <= x.min() <= x.max() < depth:
        raise ValueError(f"one_hot(depth={depth}) of integers from {x.min()} to {x.max()}")
    found: NDArray[Any] = np.where(np.arange(depth) == x[..., None], on_value, off_value)
    return found.astype(dtype)


def one_hot_multidiscrete(x: Any, depths: Sequence[int]) -> NDArray[np.float32]:
    """[..., sum of depths] of several integers [..., len(depths)]."""
    x = _array(x)
    return np.concatenate([one_hot(x[..., i], n) for i, n in enumerate(depths)], -1)


def relu(x: Any, alpha: float = 0.0) -> NDArray[Any]:
    """``x`` where it is positive, and ``alpha x`` elsewhere."""
    found: NDArray[Any] = np.where(np.asarray(x) > 0, x, np.asarray(x) * alpha)
    return found


def sigmoid(x: Any, derivative: bool = False) -> Any:
    """1 / (1 + exp(-x)); with ``derivative``, that of it where it is ``x``."""
    return x * (1 - x) if derivative else 1 / (1 + np.exp(-x))


def huber_loss(x: Any, delta: float = 1.0) -> NDArray[Any]:
    """x^2 / 2 within ``delta``, and linear beyond."""
    size = np.abs(x)
    found: NDArray[Any] = np.where(size < delta, size**2 / 2, delta * (size - delta / 2))
    return found


def l2_loss(x: Any) -> float:
    """Half the sum of squares."""
    return float(np.square(x).sum() / 2)


def fc(x: Any, weights: Any, biases: Any = None, framework: str | None = None) -> NDArray[Any]:
    """[B, out] a fully connected layer of x [B, in].

    Args:
        x: the input.
        weights: [in, out]; those of ``framework="torch"`` may be [out, in].
        biases: [out].
        framework: where the weights are from.
    """
    x, weights = _array(x), _array(weights)
    if framework == "torch" and x.shape[1] != weights.shape[0]:
        weights = weights.T
    found: NDArray[Any] = x @ weights + (0.0 if biases is None else _array(biases))
    return found


def make_action_immutable(obj: Any) -> Any:
    """The same action with arrays that cannot be written to."""
    if isinstance(obj, np.ndarray):
        obj.setflags(write=False)
        return obj
    return map_leaves(make_action_immutable, obj) if isinstance(obj, dict | list | tuple) else obj
