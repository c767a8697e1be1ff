"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905), with an automatic temperature.

For continuous actions, and for discrete ones (Christodoulou 2019, arXiv 1910.07207), whose
expectations are sums over all actions instead of samples.

Read from top to bottom: the settings, the three losses, what the learner does.

Legend: B rows, A actions, K critics.
"""

from math import log
from typing import Annotated, Literal, NamedTuple, cast

import gymnasium as gym
import torch
from pydantic import BeforeValidator, NonNegativeFloat, PositiveFloat
from torch import Tensor

from rllib.columns import Columns
from rllib.config import AlgorithmConfig
from rllib.config.types import Once, ScheduleOr
from rllib.distributions import SquashedGaussian
from rllib.envs.make import Spaces
from rllib.learning.actor_q_learner import ActorQLearner, ActorQSettings, critics_loss
from rllib.learning.loss import Loss, Metrics
from rllib.learning.optimizer import Adam
from rllib.learning.sac_by_hand import SACByHand, can_do, sac_by_hand
from rllib.learning.target_network import TargetNetwork
from rllib.learning.transition_batch import TransitionBatch
from rllib.modules.actor_q_module import SACModule
from rllib.modules.rl_module import Batch, RLModule
from rllib.off_policy import OffPolicy

_BEGINNING = Once("it is where the weight of the entropy begins, which is learnt from there on")


class SACConfig(ActorQSettings):
    """Settings of SAC; names and defaults are RLlib's."""

    actor_lr: ScheduleOr[NonNegativeFloat] = 3e-5
    """Learning rate of the actor."""
    alpha_lr: ScheduleOr[NonNegativeFloat] = 3e-4
    """Learning rate of the weight of the entropy."""
    initial_alpha: Annotated[PositiveFloat, _BEGINNING] = 1.0
    """Weight of the entropy at first."""
    target_entropy: Annotated[
        ScheduleOr[float] | Literal["auto"],
        BeforeValidator(lambda value: "auto" if value is None else value),
    ] = "auto"
    """Entropy in nats that the weight is adapted to; "auto" is minus the number of continuous
    actions, or 0.98 times the largest possible of a discrete one."""

    def get_default_rl_module_class(self) -> type[RLModule]:
        """The module that is trained unless another one is given."""
        return SACModule


class Chosen(NamedTuple):
    """What the actor would do.

    Attributes:
        actions: [B, A] continuous ones; ``None`` of discrete ones.
        probs: [B, A] of discrete ones.
        logp: [B] log density of the actions; [B, A] log probabilities of discrete ones.
    """

    actions: Tensor | None
    probs: Tensor | None
    logp: Tensor

    def mean(self, of_actions: Tensor) -> Tensor:
        """[B] the expectation of something that each action has: a sample's, or a sum."""
        return of_actions if self.probs is None else (self.probs * of_actions).sum(-1)


def soft_values(chosen: Chosen, q_values: Tensor, alpha: Tensor) -> Tensor:
    """[B] what a state is worth: values of its actions, and their entropy (eq. 3).

    Args:
        chosen: by the current actor.
        q_values: [K, B] of its actions, or [K, B, A] of all; the smallest critic is believed.
        alpha: weight of the entropy.
    """
    return chosen.mean(q_values.amin(0) - alpha * chosen.logp)


def actor_loss(chosen: Chosen, q_values: Tensor, alpha: Tensor) -> Tensor:
    """Minus what states are worth by the actions that the actor chooses (eq. 7 and 9)."""
    return -soft_values(chosen, q_values, alpha).mean()


def temperature_loss(log_alpha: Tensor, chosen: Chosen, target_entropy: float) -> Tensor:
    """Raises the weight of the entropy where there is too little of it (eq. 17).

    As everybody does, by the logarithm of the weight rather than the weight itself.
    """
    excess = chosen.mean(chosen.logp).detach() + target_entropy
    return -(log_alpha * excess).mean()


