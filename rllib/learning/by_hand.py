"""What losses of actor-critics have in common whose gradients are worked out by hand.

    terms of the distribution, values -> Gradient -> Loss, whose ``backward`` goes through the net

Legend: B rows, O outputs of a network, of which the rows are some or all.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rllib.distributions.by_hand import TERMS, Terms
from rllib.learning.dense_gradients import DenseActorCritic, is_dense
from rllib.learning.loss import Loss
from rllib.modules.rl_module import RLModule

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


class Gradient(NamedTuple):
    """Of the mean loss of B rows, and what is reported of it.

    Attributes:
        of_logp: [B].
        of_values: [B].
        of_entropy: for each row's entropy.
        of_kl: for each row's KL divergence.
        metrics: means by name; the total first.
    """

    of_logp: Floats
    of_values: Floats
    of_entropy: float
    of_kl: float
    metrics: dict[str, float]


class Surrogate(NamedTuple):
    """PPO's clipped objective as a mean loss, and its gradient [B] by the log probabilities."""

    loss: float
    of_logp: Floats


def clipped_surrogate(ratio: Floats, advantages: Floats, clip: float) -> Surrogate:
    """``-min(ratio * A, clip(ratio) * A)`` (Schulman et al. 2017, arXiv 1707.06347, eq. 7).

    Args:
        ratio: [B] of probabilities; its gradient by the log probability is itself.
        advantages: [B].
        clip: how far the ratio may move from 1 before its gradient stops.
    """
    gain = ratio * advantages
    clipped = np.minimum(np.maximum(ratio, 1.0 - clip), 1.0 + clip) * advantages
    of_mean = np.float32(1.0 / len(ratio))
    of_logp = np.where(gain <= clipped, gain * -of_mean, np.float32(0.0))
    return Surrogate(-np.minimum(gain, clipped).mean(), of_logp)


def total_of(policy_loss: float, *weighted: tuple[float, float]) -> float:
    """The policy's loss and the others, each with its weight: 0 times infinity is 0 here."""
    return policy_loss + sum(weight * loss for weight, loss in weighted if weight)


def can_do(module: RLModule, num_rows: int) -> bool:
    """Whether it is possible, and faster for minibatches of so many rows."""
    return type(module.distribution) in TERMS and is_dense(module, num_rows)


def loss_of(
    net: DenseActorCritic, terms: Terms, gradient: Gradient, rows: Indices | None = None
) -> Loss:
    """A loss that writes the gradients of the network's latest outputs when it is asked to.

    Args:
        net: its latest outputs are what the terms are of.
        terms: of the distribution.
        gradient: up to those.
        rows: [B] which of the O outputs the terms are of; None if of all.
    """
    share = 1.0 / len(gradient.of_values)

    def backward() -> None:
        with np.errstate(all="ignore"):  # what is not finite is refused before the step
            of_inputs = terms.gradient(
                gradient.of_logp, gradient.of_entropy * share, gradient.of_kl * share
            )
            if rows is None:
                net.backward(of_inputs, gradient.of_values)
            else:
                net.backward(_spread(of_inputs, rows, net), _spread(gradient.of_values, rows, net))

    metrics = dict(gradient.metrics)
    return Loss(metrics.pop("total_loss"), metrics, backward=backward)


def _spread(values: Floats, rows: Indices, net: DenseActorCritic) -> Floats:
    """[O, ...] from [B, ...]: the other outputs are not part of the loss."""
    spread = np.zeros((net.num_outputs, *values.shape[1:]), np.float32)
    spread[rows] = values
    return spread
