"""PPO's gradient without autograd, for policies and value functions of a few small layers.

The same numbers as those of ``ppo_loss`` and autograd, but for rounding; about twice as fast.

Legend: B rows.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rllib.distributions.by_hand import TERMS, Terms
from rllib.learning.dense_gradients import DenseActorCritic, is_dense
from rllib.learning.loss import Loss
from rllib.modules.rl_module import RLModule

Floats = NDArray[np.float32]


class Weights(NamedTuple):
    """Settings of the loss at present, under the names that PPO's config has for them."""

    clip_param: float
    vf_clip_param: float | None
    vf_loss_coeff: float
    kl_coeff: float
    entropy_coeff: float


class Gradient(NamedTuple):
    """Of the mean loss of B rows, and what is reported of it.

    Attributes:
        of_logp: [B].
        of_values: [B].
        metrics: means by name; the total first.
    """

    of_logp: Floats
    of_values: Floats
    metrics: dict[str, Any]


def ppo_gradient(
    terms: Terms,
    values: Floats,
    old_logp: Floats,
    advantages: Floats,
    value_targets: Floats,
    weights: Weights,
) -> Gradient:
    """The gradient of ``ppo_loss``, up to the distribution's terms and the values."""
    of_mean = np.float32(1.0 / len(values))
    clip, vf_clip, vf_loss_coeff, kl_coeff, entropy_coeff = weights
    ratio = np.exp(terms.logp - old_logp)
    gain = ratio * advantages
    clipped = np.minimum(np.maximum(ratio, 1.0 - clip), 1.0 + clip) * advantages
    policy_loss = -np.minimum(gain, clipped).mean()
    of_logp = np.where(gain <= clipped, gain * -of_mean, np.float32(0.0))
    difference = values - value_targets
    vf_error = difference * difference
    of_values = difference * np.float32(2 * of_mean * vf_loss_coeff)
    vf_loss = unclipped = vf_error.mean()
    if vf_clip is not None:
        limit = np.float32(vf_clip)
        of_values[vf_error > limit] = 0.0
        vf_loss = np.minimum(vf_error, limit).mean()
    entropy, kl = terms.entropy.mean(), terms.kl.mean()
    total = policy_loss + vf_loss_coeff * vf_loss
    total -= entropy_coeff * entropy if entropy_coeff else 0.0  # 0 times infinity is not 0
    total += kl_coeff * kl if kl_coeff else 0.0
    metrics = {
        "total_loss": total,
        "policy_loss": policy_loss,
        "vf_loss": vf_loss,
        "vf_loss_unclipped": unclipped,
        "entropy": entropy,
        "mean_kl_loss": kl,
    }
    return Gradient(of_logp, of_values, metrics)


class PPOByHand:
    """Loss and gradients of one module.

    Args:
        module: one for which ``can_do`` says that it can be done.
    """

    def __init__(self, module: Any) -> None:
        self.net = DenseActorCritic(module)
        self.terms = TERMS[type(module.distribution)]

    @staticmethod
    def can_do(module: RLModule, num_rows: int) -> bool:
        """Whether that is possible, and faster for minibatches of so many rows."""
        return type(module.distribution) in TERMS and is_dense(module, num_rows)

    @np.errstate(all="ignore")  # what is not finite is refused before the step
    def loss(
        self,
        features: Tensor,
        actions: Tensor,
        old_dist_inputs: Tensor,
        old_logp: Tensor,
        advantages: Tensor,
        value_targets: Tensor,
        weights: Weights,
    ) -> Loss:
        """As ``ppo_loss``, of the current network; its gradients are worked out when asked for.

        Args:
            features: [B, D] of the observations.
            actions: [B, ...], and as all that follow of B env steps of the behaviour policy.
            old_dist_inputs: [B, num_inputs].
            old_logp: [B].
            advantages: [B].
            value_targets: [B].
            weights: of the loss's parts.
        """
        inputs, values = self.net.forward(features)
        terms = self.terms(inputs, actions.numpy(), old_dist_inputs.numpy())
        gradient = ppo_gradient(
            terms,
            values,
            old_logp.numpy(),
            advantages.numpy(),
            value_targets.numpy(),
            weights,
        )

        @np.errstate(all="ignore")
        def backward() -> None:
            of_entropy, of_kl = -weights.entropy_coeff, weights.kl_coeff
            share = 1.0 / len(values)
            of_inputs = terms.gradient(gradient.of_logp, of_entropy * share, of_kl * share)
            self.net.backward(of_inputs, gradient.of_values)

        numbers = torch.from_numpy(np.array([*gradient.metrics.values()], np.float32))
        total, *means = numbers.unbind()
        names = [*gradient.metrics][1:]
        return Loss(total, dict(zip(names, means, strict=True)), backward=backward)