class SACLearner(ActorQLearner):
    """Actor, critics and the weight of the entropy, each with an optimiser of its own."""

    config: SACConfig
    now: SACConfig
    module: SACModule

    def __init__(self, config: AlgorithmConfig, spaces: Spaces) -> None:
        super().__init__(config, spaces)
        self.by_hand = self._by_hand()

    def _by_hand(self) -> SACByHand | None:
        """A faster way to the same gradients, for plain networks and losses that are these."""
        parts = ("loss_of", "choose", "taken_q", "targets_of")
        is_own = self.has_loss_of(SACLearner, *parts, in_16_bits=True)
        if is_own and can_do(self.module):
            num_threads = self.config.num_kernel_threads_per_learner
            return sac_by_hand(self.module, self.precision.dtype, num_threads, self.draw_noise)
        return None

    def configure_optimizers(self) -> dict[str, Adam]:
        """One for each loss."""
        self.need("pi", "critics", "target_critics", "log_alpha")
        config, module = self.config, self.module
        return {
            "critic": Adam(self.critic_parameters(), config.critic_lr, epsilon=1e-8),
            "actor": Adam(module.pi.parameters(), config.actor_lr, epsilon=1e-8),
            "alpha": Adam([module.log_alpha], config.alpha_lr, epsilon=1e-8),
        }

    def make_targets(self) -> list[TargetNetwork]:
        """Those of the critics."""
        return [self.target_critics()]

    @property
    def target_entropy(self) -> float:
        """What the entropy is to be."""
        if self.now.target_entropy != "auto":
            return self.now.target_entropy
        space = self.module.action_space
        if isinstance(space, gym.spaces.Discrete):
            return 0.98 * log(space.n)
        return -float(self.module.head.action_shape[0])

    def choose(self, inputs: Batch) -> Chosen:
        """What the current actor would do; continuous actions are sampled, with gradients."""
        dist_inputs = self.module.forward_train(inputs)[Columns.ACTION_DIST_INPUTS]
        if self.module.is_discrete:
            logp = dist_inputs.log_softmax(-1)
            return Chosen(None, logp.exp(), logp)
        distribution = cast(SquashedGaussian, self.module.distribution)
        noise = self.draw_noise_for(distribution, dist_inputs, inputs)
        actions, logp = distribution.rsample(dist_inputs, noise)
        return Chosen(actions, None, logp)

    def taken_q(self, batch: TransitionBatch) -> Tensor:
        """[K, B] values of the actions that were taken."""
        if not self.module.is_discrete:
            return self.module.compute_q(batch.inputs, batch.actions)
        values = self.module.compute_q(batch.inputs)
        index = batch.actions.expand(len(values), -1).unsqueeze(-1)
        return values.gather(-1, index).squeeze(-1)

    @torch.no_grad()
    def targets_of(self, batch: TransitionBatch, alpha: Tensor) -> Tensor:
        """[B] rewards and the discounted worth of what was observed later."""
        chosen = self.choose(batch.next_inputs)
        q_values = self.module.compute_target_q(batch.next_inputs, chosen.actions)
        return batch.rewards + batch.discounts * soft_values(chosen, q_values, alpha)

    def loss_of(self, batch: TransitionBatch) -> Loss:
        """All three losses, each for its own optimiser."""
        if self.by_hand is not None:
            return self.by_hand.loss(batch, self.target_entropy)
        alpha = self.module.log_alpha.detach().exp()
        targets = self.targets_of(batch, alpha)
        critics = critics_loss(self.taken_q(batch), targets, batch.weights)
        chosen = self.choose(batch.inputs)
        q_values = self.module.compute_q(batch.inputs, chosen.actions, fixed=True)
        losses = {
            "critic": cast(Tensor, critics.total),
            "actor": actor_loss(chosen, q_values, alpha),
            "alpha": temperature_loss(self.module.log_alpha, chosen, self.target_entropy),
        }
        facts = {"alpha_value": alpha[0], "logps_mean": chosen.mean(chosen.logp.detach()).mean()}
        return Loss(losses, {**critics.metrics, **facts}, critics.arrays)

    def after_update(self, metrics: Metrics) -> None:
        """Say also what the entropy should be."""
        super().after_update(metrics)
        metrics["target_entropy"] = self.target_entropy


class SAC(OffPolicy):
    """Soft actor-critic."""

    config: SACConfig
    config_class = SACConfig
    learner_class = SACLearner
