"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347), with clipping.

Read from top to bottom: the settings, what a train batch is, its loss, one iteration.

Legend: T rows, N environments, B = T x N rows that are env steps, K truncated episodes.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from rllib.algorithm import Algorithm
from rllib.batch import SampleBatch
from rllib.checkpoints.components import Paths
from rllib.columns import Columns
from rllib.config import AlgorithmConfig
from rllib.config.sections import TrainBatchSize
from rllib.config.types import Fraction, Limit, ScheduleOr
from rllib.distributions import Distribution
from rllib.envs.make import Spaces
from rllib.errors import Problem
from rllib.estimators import gae
from rllib.learning import by_hand
from rllib.learning.kl_penalty import KLPenalty
from rllib.learning.learner import Learner, Loss, Metrics
from rllib.learning.ppo_by_hand import PPOByHand, Weights
from rllib.learning.sequences import compute_values, train_inputs, train_steps
from rllib.modules.rl_module import RLModule
from rllib.tensors import Tree, concatenate, live

MOST_BEYOND = 0.1
"""How much larger than asked for a train batch of whole fragments may be, as a share; RLlib's."""


class PPOConfig(AlgorithmConfig):
    """Settings of PPO; names and defaults are RLlib's."""

    lr: ScheduleOr[NonNegativeFloat] = 5e-5
    """Learning rate of the optimiser."""
    num_env_runners: NonNegativeInt = 2
    """Env runner actors that sample in parallel; 0 samples in the main process."""
    train_batch_size_per_learner: TrainBatchSize = 4000
    """Env steps that go into one training iteration, per learner."""
    num_epochs: ScheduleOr[PositiveInt] = 30
    """Passes over the train batch in one iteration."""
    minibatch_size: ScheduleOr[PositiveInt] | None = 128
    """Env steps per gradient step; null takes the whole train batch at once."""
    shuffle_batch_per_epoch: bool = True
    """Whether every epoch draws its minibatches in a new order."""
    use_gae: bool = True
    """Always: advantages are generalised ones, which ``lambda_=1`` makes returns less values."""
    use_critic: bool = True
    """Always; ``vf_loss_coeff=0`` leaves the value function as it is."""
    lambda_: ScheduleOr[Fraction] = 1.0
    """GAE: 0 trusts the value function, 1 the sampled returns."""
    clip_param: ScheduleOr[PositiveFloat] = 0.3
    """How far the probability ratio may move from 1 before its gradient stops."""
    vf_loss_coeff: ScheduleOr[NonNegativeFloat] = 1.0
    """Weight of the value loss."""
    vf_clip_param: Limit = 10.0
    """Limit of the squared value error of a row, beyond which it has no gradient; null for none.
    It depends on the scale of returns: too small a limit keeps the value function from learning."""
    entropy_coeff: ScheduleOr[NonNegativeFloat] = 0.0
    """Weight of the entropy bonus."""
    use_kl_loss: bool = True
    """Whether a KL penalty is added to the clipped objective."""
    kl_coeff: ScheduleOr[NonNegativeFloat] = 0.2
    """Weight of the KL penalty at first; it adapts to keep the mean KL near ``kl_target``. A
    schedule is followed instead."""
    kl_target: ScheduleOr[PositiveFloat] = 0.01
    """Mean KL between old and new policy, in nats, that one iteration should reach."""

    def problems(self) -> Iterator[Problem]:
        """Impossible combinations of settings."""
        yield from super().problems()
        if (length := self.get_rollout_fragment_length()) < 2:
            text = f"a fragment of {length} row may hold nothing but resets; make it at least 2"
            yield Problem(text, "rollout_fragment_length")
        if not self.use_gae:
            yield Problem("there is nothing else; leave it at true, with lambda_=1", "use_gae")
        if not self.use_critic:
            yield Problem("there always is one; leave it at true, see vf_loss_coeff", "use_critic")
        yield from self._problem_of_rounds()

    def _problem_of_rounds(self) -> Iterator[Problem]:
        """Whole fragments that come to much more than a train batch would all be trained on."""
        wanted, length = self.total_train_batch_size, self.rollout_fragment_length
        if length == "auto" or self.batch_mode == "complete_episodes" or self.in_evaluation:
            return
        rows = self.rounds_of(wanted) * length * self.total_num_envs
        if rows <= (1.0 + MOST_BEYOND) * wanted:
            return
        text = (
            f"whole fragments of {length} steps of {self.total_num_envs} environments "
            f"(num_env_runners={self.num_env_runners} x num_envs_per_env_runner="
            f"{self.num_envs_per_env_runner}) make {rows} env steps, which is more than "
            f'{MOST_BEYOND:.0%} over the train batch of {wanted}: take "auto", which is '
            f"{-(-wanted // self.total_num_envs)} then, or "
            f"train_batch_size_per_learner={-(-rows // max(1, self.num_learners))}"
        )
        yield Problem(text, "rollout_fragment_length")


