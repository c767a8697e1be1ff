"""PPO's gradient without autograd, for policies and value functions of a few small layers.

The same numbers as those of ``ppo_loss`` and autograd, but for rounding; about twice as fast.

Legend: B rows.
"""

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from rllib.distributions.by_hand import TERMS, Terms
from rllib.learning.by_hand import Floats, Gradient, clipped_surrogate, loss_of, total_of
from rllib.learning.dense_gradients import DenseActorCritic
from rllib.learning.loss import Loss


class Weights(NamedTuple):
    """Settings of the loss at present, under the names that PPO's config has for them."""

    clip_param: float
    vf_clip_param: float | None
    vf_loss_coeff: float
    kl_coeff: float
    entropy_coeff: float


def ppo_gradient(
    terms: Terms,
    values: Floats,
    old_logp: Floats,
    advantages: Floats,
    value_targets: Floats,
    weights: Weights,
) -> Gradient:
    """The gradient of ``ppo_loss``, up to the distribution's terms and the values."""
    clip, vf_clip, vf_loss_coeff, kl_coeff, entropy_coeff = weights
    surrogate = clipped_surrogate(np.exp(terms.logp - old_logp), advantages, clip)
    difference = values - value_targets
    vf_error = difference * difference
    of_values = difference * np.float32(2 * vf_loss_coeff / len(values))
    vf_loss = unclipped = vf_error.mean()
    if vf_clip is not None:
        limit = np.float32(vf_clip)
        of_values[vf_error > limit] = 0.0
        vf_loss = np.minimum(vf_error, limit).mean()
    entropy, kl = terms.entropy.mean(), terms.kl.mean()
    parts = ((vf_loss_coeff, vf_loss), (-entropy_coeff, entropy), (kl_coeff, kl))
    metrics = {
        "total_loss": total_of(surrogate.loss, *parts),
        "policy_loss": surrogate.loss,
        "vf_loss": vf_loss,
        "vf_loss_unclipped": unclipped,
        "entropy": entropy,
        "mean_kl_loss": kl,
    }
    return Gradient(surrogate.of_logp, of_values, -entropy_coeff, kl_coeff, metrics)


class PPOByHand:
    """Loss and gradients of one module.

    Args:
        module: one for which ``by_hand.can_do`` says that it can be done.
    """

    def __init__(self, module: Any) -> None:
        self.net = DenseActorCritic(module)
        self.terms = TERMS[type(module.distribution)]

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
            terms, values, old_logp.numpy(), advantages.numpy(), value_targets.numpy(), weights
        )
        return loss_of(self.net, terms, gradient)
