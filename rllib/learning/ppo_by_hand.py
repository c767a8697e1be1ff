"""PPO's gradient without autograd, for policies and value functions of a few small layers.

The same numbers as those of ``ppo_loss`` and autograd, but for rounding. What was compiled at
installation does all of it (``rllib.kernels``); numpy otherwise, still twice as fast as autograd.

Legend: B rows.
"""

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from rllib import kernels
from rllib.distributions.by_hand import TERMS, GaussianTerms, Terms
from rllib.learning.by_hand import Floats, Gradient, clipped_surrogate, loss_of, total_of
from rllib.learning.dense_gradients import CompiledChain, DenseActorCritic
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
    metrics = _metrics(surrogate.loss, vf_loss, unclipped, entropy, kl, weights)
    return Gradient(surrogate.of_logp, of_values, -entropy_coeff, kl_coeff, metrics)


def _metrics(
    policy_loss: float,
    vf_loss: float,
    vf_loss_unclipped: float,
    entropy: float,
    kl: float,
    weights: Weights,
) -> dict[str, float]:
    _, _, vf_loss_coeff, kl_coeff, entropy_coeff = weights
    parts = ((vf_loss_coeff, vf_loss), (-entropy_coeff, entropy), (kl_coeff, kl))
    return {
        "total_loss": total_of(policy_loss, *parts),
        "policy_loss": policy_loss,
        "vf_loss": vf_loss,
        "vf_loss_unclipped": vf_loss_unclipped,
        "entropy": entropy,
        "mean_kl_loss": kl,
    }


class PPOByHand:
    """Loss and gradients of one module.

    Args:
        module: one for which ``by_hand.can_do`` says that it can be done.
        num_threads: that what is compiled may have.
    """

    def __init__(self, module: Any, num_threads: int = 1) -> None:
        self.net = DenseActorCritic(module)
        self.terms = TERMS[type(module.distribution)]
        self.kernel = self._compiled(num_threads)

    def _compiled(self, num_threads: int) -> kernels.PPOKernel | None:
        policy, critic, log_std = self.net.policy, self.net.critic, None
        if not (isinstance(policy, CompiledChain) and isinstance(critic, CompiledChain)):
            return None
        if self.terms is GaussianTerms:
            log_std = self.net.kernel_log_std()
        return kernels.PPOKernel(policy.kernel, critic.kernel, log_std, num_threads)

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
        arrays = (features, actions, old_dist_inputs, old_logp, advantages, value_targets)
        if self.kernel is not None:
            return self._loss_of(self.kernel, [each.numpy() for each in arrays], weights)
        inputs, values = self.net.forward(features)
        terms = self.terms(inputs, actions.numpy(), old_dist_inputs.numpy())
        gradient = ppo_gradient(
            terms, values, old_logp.numpy(), advantages.numpy(), value_targets.numpy(), weights
        )
        return loss_of(self.net, terms, gradient)

    def _loss_of(self, kernel: kernels.PPOKernel, arrays: list[Any], weights: Weights) -> Loss:
        means = kernel.loss(*arrays, **weights._asdict())
        metrics = _metrics(*means, weights)
        return Loss(metrics.pop("total_loss"), metrics, backward=kernel.backward)