class PPOBatch(NamedTuple):
    """What the loss reads: B env steps, or [S, L] steps of sequences for a module with memory.

    ``inputs`` are those of the module, ``mask`` tells the steps of sequences from padding; without
    memory it is ``None``. The other columns are [B] or [B, ...].
    """

    inputs: Tree
    actions: Tensor
    old_dist_inputs: Tensor
    old_logp: Tensor
    advantages: Tensor
    value_targets: Tensor
    mask: Tensor | None


def ppo_loss(
    dist_inputs: Tensor,
    values: Tensor,
    batch: PPOBatch,
    distribution: Distribution,
    config: PPOConfig,
    *,
    kl_coeff: float,
    entropy_coeff: float,
) -> Loss:
    """Clipped surrogate, clipped value error, entropy bonus and KL penalty (eq. 7 to 9).

    Args:
        dist_inputs: [B, inputs] of the current policy.
        values: [B] of the current value function.
        batch: B env steps of the behaviour policy.
        distribution: the policy's.
        config: clipping limits and weights, with schedules at their present values.
        kl_coeff: current weight of the KL penalty; 0 leaves it out.
        entropy_coeff: current weight of the entropy bonus; 0 leaves it out.
    """
    logp = distribution.log_prob(dist_inputs, batch.actions)
    ratio = (logp - batch.old_logp).exp()
    clipped = ratio.clamp(1.0 - config.clip_param, 1.0 + config.clip_param)
    policy_loss = -torch.min(ratio * batch.advantages, clipped * batch.advantages).mean()
    vf_error = (values - batch.value_targets).square()
    vf_loss = _clamp_max(vf_error, config.vf_clip_param).mean()
    total = policy_loss + config.vf_loss_coeff * vf_loss
    # Entropy and KL are always reported, but differentiated only where they weigh something.
    with torch.set_grad_enabled(entropy_coeff > 0.0):
        entropy = distribution.entropy(dist_inputs).mean()
    with torch.set_grad_enabled(kl_coeff > 0.0):
        kl = distribution.kl(batch.old_dist_inputs, dist_inputs).mean()
    if entropy_coeff > 0.0:
        total = total - entropy_coeff * entropy
    if kl_coeff > 0.0:
        total = total + kl_coeff * kl
    return Loss(
        total,
        {
            "policy_loss": policy_loss,
            "vf_loss": vf_loss,
            "vf_loss_unclipped": vf_error.detach().mean(),
            "entropy": entropy,
            "mean_kl_loss": kl,
        },
    )


def _clamp_max(x: Tensor, limit: float | None) -> Tensor:
    return x if limit is None else x.clamp(max=limit)


def ppo_batch(batch: SampleBatch, module: RLModule, config: PPOConfig) -> PPOBatch:
    """Advantages and value targets of one fragment, and its rows without reset rows.

    ``config`` has schedules at their present values.
    """
    values, following = compute_values(batch, module)
    advantages, value_targets = gae(
        batch.rewards,
        values,
        following,
        batch.dones,
        batch.reset_rows,
        gamma=config.gamma,
        lambda_=config.lambda_,
    )
    steps = train_steps(batch, module.max_seq_len)
    return PPOBatch(
        train_inputs(module, steps.of(batch.obs), steps.state_in),
        torch.from_numpy(steps.of(batch.actions)),
        torch.from_numpy(steps.of(batch.action_dist_inputs)),
        torch.from_numpy(steps.of(batch.action_logp)),
        torch.from_numpy(steps.of(advantages)),
        torch.from_numpy(steps.of(value_targets)),
        None if steps.mask is None else torch.from_numpy(steps.mask),
    )


