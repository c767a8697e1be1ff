"""What SAC and TD3 share: settings, the critics' loss, train batches.

Legend: B rows, K critics, S sequences, L steps of a full one.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, field_validator
from torch import Tensor, nn

from rllib.columns import Columns
from rllib.config import AlgorithmConfig
from rllib.config.model import ModelConfig
from rllib.config.types import Fraction, ScheduleOr
from rllib.distributions import Distribution
from rllib.envs.make import Spaces
from rllib.errors import ConfigError, Problem
from rllib.estimators.action_values import squared
from rllib.learning.loss import Loss, Metrics
from rllib.learning.sequence_batch import SequenceBatch, Steps, by_sequence, sequence_batch, unroll
from rllib.learning.target_network import TargetNetwork
from rllib.learning.transition_batch import TransitionBatch, transition_batch
from rllib.modules.actor_q_module import TARGET_EMBEDDINGS, ActorQConfig, ActorQModule
from rllib.modules.rl_module import Batch
from rllib.off_policy import (
    Q_VALUES,
    TD_ERRORS,
    BatchSize,
    Beginning,
    Draw,
    OffPolicyConfig,
    OffPolicyLearner,
    report_values,
)
from rllib.replay import Transitions


class ActorQSettings(OffPolicyConfig):
    """Settings of algorithms with an actor and critics."""

    shape_class = ActorQConfig

    model: ModelConfig = Field(default_factory=lambda: ModelConfig(fcnet_activation="relu"))
    """The networks of actor and critics (in Python this is the attribute ``config.model``)."""
    train_batch_size_per_learner: BatchSize = 256
    """Env steps of one gradient step, per learner; with memory, sequences."""
    min_sample_timesteps_per_iteration: NonNegativeInt = 100
    """Env steps that an iteration samples at least."""
    num_steps_sampled_before_learning_starts: Beginning = 1500
    """Env steps in the beginning that are not learnt from, and whose actions are random."""
    tau: ScheduleOr[Fraction] = 5e-3
    """How far the target networks move: 1 copies."""
    actor_lr: ScheduleOr[NonNegativeFloat] = 3e-4
    """Learning rate of the actor."""
    critic_lr: ScheduleOr[NonNegativeFloat] = 3e-4
    """Learning rate of the critics."""
    twin_q: bool = True
    """Whether there are two critics, of which the smaller value is believed."""

    @field_validator("lr", mode="before")
    @classmethod
    def _no_common_rate(cls, value: Any) -> Any:
        """RLlib's scripts say None, which is to say that every network has its own."""
        return cls.model_fields["lr"].default if value is None else value

    def problems(self) -> Iterator[Problem]:
        """Impossible combinations of settings."""
        yield from super().problems()
        if self.lr != type(self).model_fields["lr"].default:
            yield Problem("every network has its own here: set actor_lr and critic_lr", "lr")


def critics_loss(q_values: Tensor, targets: Tensor, weights: Tensor) -> Loss:
    """Half squared TD errors of all critics, as a mean weighted by importance.

    Args:
        q_values: [K, B] of the actions that were taken.
        targets: [B] what they should be.
        weights: [B].
    """
    errors = q_values - targets
    loss = (weights * squared(errors).sum(0)).mean()
    arrays = {TD_ERRORS: errors.detach().abs().mean(0), Q_VALUES: q_values[0]}
    return Loss(loss, {"qf_loss": loss}, arrays)


TrainRows = TransitionBatch | SequenceBatch
"""Transitions or, with memory, sequences."""
NO_LOSS = "neither loss_of(batch) nor compute_loss(minibatch) of its own; override one of them"


