"""SAC's gradients without autograd, for continuous actions and fully connected networks.

The same numbers as those of the losses in ``rllib.algorithms.sac`` and autograd, but for rounding.

Legend: B rows, D features, A action dimensions, K critics.
"""

from collections.abc import Callable
from functools import partial
from math import exp, log
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor
from torch.nn.functional import softplus

from rllib import kernels
from rllib.actions.box import LOG_2PI, LOG_STD_RANGE
from rllib.columns import Columns
from rllib.distributions import Distribution, SquashedGaussian
from rllib.estimators.action_values import squared
from rllib.learning.dense_gradients import BACKWARD
from rllib.learning.loss import Loss
from rllib.learning.transition_batch import TransitionBatch
from rllib.learning.wide_gradients import Parameters, WideNetworks, actor_layers, critic_layers
from rllib.modules.actor_q_module import SACModule
from rllib.modules.critics import StackedCritics
from rllib.modules.networks import is_chain
from rllib.modules.rl_module import RLModule
from rllib.off_policy import Q_VALUES, TD_ERRORS

DrawNoise = Callable[[Distribution, Tensor], Tensor]
"""``OffPolicyLearner.draw_noise``."""
Noise = Callable[[Tensor], Tensor]
"""[2B, A] for [2B, 2A] of the actor."""

MOST_WEIGHTS = 1 << 17
"""Of a layer: what is compiled finds so many in the second cache, and is not slower than torch."""


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


class Networks(NamedTuple):
    """The layers of all networks of a module."""

    actor: list[Parameters]
    critics: list[list[Parameters]]
    targets: list[list[Parameters]]


def networks_of(module: SACModule) -> Networks:
    """Of a module for which ``can_do`` says that its gradients can be worked out by hand."""
    shape, pi = module.shape, module.pi
    stacks = [pi.encoder.mlp, pi.hidden]
    names = [shape.fcnet_activation, shape.head_fcnet_activation]
    critics, targets = (
        critic_layers(cast(StackedCritics, each))
        for each in (module.critics, module.target_critics)
    )
    return Networks(actor_layers(stacks, names, pi.out), critics, targets)


def can_do(module: RLModule) -> bool:
    """Whether gradients can be worked out by hand."""
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


class SACByHand(Protocol):
    """Losses and gradients of one module."""

    def loss(self, batch: TransitionBatch, target_entropy: float) -> Loss:
        """As ``SACLearner.compute_loss``; its gradients are worked out when asked for."""


def sac_by_hand(
    module: SACModule, dtype: torch.dtype | None, num_threads: int, draw_noise: DrawNoise
) -> SACByHand:
    """The fastest way that there is on this machine.

    Args:
        module: one for which ``can_do`` says that it can be done.
        dtype: in which layers compute; the last ones, and all else, in float32.
        num_threads: of what is compiled; torch has its own number.
        draw_noise: the learner's.
    """
    noise = partial(_noise, cast(SquashedGaussian, module.distribution), draw_noise)
    networks = networks_of(module)
    each = (networks.actor, *networks.critics)
    largest = max(layer.weight.numel() for layers in each for layer in layers)
    if dtype in (None, torch.float32) and kernels.is_wide() and largest <= MOST_WEIGHTS:
        return SACCompiled(module, networks, num_threads, noise)
    return SACByTorch(module, networks, dtype or torch.float32, noise)


def _noise(distribution: SquashedGaussian, draw_noise: DrawNoise, outputs: Tensor) -> Tensor:
    """[2B, A] for [2B, 2A] of the actor: first for the later rows, as the losses draw it."""
    now, later = outputs.chunk(2)
    drawn = draw_noise(distribution, later)
    return torch.cat([draw_noise(distribution, now), drawn])


class SACCompiled:
    """By what was compiled at installation: see ``rllib.kernels``."""

    def __init__(
        self, module: SACModule, networks: Networks, num_threads: int, noise: Noise
    ) -> None:
        self.noise = noise
        actor, *critics = (
            kernels.DenseKernel([*map(_compiled, each)])
            for each in (networks.actor, *networks.critics, *networks.targets)
        )
        K = len(networks.critics)
        self.kernel = kernels.SACKernel(actor, critics[:K], critics[K:], LOG_STD_RANGE, num_threads)
        self.log_alpha = module.log_alpha.detach().numpy()
        self.of_log_alpha = cast(Tensor, module.log_alpha.grad).numpy()

    def loss(self, batch: TransitionBatch, target_entropy: float) -> Loss:
        """See ``SACByHand``."""
        log_alpha = float(self.log_alpha[0])
        alpha, kernel = exp(log_alpha), self.kernel
        inputs = (batch.inputs[Columns.OBS], batch.next_inputs[Columns.OBS], batch.actions)
        drawn = self.noise(torch.empty(2 * len(batch.rewards), 2 * kernel.size))
        facts = (*inputs, batch.rewards, batch.discounts, batch.weights, drawn)
        means = kernel.losses(kernels.SACRows(*(each.numpy() for each in facts)), alpha)
        gap = means.logp + target_entropy

        def backward() -> None:
            kernel.backward()
            self.of_log_alpha[0] = -gap

        losses = {
            "critic": means.critic_loss,
            "actor": means.actor_loss,
            "alpha": -log_alpha * gap,
        }
        told = {"qf_loss": means.critic_loss, "alpha_value": alpha, "logps_mean": means.logp}
        arrays = {TD_ERRORS: kernel.errors.copy(), Q_VALUES: kernel.values.copy()}
        return Loss(losses, told, arrays, backward)


def _compiled(layer: Parameters) -> kernels.DenseLayer:
    weight, bias, of_weight, of_bias, activation = layer
    is_trained = of_weight.data_ptr() != weight.data_ptr()
    gradients = (of_weight.numpy(), of_bias.numpy()) if is_trained else ()
    return kernels.DenseLayer(weight.numpy(), bias.numpy(), activation, *gradients)


class SACByTorch:
    """By products of torch, which may be in 16 bits."""

    def __init__(
        self, module: SACModule, networks: Networks, dtype: torch.dtype, noise: Noise
    ) -> None:
        self.noise = noise
        self.actor = WideNetworks([networks.actor], dtype)
        self.critics = WideNetworks(networks.critics, dtype)
        self.target_critics = WideNetworks(networks.targets, dtype)
        self.of_log_alpha = cast(Tensor, module.log_alpha.grad)
        self.log_alpha = module.log_alpha.detach()

    def loss(self, batch: TransitionBatch, target_entropy: float) -> Loss:
        """See ``SACByHand``."""
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
        sampled = sample(acted.outputs[0], self.noise(acted.outputs[0]))
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