class PPOLearner(Learner[PPOBatch]):
    """PPO's batch and loss, and the weight of its KL penalty."""

    config: PPOConfig
    now: PPOConfig

    def __init__(self, config: PPOConfig, spaces: Spaces) -> None:
        super().__init__(config, spaces)
        self.penalty = KLPenalty(config.kl_coeff, config.use_kl_loss)
        self.vf_explained_var = 0.0
        self.by_hand = self._by_hand()

    def _by_hand(self) -> PPOByHand | None:
        """A faster way to the same gradients, for small networks and a loss that is this one."""
        if self.has_loss_of(PPOLearner) and by_hand.can_do(self.module, self.most_rows):
            return PPOByHand(self.module, self.config.num_kernel_threads_per_learner)
        return None

    def build_train_batch(self, batches: tuple[SampleBatch, ...]) -> PPOBatch:
        """All fragments as one batch, advantages standardised over those of all learners."""
        with self.precision.autocast():
            parts = [ppo_batch(batch, self.module, self.now) for batch in batches]
        joined: PPOBatch = concatenate(parts)
        columns = [live(each, joined.mask) for each in (joined.advantages, joined.value_targets)]
        means, stds = self.group.moments(torch.stack(columns).numpy())
        # Targets less values are advantages, so that these are what is left to explain.
        self.vf_explained_var = 1.0 - float(stds[0] / stds[1]) ** 2 if stds[1] else 0.0
        advantages = (joined.advantages - float(means[0])) / max(float(stds[0]), 1e-8)
        return joined._replace(advantages=advantages)

    def compute_loss(self, minibatch: PPOBatch) -> Loss:
        """``ppo_loss`` of the current network."""
        if self.by_hand is not None:
            return self.by_hand.loss(
                minibatch.inputs[Columns.OBS],
                minibatch.actions,
                minibatch.old_dist_inputs,
                minibatch.old_logp,
                minibatch.advantages,
                minibatch.value_targets,
                self._weights(),
            )
        output = self.module.forward_train(minibatch.inputs)
        values = self.module.compute_values(minibatch.inputs, output.get(Columns.EMBEDDINGS))
        dist_inputs = live(output[Columns.ACTION_DIST_INPUTS], minibatch.mask)
        return ppo_loss(
            dist_inputs,
            live(values, minibatch.mask),
            live(minibatch._replace(inputs=None, mask=None), minibatch.mask),
            self.module.distribution,
            self.now,
            kl_coeff=self.kl_coeff,
            entropy_coeff=self.now.entropy_coeff,
        )

    def _weights(self) -> Weights:
        return Weights(
            clip_param=self.now.clip_param,
            vf_clip_param=self.now.vf_clip_param,
            vf_loss_coeff=self.now.vf_loss_coeff,
            kl_coeff=self.kl_coeff,
            entropy_coeff=self.now.entropy_coeff,
        )

    @property
    def kl_coeff(self) -> float:
        """Weight of the KL penalty at present."""
        return self.penalty.at(self.timestep)

    def after_update(self, metrics: Metrics) -> None:
        """Move the weight of the KL penalty towards ``kl_target`` (section 4 of the paper)."""
        metrics["vf_explained_var"] = self.vf_explained_var
        metrics["curr_kl_coeff"] = self.kl_coeff
        metrics["curr_entropy_coeff"] = self.now.entropy_coeff
        self.penalty.adapt(metrics["mean_kl_loss"], self.now.kl_target)

    def get_state(self, components: Paths = None, **others: Any) -> dict[str, Any]:
        """State tree; the weight of the KL penalty is part of it."""
        return super().get_state(components, **others) | {"kl_coeff": self.kl_coeff}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``."""
        super().set_state(state)
        self.penalty.restore(float(state["kl_coeff"]))


class PPO(Algorithm):
    """Proximal policy optimisation, synchronous: every fragment is used once, by its own policy."""

    config_class = PPOConfig
    learner_class = PPOLearner

    def training_step(self) -> None:
        """A train batch of fragments of all env runners, one update on it, new weights for all."""
        wanted = self.config.total_train_batch_size
        samples = self.env_runner_group.sample(num_env_steps=wanted)
        sampled = self.num_env_steps_sampled_lifetime
        update = self.learner_group.update(samples.batches, timestep=sampled)
        self.env_runner_group.sync_weights(self.learner_group.get_weights())
        self.report(samples, update)
