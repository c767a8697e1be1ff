"""SAC's gradients without autograd, for continuous actions and fully connected networks.

The same numbers as those of the losses in ``rllib.algorithms.sac`` and autograd, but for rounding.

Legend: B rows, D features, A action dimensions, K critics.
"""

from math import log
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.functional import softplus

from rllib.actions.box import LOG_2PI, LOG_STD_RANGE
from rllib.columns import Columns
from rllib.distributions import SquashedGaussian
from rllib.estimators.action_values import squared
from rllib.learning.loss import Loss
from rllib.learning.transition_batch import TransitionBatch
from rllib.learning.wide_gradients import BACKWARD, WideChain, WideCritics, actor_layers
from rllib.modules.actor_q_module import SACModule
from rllib.modules.critics import StackedCritics
from rllib.modules.networks import is_chain
from rllib.modules.rl_module import RLModule
from rllib.off_policy import Q_VALUES, TD_ERRORS


class Sampled(NamedTuple):
    """Actions of the current actor, and what their gradients take.

    Attributes:
        actions: [B, A] in [-1, 1].
        logp: [B] log density.
        spread: [B, A] how far the noise moves the actions before they are squashed.
        inside: [B, A] where the log standard deviation was not clipped, and has a gradient.
    """

    actions: Tensor
    logp: Tensor
    spread: Tensor
    inside: Tensor

    def backward(self, of_actions: Tensor, of_logp: float) -> Tensor:
        """[B, 2A] of the actor's outputs: from [B, A] of the actions and that of each ``logp``.

        With noise z, ``raw = mean + std z`` and ``action = tanh(raw)``, the log density falls by
        ``log std`` and rises by ``2 action`` for each unit of ``raw``: its second term is minus the
        log of the slope of tanh.
        """
        actions = self.actions
        of_raw = of_actions * (1.0 - actions * actions) + (2.0 * of_logp) * actions
        of_log_std = (of_raw * self.spread - of_logp) * self.inside
        return torch.cat([of_raw, of_log_std], -1)


def sample(outputs: Tensor, noise: Tensor) -> Sampled:
    """As ``SquashedGaussian.rsample``.

    Args:
        outputs: [B, 2A] of the actor.
        noise: [B, A] normal.
    """
    mean, unclipped = outputs.chunk(2, -1)
    log_std = unclipped.clamp(*LOG_STD_RANGE)
    spread = log_std.exp() * noise
    raw = mean + spread
    log_slope = 2.0 * (log(2.0) - raw - softplus(-2.0 * raw))
    logp = -0.5 * noise * noise - log_std - 0.5 * LOG_2PI - log_slope
    return Sampled(raw.tanh(), logp.sum(-1), spread, log_std == unclipped)


class SACByHand:
    """Losses and gradients of one module.

    Args:
        module: one for which ``can_do`` says that it can be done.
        dtype: in which layers compute; the last ones, and all else, in float32.
    """

    def __init__(self, module: SACModule, dtype: torch.dtype | None) -> None:
        shape, pi, dtype = module.shape, module.pi, dtype or torch.float32
        stacks = [pi.encoder.mlp, pi.hidden]
        names = [shape.fcnet_activation, shape.head_fcnet_activation]
        self.actor = WideChain(actor_layers(stacks, names, pi.out), dtype)
        critics = cast(StackedCritics, module.critics)
        targets = cast(StackedCritics, module.target_critics)
        # Twice, because each keeps what its latest forward has to say to the way back.
        self.of_taken, self.of_chosen = (WideCritics(critics, dtype) for _ in range(2))
        self.target_critics = WideCritics(targets, dtype)
        self.of_log_alpha = cast(Tensor, module.log_alpha.grad)
        self.log_alpha = module.log_alpha.detach()
        self.distribution = cast(SquashedGaussian, module.distribution)

    @staticmethod
    def can_do(module: RLModule) -> bool:
        """Whether that is possible."""
        if type(module) is not SACModule or module.is_discrete:
            return False
        shape = module.shape
        names = {shape.fcnet_activation, shape.head_fcnet_activation}
        return (
            isinstance(module.critics, StackedCritics)
            and module.observations.is_flat
            and is_chain(shape)
            and names <= BACKWARD.keys()
            and module.log_alpha.device.type == "cpu"
        )

    def loss(self, batch: TransitionBatch, target_entropy: float) -> Loss:
        """As ``compute_loss``; its gradients are worked out when asked for."""
        # Each layer says itself in what it computes.
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            return self._loss(batch, target_entropy)

    def _loss(self, batch: TransitionBatch, target_entropy: float) -> Loss:
        obs, next_obs = batch.inputs[Columns.OBS], batch.next_inputs[Columns.OBS]
        alpha = self.log_alpha.exp()
        targets = self._targets(next_obs, batch, alpha)
        taken = self.of_taken.forward(torch.cat([obs, batch.actions], -1))
        errors = taken - targets
        chosen = self._sample(obs)
        values = self.of_chosen.forward(torch.cat([obs, chosen.actions], -1))
        least, which = values.min(0)
        entropy_gap = chosen.logp.mean() + target_entropy

        @torch.no_grad()
        def backward() -> None:
            share = 1.0 / len(obs)
            self.of_taken.train(errors * (batch.weights * share))
            ones = torch.zeros_like(values).scatter_(0, which[None], -share)
            of_actions = self.of_chosen.of_inputs(ones)[:, obs.shape[1] :]
            self.actor.backward(chosen.backward(of_actions, float(alpha) * share))
            self.of_log_alpha.copy_(-entropy_gap)

        critic_loss = (batch.weights * squared(errors).sum(0)).mean()
        losses = {
            "critic": critic_loss,
            "actor": (alpha * chosen.logp - least).mean(),
            "alpha": -(self.log_alpha * entropy_gap).mean(),
        }
        facts = {"alpha_value": alpha[0], "logps_mean": chosen.logp.mean()}
        arrays = {TD_ERRORS: errors.abs().mean(0), Q_VALUES: taken[0]}
        return Loss(losses, {"qf_loss": critic_loss, **facts}, arrays, backward)

    def _targets(self, next_obs: Tensor, batch: TransitionBatch, alpha: Tensor) -> Tensor:
        """[B] rewards and the discounted worth of what was observed later."""
        later = self._sample(next_obs)
        values = self.target_critics.forward(torch.cat([next_obs, later.actions], -1))
        return batch.rewards + batch.discounts * (values.amin(0) - alpha * later.logp)

    def _sample(self, obs: Tensor) -> Sampled:
        outputs = self.actor.forward(obs)
        return sample(outputs, self.distribution.draw_noise(outputs))
