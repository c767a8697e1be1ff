"""What SAC and TD3 share: settings, the critics' loss, train batches.

Legend: B rows, K critics.
"""

from collections.abc import Iterator
from typing import Any, cast

from pydantic import Field, NonNegativeFloat, NonNegativeInt, field_validator
from torch import Tensor

from rllib.config import AlgorithmConfig
from rllib.config.model import ModelConfig
from rllib.config.types import Fraction, ScheduleOr
from rllib.envs.make import Spaces
from rllib.errors import ConfigError, Problem
from rllib.estimators.action_values import squared
from rllib.learning.loss import Loss, Metrics
from rllib.learning.transition_batch import TransitionBatch, transition_batch
from rllib.modules.actor_q_module import ActorQConfig, ActorQModule, actor_q_shape
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
    """Env steps of one gradient step, per learner."""
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
        if self.model.use_lstm or self.model.use_gru:
            key = "use_lstm" if self.model.use_lstm else "use_gru"
            text = f"{self.algo_name} has no memory; DQN, PPO, APPO and IMPALA have"
            yield Problem(text, f"model_config.{key}")


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


class ActorQLearner(OffPolicyLearner[TransitionBatch]):
    """Learns from transitions; optimisers are ``"critic"``, ``"actor"`` and what else there is."""

    module: ActorQModule

    def __init__(self, config: AlgorithmConfig, spaces: Spaces) -> None:
        super().__init__(config, spaces)
        shape = actor_q_shape(self.module.model_config)
        if shape.use_lstm or shape.use_gru or self.module.get_initial_state():
            text = (
                f"{type(self.module).__name__} has a memory, but {config.algo_name} learns from "
                "single transitions; DQN, PPO, APPO and IMPALA learn from sequences"
            )
            raise ConfigError(Problem(text, "rl_module_spec"))

    def build_train_batch(self, batches: tuple[Draw, ...]) -> TransitionBatch:
        """The draw as tensors."""
        (draw,) = batches
        return transition_batch(cast(Transitions, draw), self.module)

    def after_update(self, metrics: Metrics) -> None:
        """Say what the values and errors of all rows are like."""
        report_values(metrics)
        if "actor_loss" in metrics:
            metrics["policy_loss"] = metrics["actor_loss"]
