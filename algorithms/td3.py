"""Twin delayed deep deterministic policy gradient (Fujimoto et al. 2018, arXiv 1802.09477).

Two critics, of which the smaller one is believed; target actions with noise; an actor that moves
less often than its critics. Without these it is DDPG (Lillicrap et al. 2016, arXiv 1509.02971).

Read from top to bottom: the settings, the losses, what the learner does.

Legend: B rows, A actions, K critics.
"""

from typing import Any, cast

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from rllib.checkpoints.components import Paths
from rllib.columns import Columns
from rllib.config.types import ScheduleOr
from rllib.distributions import Deterministic
from rllib.envs.make import Spaces
from rllib.learning.actor_q_learner import ActorQLearner, ActorQSettings, critics_loss
from rllib.learning.loss import Loss
from rllib.learning.optimizer import Adam
from rllib.learning.pace import Pace
from rllib.learning.target_network import TargetNetwork
from rllib.learning.transition_batch import TransitionBatch
from rllib.modules.actor_q_module import TD3Module
from rllib.modules.rl_module import RLModule
from rllib.off_policy import OffPolicy


class TD3Config(ActorQSettings):
    """Settings of TD3; defaults are those of the paper."""

    actor_lr: ScheduleOr[NonNegativeFloat] = 1e-3
    """Learning rate of the actor."""
    critic_lr: ScheduleOr[NonNegativeFloat] = 1e-3
    """Learning rate of the critics."""
    policy_delay: ScheduleOr[PositiveInt] = 2
    """Gradient steps of the critics for each one of the actor and each move of the targets."""
    target_noise: ScheduleOr[NonNegativeFloat] = 0.2
    """Standard deviation of the noise in target actions, in units of half the space's width."""
    target_noise_clip: ScheduleOr[PositiveFloat] = 0.5
    """Where that noise is cut."""
    exploration_noise: ScheduleOr[NonNegativeFloat] = 0.1
    """Standard deviation of the noise to explore with, in units of half the space's width."""

    def get_default_rl_module_class(self) -> type[RLModule]:
        """The module that is trained unless another one is given."""
        return TD3Module


def td3_targets(next_q: Tensor, rewards: Tensor, discounts: Tensor) -> Tensor:
    """[B] what critics should say: the smaller value of what comes later is believed.

    Args:
        next_q: [K, B] by the target critics.
        rewards: [B].
        discounts: [B].
    """
    return rewards + discounts * next_q.amin(0)


class TD3Learner(ActorQLearner):
    """Critics, and an actor that follows them more slowly."""

    config: TD3Config
    now: TD3Config
    module: TD3Module

    def __init__(self, config: TD3Config, spaces: Spaces) -> None:
        super().__init__(config, spaces)
        self.turns = Pace()

    def configure_optimizers(self) -> dict[str, Adam]:
        """One for each loss."""
        self.need("pi", "critics", "target_critics", "target_pi")
        config, module = self.config, self.module
        return {
            "critic": Adam(self.critic_parameters(), config.critic_lr, epsilon=1e-8),
            "actor": Adam(module.pi.parameters(), config.actor_lr, epsilon=1e-8),
        }

    def make_targets(self) -> list[TargetNetwork]:
        """Those of the critics and of the actor."""
        assert self.module.target_pi is not None, "the module has one"
        return [
            self.target_critics(),
            TargetNetwork(self.module.target_pi, self.optimizers["actor"]),
        ]

    @torch.no_grad()
    def targets_of(self, batch: TransitionBatch) -> Tensor:
        """[B] by target actions with noise, so that no peak of a critic is believed."""
        output = self.module.forward_target(batch.next_inputs)
        dist_inputs = output[Columns.ACTION_DIST_INPUTS]
        smoothing = self.smoothing
        noise = self.draw_noise_for(smoothing, dist_inputs, batch.next_inputs)
        actions = smoothing.sample(dist_inputs, noise)
        next_q = self.module.compute_target_q(batch.next_inputs, actions)
        return td3_targets(next_q, batch.rewards, batch.discounts)

    @property
    def smoothing(self) -> Deterministic:
        """How target actions are drawn at present."""
        return Deterministic(self.now.target_noise, self.now.target_noise_clip)

    def loss_of(self, batch: TransitionBatch) -> Loss:
        """The critics' loss and, if it is its turn, minus the value of the actor's actions."""
        q_values = self.module.compute_q(batch.inputs, batch.actions)
        critics = critics_loss(q_values, self.targets_of(batch), batch.weights)
        losses = {"critic": cast(Tensor, critics.total)}
        if self.turns.is_due(self.now.policy_delay):
            output = self.module.forward_train(batch.inputs)
            actions = self.module.distribution.mode(output[Columns.ACTION_DIST_INPUTS])
            losses["actor"] = -self.module.compute_first_q(batch.inputs, actions).mean()
        return Loss(losses, critics.metrics, critics.arrays)

    def is_time_to_move(self) -> bool:
        """Target networks move after the actor has, if it is time for them."""
        delay = self.now.policy_delay
        return self.turns.step(delay) and self.pace.step(self.updates_between_moves / delay)

    def get_state(self, components: Paths = None, **others: Any) -> dict[str, Any]:
        """State tree; how soon it is the actor's turn is part of it."""
        return super().get_state(components, **others) | {"turns": self.turns.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``."""
        super().set_state(state)
        self.turns.set_state(state["turns"])


class TD3(OffPolicy):
    """Twin delayed deep deterministic policy gradient."""

    config: TD3Config
    config_class = TD3Config
    learner_class = TD3Learner
