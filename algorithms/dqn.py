"""Deep Q-learning (Mnih et al. 2015), with what has made it better since, each as an option.

double_q: double Q-learning (van Hasselt et al. 2016, arXiv 1509.06461). dueling: a value and an
advantage stream (Wang et al. 2016, arXiv 1511.06581). n_step: returns of several steps. A replay
buffer with priorities (Schaul et al. 2016, arXiv 1511.05952). noisy: exploration that is learnt
(Fortunato et al. 2018, arXiv 1706.10295). num_atoms: distributions of returns, C51 (Bellemare et
al. 2017, arXiv 1707.06887). All together are Rainbow (Hessel et al. 2018, arXiv 1710.02298).

With memory, sequences are learnt from (R2D2, Kapturowski et al. 2019).

Read from top to bottom: the settings, the targets, the loss, what the learner does.

Legend: B rows, A actions, M atoms of a distribution of returns, S sequences of L steps.
"""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from rllib.columns import Columns
from rllib.config import AlgorithmConfig
from rllib.config.types import Fraction, Once, ScheduleOr, Sizes
from rllib.envs.make import Spaces
from rllib.errors import Problem
from rllib.estimators.action_values import cross_entropy, huber, project, squared, values_of
from rllib.learning.dqn_by_hand import DQNByHand, QRows, rows_of, rows_of_tensors
from rllib.learning.learner import DEFAULT_OPTIMIZER, Loss, Metrics
from rllib.learning.optimizer import Adam
from rllib.learning.sequence_batch import SequenceBatch, by_sequence, sequence_batch, unroll
from rllib.learning.target_network import TargetNetwork
from rllib.learning.transition_batch import TransitionBatch, transition_batch
from rllib.modules.q_module import Predicted, QModelConfig, QModule, predicted
from rllib.modules.rl_module import RLModule
from rllib.off_policy import (
    Q_VALUES,
    TD_ERRORS,
    Draw,
    OffPolicy,
    OffPolicyConfig,
    OffPolicyLearner,
    report_values,
)
from rllib.replay import Transitions

_SUPPORT = Once("a network has learnt what its outputs mean by it")


class DQNConfig(OffPolicyConfig):
    """Settings of DQN; names and defaults are RLlib's."""

    shape_class = QModelConfig

    lr: ScheduleOr[NonNegativeFloat] = 5e-4
    """Learning rate of the optimiser."""
    adam_epsilon: PositiveFloat = 1e-8
    """What the optimiser adds to the root of the second moment."""
    grad_clip: ScheduleOr[PositiveFloat] | None = 40.0
    """Limit for gradients, measured as ``grad_clip_by`` says; null clips nothing."""
    replay_buffer_config: dict[str, Any] = {  # noqa: RUF012 (pydantic copies it)
        "type": "PrioritizedEpisodeReplayBuffer",
        "capacity": 50_000,
        "alpha": 0.6,
        "beta": 0.4,
    }
    """Replay buffer: its ``type``, ``capacity`` in env steps and, of a prioritised one, ``alpha``
    and ``beta``, which may be schedules; a new ``alpha`` is that of errors from then on. What is
    not said is as it is by default, if the type is."""
    target_network_update_freq: ScheduleOr[NonNegativeInt] = 500
    """Env steps sampled between two moves of the target network; 0 moves it after every gradient
    step."""
    epsilon: ScheduleOr[Fraction] = ((0, 1.0), (10_000, 0.05))  # type: ignore[assignment]
    """Probability of an action at random while exploring."""
    double_q: bool = True
    """Whether the next action is chosen by the network that is trained, and only its value is the
    target network's."""
    td_error_loss_fn: Literal["huber", "mse"] = "huber"
    """Loss of a TD error; distributions of returns have the cross entropy instead."""
    dueling: bool = True
    """Whether state values and advantages have layers of their own."""
    hiddens: Sizes = (256,)
    """Widths of those layers, where the model's ``head_fcnet_hiddens`` says nothing."""
    num_atoms: PositiveInt = 1
    """Atoms of the distributions of returns; 1 learns their means alone."""
    v_min: Annotated[float, _SUPPORT] = -10.0
    """The return that the first atom stands for."""
    v_max: Annotated[float, _SUPPORT] = 10.0
    """The return that the last atom stands for."""
    noisy: bool = False
    """Whether the layers after the encoder are noisy; epsilon may be 0 then."""
    sigma0: PositiveFloat = 0.5
    """How noisy they are at first."""

    def problems(self) -> Iterator[Problem]:
        """Impossible combinations of settings."""
        yield from super().problems()
        if self.num_atoms > 1 and self.v_min >= self.v_max:
            yield Problem(f"should be more than v_min, {self.v_min}", "v_max")
        if self.noisy and self.model.head_fcnet_use_layernorm:
            text = "there is no LayerNorm between noisy layers; switch one of both off"
            yield Problem(text, "model_config.head_fcnet_use_layernorm")

    def get_default_rl_module_class(self) -> type[RLModule]:
        """The module that is trained unless another one is given."""
        return QModule


def dqn_targets(
    following: Predicted, best: Tensor, rewards: Tensor, discounts: Tensor, atoms: Tensor
) -> Tensor:
    """What the values of the actions that were taken should be: [B], or distributions [B, M].

    Args:
        following: what the target network says of what was observed later.
        best: [B] the actions that are taken then.
        rewards: [B].
        discounts: [B].
        atoms: [M] returns that the atoms stand for.
    """
    if following.logits is None:
        return rewards + discounts * values_of(following.values, best)
    probs = values_of(following.logits, best).softmax(-1)
    return project(probs, rewards, discounts, discounts == 0.0, atoms)


