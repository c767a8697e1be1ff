"""IMPALA: importance weighted actor-learner architecture (Espeholt et al. 2018, arXiv 1802.01561).

Env runners sample without waiting for the learner, so the policy that sampled a fragment is some
updates older than the one that learns from it. V-trace corrects for the difference, which is
measured (the policy lag) and bounded.

Read from top to bottom: the settings, the loss, what the learner does, one training step.

Legend: T rows, N environments, B = T x N rows that are env steps, O outputs of the module.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from rllib.algorithm import Algorithm
from rllib.batch import SampleBatch
from rllib.config import AlgorithmConfig
from rllib.config.over_time import OverTime
from rllib.config.sections import TrainBatchSize
from rllib.config.types import Fraction, Limit, ScheduleOr
from rllib.distributions import Distribution
from rllib.envs.make import Spaces
from rllib.errors import Problem
from rllib.learning import by_hand
from rllib.learning.learner import DEFAULT_OPTIMIZER, Learner, Loss, Metrics
from rllib.learning.optimizer import Adam
from rllib.learning.pace import Pace
from rllib.learning.vtrace_batch import (
    Outputs,
    Targets,
    VTraceBatch,
    correct,
    environments,
    forward,
    vtrace_batch,
)
from rllib.learning.vtrace_by_hand import VTraceByHand, Weights
from rllib.sampling.async_sampler import AsyncSampler, Fragment
from rllib.sampling.fragments import join


class IMPALAConfig(AlgorithmConfig):
    """Settings of IMPALA; names and defaults are RLlib's, but for these two.

    ``max_requests_in_flight_per_env_runner`` is 2, so that an env runner has something to do while
    its last fragment is learnt from, and an iteration is a number of env steps, not of seconds.
    """

    lr: ScheduleOr[NonNegativeFloat] = 5e-4
    """Learning rate of the optimiser."""
    adam_epsilon: PositiveFloat = 1e-5
    """What the optimiser adds to the root of the second moment. With 1e-2 and a larger learning
    rate, the steps of small gradients stay small: what was learnt is kept."""
    num_env_runners: NonNegativeInt = 2
    """Env runner actors that sample in parallel; 0 samples in the main process."""
    rollout_fragment_length: PositiveInt | Literal["auto"] = 50
    """Env steps per environment in one sample; "auto" is that of which one of each env runner makes
    a train batch of all learners."""
    max_requests_in_flight_per_env_runner: PositiveInt = 2
    """Samples that an env runner is asked for ahead of time: 1 keeps policies newer, 2 keeps env
    runners busy."""
    train_batch_size_per_learner: TrainBatchSize = 500
    """Env steps of one update, rounded to whole fragments."""
    grad_clip: Limit = 40.0
    """Limit for gradients, measured as ``grad_clip_by`` says; null clips nothing."""
    num_learners: NonNegativeInt = 1
    """Learner actors, whose gradients are averaged; 0 learns in the main process."""
    min_sample_timesteps_per_iteration: NonNegativeInt = 10_000
    """Env steps that an iteration samples at least."""
    vtrace: bool = True
    """Whether V-trace corrects for the policy lag; there is no other way."""
    lambda_: ScheduleOr[Fraction] = 1.0
    """V-trace: 0 trusts the value function, 1 the sampled returns (remark 2 of the paper)."""
    vtrace_clip_rho_threshold: ScheduleOr[PositiveFloat] = 1.0
    """Limit of the importance weights in value targets."""
    vtrace_clip_pg_rho_threshold: ScheduleOr[PositiveFloat] = 1.0
    """Limit of the importance weights in policy gradients."""
    broadcast_interval: ScheduleOr[PositiveInt] = 1
    """Updates from one set of new weights for env runners to the next."""
    max_policy_lag: ScheduleOr[PositiveInt] | None = 100
    """Updates that a fragment's policy may be behind the learner's; what is older is dropped and
    counted. Null drops nothing."""
    learner_queue_size: PositiveInt = 3
    """No effect here: ``max_requests_in_flight_per_learner`` says what may wait for a learner."""
    num_gpu_loader_threads: NonNegativeInt = 8
    """No effect here: minibatches are copied to a GPU while it computes, without threads."""
    timeout_s_sampler_manager: NonNegativeFloat = 0.0
    """No effect here: fragments are taken as soon as they are there."""
    timeout_s_aggregator_manager: NonNegativeFloat = 0.0
    """No effect here: there are no aggregators."""
    vf_loss_coeff: ScheduleOr[NonNegativeFloat] = 0.5
    """Weight of the value loss."""
    entropy_coeff: ScheduleOr[NonNegativeFloat] = 0.01
    """Weight of the entropy bonus."""

    @property
    def fragments_per_update(self) -> int:
        """Fragments that make up a train batch, for all learners together."""
        rows = self.get_rollout_fragment_length() * self.num_envs_per_env_runner
        per_learner = max(1, round(self.train_batch_size_per_learner / rows))
        return per_learner * max(1, self.num_learners)

    def problems(self) -> Iterator[Problem]:
        """Impossible combinations of settings."""
        yield from super().problems()
        if not self.vtrace:
            yield Problem("there is no correction but V-trace; leave it at true", "vtrace")
        if (length := self.get_rollout_fragment_length()) < 2:
            text = f"a fragment of {length} row may hold nothing but resets; make it at least 2"
            yield Problem(text, "rollout_fragment_length")


class ActorCritic(NamedTuple):
    """What the current network says of B env steps: log probabilities of the actions, entropies and
    values; all [B].
    """

    logp: Tensor
    entropy: Tensor
    values: Tensor


def actor_critic(output: Outputs, batch: VTraceBatch, distribution: Distribution) -> ActorCritic:
    """Of the env steps among all outputs."""
    inputs = output.dist_inputs[batch.steps]
    return ActorCritic(
        distribution.log_prob(inputs, batch.actions),
        distribution.entropy(inputs),
        output.values[batch.steps],
    )


def impala_loss(
    current: ActorCritic, targets: Targets, config: IMPALAConfig, entropy_coeff: float
) -> Loss:
    """Policy gradient, value error and entropy bonus (section 4.2 of the paper), means over steps.

    Args:
        current: of the network that is trained.
        targets: V-trace's value targets and advantages [B].
        config: weights of the terms, with schedules at their present values.
        entropy_coeff: current weight of the entropy bonus.
    """
    policy_loss = -(current.logp * targets.advantages).mean()
    vf_loss = 0.5 * (current.values - targets.values).square().mean()
    entropy = current.entropy.mean()
    return Loss(
        policy_loss + config.vf_loss_coeff * vf_loss - entropy_coeff * entropy,
        {
            "policy_loss": policy_loss,
            "vf_loss": vf_loss,
            "vf_explained_var": explained(targets.values, current.values),
            "entropy": entropy,
        },
    )


def explained(targets: Tensor, values: Tensor) -> Tensor:
    """How much of the targets [B] the values explain: 1 is all, and 0 no more than a constant."""
    left = (targets - values.detach()).var(correction=0)
    variance = targets.var(correction=0)
    return torch.where(variance > 0.0, 1.0 - left / variance, 0.0)


class IMPALALearner(Learner[VTraceBatch]):
    """Learns from whole fragments; a minibatch is some of their environments."""

    config: IMPALAConfig
    now: IMPALAConfig

    def __init__(self, config: AlgorithmConfig, spaces: Spaces) -> None:
        super().__init__(config, spaces)
        self.by_hand = self._by_hand()

    def configure_optimizers(self) -> dict[str, Adam]:
        """One, of the whole module."""
        adam = Adam(self.module.parameters(), self.config.lr, epsilon=self.config.adam_epsilon)
        return {DEFAULT_OPTIMIZER: adam}

    def _by_hand(self) -> VTraceByHand | None:
        """A faster way to the same gradients, for small networks and a loss that is this one."""
        if self.has_loss_of(IMPALALearner) and by_hand.can_do(self.module, self.most_rows):
            return VTraceByHand(self.module)
        return None

    def build_train_batch(self, batches: tuple[SampleBatch, ...]) -> VTraceBatch:
        """All fragments side by side."""
        return vtrace_batch(join(batches), self.module)

    def minibatches(self, batch: VTraceBatch) -> Iterator[VTraceBatch]:
        """``num_epochs`` passes, in groups of environments of ``minibatch_size`` steps or so."""
        num_envs = batch.rows.rewards.shape[1]
        num_parts = self._num_parts(num_envs)
        for epoch in range(self.now.num_epochs):
            if num_parts == 1:
                yield batch
                continue
            if not epoch or self.config.shuffle_batch_per_epoch:
                order = self.rng.permutation(num_envs)
            for chosen in np.array_split(order, num_parts):
                yield environments(batch, np.sort(chosen))

    def _num_parts(self, num_envs: int) -> int:
        if self.now.minibatch_size is None:
            return 1
        fewest: int = min(self.group.gather(num_envs))
        return max(1, min(fewest, round(self.steps_per_learner / self.now.minibatch_size)))

    def compute_loss(self, minibatch: VTraceBatch) -> Loss:
        """``impala_loss`` of the current network, by one forward over all that was observed."""
        if self.by_hand is not None:
            weights = Weights(self.now.vf_loss_coeff, self.now.entropy_coeff)
            return self.by_hand.loss(minibatch, weights, self.now)
        output = forward(self.module, minibatch.inputs)
        current = actor_critic(output, minibatch, self.module.distribution)
        targets = correct(minibatch, output.values, current.logp, self.now)
        return impala_loss(current, targets, self.now, self.now.entropy_coeff)

    def after_update(self, metrics: Metrics) -> None:
        """Report what the loss does not."""
        metrics["curr_entropy_coeff"] = self.now.entropy_coeff


class IMPALA(Algorithm):
    """Env runners, learner and this process work at the same time, each on what is ready.

    Only with both env runner and learner in this process is a run reproducible bit for bit. What
    was under way when a checkpoint was written is lost to the run that goes on from it.
    """

    config: IMPALAConfig
    config_class = IMPALAConfig
    learner_class: ClassVar[type[Learner[Any]]] = IMPALALearner

    def _connect(self) -> None:
        super()._connect()
        self.settings = OverTime(self.config)
        self.sampler = AsyncSampler(self.env_runner_group)
        self.version = self.env_runner_group.weights_seq_no
        self.broadcasts = Pace()
        self.num_env_steps_dropped_lifetime = 0

    def training_step(self) -> None:
        """One update on the fragments that are ready first, and new weights for whoever asks."""
        self.update(self.gather())

    def gather(self) -> list[Fragment]:
        """The next train batch."""
        count, sampled = self.config.fragments_per_update, self.num_env_steps_sampled_lifetime
        fragments = self.sampler.gather(count, self.oldest_seq_no, sampled)
        self.count_samples(fragments.stats)
        self.count_dropped(fragments.dropped)
        return fragments.kept

    @property
    def oldest_seq_no(self) -> int:
        """Of the weights that a fragment may have been sampled with."""
        lag = self.settings.at(self.num_env_steps_sampled_lifetime).max_policy_lag
        return 0 if lag is None else self.version - lag

    def count_dropped(self, fragments: Sequence[Fragment]) -> None:
        """Note what was sampled for nothing."""
        num_env_steps = sum(fragment.stats.num_env_steps for fragment in fragments)
        self.num_env_steps_dropped_lifetime += num_env_steps

    def update(self, fragments: Sequence[Fragment]) -> None:
        """Learn from fragments, and offer the new weights when they are due."""
        lags = [self.version - fragment.weights_seq_no for fragment in fragments]
        sampled = self.num_env_steps_sampled_lifetime
        batches = [fragment.batch for fragment in fragments]
        update = self.learner_group.update(batches, timestep=sampled)
        self.version += 1
        if self.broadcasts.step(self.settings.at(sampled).broadcast_interval):
            self.sampler.offer_weights(self.learner_group.get_weights(), self.version)
        mean = sum(lags) / len(lags)
        self.count_update(
            update,
            diff_num_grad_updates_vs_sampler_policy=mean,
            policy_lag_mean=mean,
            policy_lag_max=max(lags),
            queue_size_results_queue=self.sampler.num_ready,
        )

    def share_statistics(self, statistics: dict[str, Any]) -> None:
        """Env runners get to know them with their next request."""
        self.sampler.offer_statistics(statistics)

    def _summary(self) -> dict[str, Any]:
        summary = super()._summary()
        dropped = self.num_env_steps_dropped_lifetime
        summary["env_runners"]["num_env_steps_dropped_lifetime"] = dropped
        in_flight = self.sampler.num_in_flight
        summary["env_runner_group"] = {"actor_manager_num_outstanding_async_reqs": in_flight}
        return summary

    def on_learners_revived(self) -> None:
        """What env runners were asked for goes on; weights that were offered are gone."""
        self.version += 1
        self.env_runner_group.weights_seq_no = self.version - 1
        super().on_learners_revived()
        self.sampler.reset()

    def _whole_state(self) -> dict[str, Any]:
        """What was sampled for nothing is counted on, and so are weights: who is restored begins
        with those of now, whenever the last were offered."""
        return super()._whole_state() | {
            "num_env_steps_dropped_lifetime": self.num_env_steps_dropped_lifetime,
            "weights_seq_no": self.version,
            "broadcasts": self.broadcasts.get_state(),
        }

    def _set_state(self, state: dict[str, Any]) -> None:
        super()._set_state(state)
        # Checkpoints of before have neither of these.
        dropped = state.get("num_env_steps_dropped_lifetime", 0)
        broadcasts = state.get("broadcasts")
        self.num_env_steps_dropped_lifetime = int(dropped)
        self.sampler.reset()
        self.version = self.env_runner_group.weights_seq_no
        self.broadcasts = Pace()
        if broadcasts is not None:
            self.broadcasts.set_state(broadcasts)
