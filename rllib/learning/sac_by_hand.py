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
from rllib.learning.dense_gradients import BACKWARD
from rllib.learning.loss import Loss
from rllib.learning.transition_batch import TransitionBatch
from rllib.learning.wide_gradients import actor_layers, critic_layers, networks
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

    def rows(self, begin: int, end: int) -> "Sampled":
        """Those of some rows."""
        return Sampled(*(each[begin:end] for each in self))

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
        num_threads: that what is compiled may have.
    """

    def __init__(self, module: SACModule, dtype: torch.dtype | None, num_threads: int) -> None:
        shape, pi, dtype = module.shape, module.pi, dtype or torch.float32
        stacks = [pi.encoder.mlp, pi.hidden]
        names = [shape.fcnet_activation, shape.head_fcnet_activation]
        actor = actor_layers(stacks, names, pi.out)
        critics = cast(StackedCritics, module.critics)
        targets = cast(StackedCritics, module.target_critics)
        self.actor = networks([actor], dtype, num_threads)
        self.critics, self.target_critics = (
            networks(critic_layers(each), dtype, num_threads) for each in (critics, targets)
        )
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
        for network in (self.actor, self.critics, self.target_critics):
            network.refresh()
        obs, next_obs = batch.inputs[Columns.OBS], batch.next_inputs[Columns.OBS]
        num_rows, num_features = obs.shape
        alpha = self.log_alpha.exp()
        # What the same weights read is read at once: then there is half as much to call.
        acted = self.actor.forward(torch.cat([obs, next_obs]))
        sampled = sample(acted.outputs[0], self._noise(acted.outputs[0]))
        chosen, later = sampled.rows(0, num_rows), sampled.rows(num_rows, 2 * num_rows)
        targets = self._targets(next_obs, later, batch, alpha)
        actions = torch.cat([batch.actions, chosen.actions])
        judged = self.critics.forward(torch.cat([torch.cat([obs, obs]), actions], -1))
        taken, worth = torch.split(judged.outputs[..., 0], num_rows, 1)
        errors = taken - targets
        least, which = worth.min(0)
        entropy_gap = chosen.logp.mean() + target_entropy

        def backward() -> None:
            with torch.no_grad():
                share = 1.0 / num_rows
                of_least = torch.zeros_like(worth).scatter_(0, which[None], -share)
                of_values = torch.cat([errors * (batch.weights * share), of_least], 1)
                of_actions = judged.backward(of_values[..., None], num_rows)[:, num_features:]
                of_outputs = chosen.backward(of_actions, float(alpha) * share)
                acted.backward(of_outputs[None], num_rows)
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

    def _targets(
        self, next_obs: Tensor, later: Sampled, batch: TransitionBatch, alpha: Tensor
    ) -> Tensor:
        """[B] rewards and the discounted worth of what was observed later."""
        judged = self.target_critics.forward(torch.cat([next_obs, later.actions], -1))
        values = judged.outputs[..., 0].amin(0)
        return batch.rewards + batch.discounts * (values - alpha * later.logp)

    def _noise(self, outputs: Tensor) -> Tensor:
        """Of [2B, ...]: first for the later rows, as the losses draw it."""
        now, later = outputs.chunk(2)
        drawn = self.distribution.draw_noise(later)
        return torch.cat([self.distribution.draw_noise(now), drawn])
