"""The gradients of IMPALA and APPO without autograd, for a few small layers.

The same numbers as those of ``impala_loss``, ``appo_loss`` and autograd, but for rounding; three
times as fast.

Legend: B env steps, O outputs of the module: of all that was observed.
"""

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from rllib.columns import Columns
from rllib.distributions.by_hand import TERMS, Terms
from rllib.learning.by_hand import Floats, Gradient, clipped_surrogate, loss_of, total_of
from rllib.learning.dense_gradients import DenseActorCritic
from rllib.learning.loss import Loss
from rllib.learning.vtrace_batch import Corrected, VTraceBatch, corrected


class Weights(NamedTuple):
    """Settings of the losses at present, under the names that the configs have for them; the last
    three are APPO's."""

    vf_loss_coeff: float
    entropy_coeff: float
    clip_param: float = 0.0
    target_worker_clipping: float = 0.0
    kl_coeff: float = 0.0


def impala_gradient(terms: Terms, values: Floats, targets: Corrected, weights: Weights) -> Gradient:
    """The gradient of ``impala_loss``, up to the distribution's terms and the values [B]."""
    of_logp = targets.advantages * np.float32(-1.0 / len(values))
    policy_loss = -(terms.logp * targets.advantages).mean()
    return _gradient(terms, values, targets.values, weights, policy_loss, of_logp)


def appo_gradient(
    terms: Terms, values: Floats, behaviour_logp: Floats, targets: Corrected, weights: Weights
) -> Gradient:
    """The gradient of ``appo_loss``; the terms' old policy is the target network's."""
    limit = np.float32(weights.target_worker_clipping)
    importance = np.minimum(np.exp(behaviour_logp - terms.old_logp), limit)
    ratio = importance * np.exp(terms.logp - behaviour_logp)
    surrogate = clipped_surrogate(ratio, targets.advantages, weights.clip_param)
    found = _gradient(terms, values, targets.values, weights, *surrogate)
    extra = {
        "mean_kl_loss": terms.kl.mean(),
        "mean_IS": importance.mean(),
        "var_IS": importance.var(),
    }
    return found._replace(metrics=found.metrics | extra)


def _gradient(
    terms: Terms,
    values: Floats,
    value_targets: Floats,
    weights: Weights,
    policy_loss: float,
    of_logp: Floats,
) -> Gradient:
    """What both losses have besides the policy's."""
    vf_loss_coeff, entropy_coeff, _, _, kl_coeff = weights
    difference = values - value_targets
    vf_loss = 0.5 * np.square(difference).mean()
    of_values = difference * np.float32(vf_loss_coeff / len(values))
    entropy = terms.entropy.mean()
    parts = [(vf_loss_coeff, vf_loss), (-entropy_coeff, entropy)]
    if kl_coeff:
        parts.append((kl_coeff, terms.kl.mean()))
    variance = value_targets.var()
    metrics = {
        "total_loss": total_of(policy_loss, *parts),
        "policy_loss": policy_loss,
        "vf_loss": vf_loss,
        "vf_explained_var": 1.0 - difference.var() / variance if variance > 0.0 else 0.0,
        "entropy": entropy,
    }
    return Gradient(of_logp, of_values, -entropy_coeff, kl_coeff, metrics)


class VTraceByHand:
    """Losses and gradients of one module.

    Args:
        module: one for which ``by_hand.can_do`` says that it can be done.
        target: APPO's target network, of the same shape.
    """

    def __init__(self, module: Any, target: Any = None) -> None:
        self.net = DenseActorCritic(module)
        self.target = None if target is None else DenseActorCritic(target)
        self.terms = TERMS[type(module.distribution)]

    @np.errstate(all="ignore")  # what is not finite is refused before the step
    def loss(self, batch: VTraceBatch, weights: Weights, config: Any) -> Loss:
        """As ``compute_loss`` of the algorithm, whose gradients are worked out when asked for.

        Args:
            batch: of a policy without memory.
            weights: of the loss's parts.
            config: V-trace's settings.
        """
        features: Tensor = batch.inputs[Columns.OBS]
        rows, behaviour_logp = batch.steps.numpy(), batch.behaviour_logp.numpy()
        inputs, all_values = self.net.forward(features)
        old = inputs if self.target is None else self.target.forward_policy(features)
        terms = self.terms(inputs[rows], batch.actions.numpy(), old[rows])
        values = all_values[rows]
        towards = terms.logp if self.target is None else terms.old_logp
        targets = corrected(batch, all_values, towards - behaviour_logp, config)
        gradient = (
            impala_gradient(terms, values, targets, weights)
            if self.target is None
            else appo_gradient(terms, values, behaviour_logp, targets, weights)
        )
        return loss_of(self.net, terms, gradient, rows)