class ActorQLearner(OffPolicyLearner[TrainRows]):
    """Learns from transitions or, with memory, from the steps of sequences; optimisers are
    ``"critic"``, ``"actor"`` and what else there is.

    A subclass has ``loss_of``, or else a ``compute_loss`` that reads sequences by itself.
    """

    module: ActorQModule

    def __init__(self, config: AlgorithmConfig, spaces: Spaces) -> None:
        own = type(self)
        if own.compute_loss is ActorQLearner.compute_loss and own.loss_of is ActorQLearner.loss_of:
            raise TypeError(f"{own.__name__} has {NO_LOSS}")
        super().__init__(config, spaces)
        if self.module.get_initial_state() and self.module.get_past() is None:
            text = (
                f"{type(self.module).__name__} has a memory of its own, which the losses of "
                f"{config.algo_name} do not reach; set use_lstm or use_gru in model_config instead"
            )
            raise ConfigError(Problem(text, "rl_module_spec"))

    def critic_parameters(self) -> Iterator[nn.Parameter]:
        """What the critics' loss trains: the memory, if there is one, and the critics."""
        past = self.module.get_past()
        return chain(past.parameters() if past else (), self.module.critics.parameters())

    def target_critics(self) -> TargetNetwork:
        """The target network of the same."""
        parts = (self.module.get_past(of_target=True), self.module.target_critics)
        target = nn.ModuleList([part for part in parts if part is not None])
        return TargetNetwork(target, self.optimizers["critic"])

    def build_train_batch(self, batches: tuple[Draw, ...]) -> TrainRows:
        """The draw as tensors."""
        (draw,) = batches
        if isinstance(draw, Transitions):
            return transition_batch(draw, self.module)
        return sequence_batch(draw, self.module, self.draw_n(), self.now.gamma)

    def compute_loss(self, minibatch: TrainRows) -> Loss:
        """``loss_of`` transitions, or of the steps of sequences as if they were some."""
        if not isinstance(minibatch, SequenceBatch):
            return self.loss_of(minibatch)
        loss = self.loss_of(self._transitions(minibatch))
        errors = by_sequence(torch.as_tensor(loss.arrays[TD_ERRORS]), minibatch.mask)
        return loss._replace(arrays={**loss.arrays, TD_ERRORS: errors})

    def loss_of(self, batch: TransitionBatch) -> Loss:
        """All losses, each for its own optimiser.

        Raises:
            TypeError: this learner has neither this nor a ``compute_loss`` of its own.
        """
        raise TypeError(f"{type(self).__name__} has {NO_LOSS}")

    def _transitions(self, batch: SequenceBatch) -> TransitionBatch:
        """The steps to train on, with what the memory makes of what was observed up to there."""
        past, target_past = self.module.get_past(), self.module.get_past(of_target=True)
        assert past is not None, "there are no sequences without a memory"
        assert target_past is not None, "a learner's module has target networks"
        burn_in = self.config.burn_in_len
        seen = {
            Columns.OBS: batch.inputs[Columns.OBS],
            **unroll(past, batch.inputs, burn_in),
        }
        with torch.no_grad():
            of_target = unroll(target_past, batch.inputs, burn_in)
        seen[TARGET_EMBEDDINGS] = of_target[Columns.EMBEDDINGS]
        s, t = batch.mask.nonzero(as_tuple=True)
        return TransitionBatch(
            self._steps(seen, s, t, batch.mask),
            self._steps(seen, s, batch.after[s, t], batch.mask),
            batch.actions[s, t],
            batch.rewards[s, t],
            batch.discounts[s, t],
            batch.weights[s],
        )

    @staticmethod
    def _steps(seen: Batch, s: Tensor, t: Tensor, mask: Tensor) -> Batch:
        """The steps ``t`` [B] of the sequences ``s`` [B]."""
        steps = Steps(seen, s * seen[Columns.EMBEDDINGS].shape[1] + t)
        steps[Columns.LOSS_MASK] = mask
        return steps

    def draw_noise_for(self, distribution: Distribution, dist_inputs: Tensor, of: Batch) -> Tensor:
        """Noise for rows [B, ...]: of sequences drawn for all their steps, of which all learners
        have as many, whatever the steps that are trained on.

        Args:
            distribution: whose noise it is.
            dist_inputs: [B, ...] of it.
            of: what they were computed from.
        """
        mask = of.get(Columns.LOSS_MASK)
        if mask is None:
            return self.draw_noise(distribution, dist_inputs)
        all_steps = dist_inputs.new_empty(mask.numel(), *dist_inputs.shape[1:])
        return self.draw_noise(distribution, all_steps)[mask.flatten()]

    def after_update(self, metrics: Metrics) -> None:
        """Say what the values and errors of all rows are like."""
        report_values(metrics)
        if "actor_loss" in metrics:
            metrics["policy_loss"] = metrics["actor_loss"]