def dqn_loss(
    online: Predicted,
    actions: Tensor,
    targets: Tensor,
    weights: Tensor,
    error_loss: Callable[[Tensor], Tensor],
) -> Loss:
    """Loss of TD errors, or the cross entropy of distributions; a mean weighted by importance.

    Args:
        online: what the network that is trained says.
        actions: [B] that were taken.
        targets: from ``dqn_targets``.
        weights: [B].
        error_loss: of TD errors.
    """
    values = values_of(online.values, actions)
    if online.logits is None:
        errors = values - targets
        losses = error_loss(errors)
    else:
        losses = errors = cross_entropy(values_of(online.logits, actions), targets)
    loss = (weights * losses).mean()
    return Loss(loss, {"qf_loss": loss}, {TD_ERRORS: errors.detach().abs(), Q_VALUES: values})


QBatch = TransitionBatch | SequenceBatch | QRows
"""Transitions, sequences, or transitions as arrays, where nobody else reads them."""


class DQNLearner(OffPolicyLearner[QBatch]):
    """Learns from transitions or, with memory, from sequences."""

    config: DQNConfig
    now: DQNConfig
    module: QModule

    def __init__(self, config: AlgorithmConfig, spaces: Spaces) -> None:
        super().__init__(config, spaces)
        self.by_hand = self._by_hand()
        own = self.has_loss_of(DQNLearner, "build_train_batch", "minibatches")
        self._reads_arrays = own and self.by_hand is not None

    def _by_hand(self) -> DQNByHand | None:
        """A faster way to the same gradients, for small networks and a loss that is this one."""
        num_rows = self.config.train_batch_size_per_learner
        if self.has_loss_of(DQNLearner) and DQNByHand.can_do(self.module, num_rows):
            return DQNByHand(self.module)
        return None

    def configure_optimizers(self) -> dict[str, Adam]:
        """One, of all but the target network."""
        self.need("q", "target_q", "forward_target", "atoms")
        parameters = self.module.q.parameters()
        adam = Adam(parameters, self.config.lr, epsilon=self.config.adam_epsilon)
        return {DEFAULT_OPTIMIZER: adam}

    def make_targets(self) -> list[TargetNetwork]:
        """The one that values what comes next."""
        assert self.module.target_q is not None, "a learner's module has a target network"
        return [TargetNetwork(self.module.target_q, self.optimizers[DEFAULT_OPTIMIZER])]

    def build_train_batch(self, batches: tuple[Draw, ...]) -> QBatch:
        """The draw as tensors, or as the arrays that it is where the loss needs no tensors."""
        (draw,) = batches
        if self._reads_arrays and isinstance(draw, Transitions):
            return rows_of(draw, self.module)
        if isinstance(draw, Transitions):
            return transition_batch(draw, self.module)
        return sequence_batch(draw, self.module, self.draw_n(), self.now.gamma)

    @property
    def error_loss(self) -> Callable[[Tensor], Tensor]:
        """Of TD errors."""
        return huber if self.config.td_error_loss_fn == "huber" else squared

    def compute_loss(self, minibatch: QBatch) -> Loss:
        """``dqn_loss`` of the current network."""
        if isinstance(minibatch, SequenceBatch):
            return self._sequence_loss(minibatch)
        if self.by_hand is not None:
            return self._loss_by_hand(self.by_hand, minibatch)
        assert not isinstance(minibatch, QRows), "build_train_batch makes them for losses by hand"
        online = predicted(self.module.forward_train(minibatch.inputs))
        _, _, actions, rewards, discounts, weights = minibatch
        with torch.no_grad():
            following = predicted(self.module.forward_target(minibatch.next_inputs))
            chooser = following.values
            if self.config.double_q:
                output = self.module.forward_train(minibatch.next_inputs)
                chooser = output[Columns.ACTION_DIST_INPUTS]
            best = chooser.argmax(-1)
            targets = dqn_targets(following, best, rewards, discounts, self.module.atoms)
        return dqn_loss(online, actions, targets, weights, self.error_loss)

    def _loss_by_hand(self, by_hand: DQNByHand, minibatch: TransitionBatch | QRows) -> Loss:
        return by_hand.loss(
            minibatch if isinstance(minibatch, QRows) else rows_of_tensors(minibatch),
            (TD_ERRORS, Q_VALUES),
            double_q=self.config.double_q,
            huber=self.config.td_error_loss_fn == "huber",
        )

    def _sequence_loss(self, batch: SequenceBatch) -> Loss:
        """The same over all steps to train on, wherever in their sequences."""
        module, burn_in = self.module, self.config.burn_in_len
        everything = predicted(unroll(module.forward_train, batch.inputs, burn_in))
        s, t = batch.mask.nonzero(as_tuple=True)
        with torch.no_grad():
            following = predicted(unroll(module.forward_target, batch.inputs, burn_in))
            chooser = everything if self.config.double_q else following
            later = (s, batch.after[s, t])
            targets = dqn_targets(
                following.at(*later),
                chooser.values[later].argmax(-1),
                batch.rewards[s, t],
                batch.discounts[s, t],
                module.atoms,
            )
        loss = dqn_loss(
            everything.at(s, t), batch.actions[s, t], targets, batch.weights[s], self.error_loss
        )
        errors = by_sequence(torch.as_tensor(loss.arrays[TD_ERRORS]), batch.mask)
        return loss._replace(arrays={**loss.arrays, TD_ERRORS: errors})

    def after_update(self, metrics: Metrics) -> None:
        """Say what the values and errors of all rows are like."""
        report_values(metrics)


class DQN(OffPolicy):
    """Deep Q-learning and its extensions."""

    config: DQNConfig
    config_class = DQNConfig
    learner_class = DQNLearner
