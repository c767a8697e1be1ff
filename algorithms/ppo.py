"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347), with clipping.

Read from top to bottom: the settings, what a train batch is, its loss, one iteration.

Legend: T rows, N environments, B = T x N rows that are env steps, K truncated episodes.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from rllib.algorithm import Algorithm
from rllib.batch import SampleBatch
from rllib.config import AlgorithmConfig
from rllib.config_sections import Fraction
from rllib.distributions import Distribution
from rllib.envs.make import Spaces
from rllib.errors import Problem
from rllib.estimators import explained_variance, gae, next_values, standardize
from rllib.learner import Learner, Loss, Metrics
from rllib.rl_module import ModuleOutput, RLModule


class PPOConfig(AlgorithmConfig):
    """Settings of PPO; names and defaults are RLlib's."""

    lr: NonNegativeFloat = 5e-5
    """Learning rate of the optimiser."""
    num_env_runners: NonNegativeInt = 2
    """Env runner actors that sample in parallel; 0 samples in the main process."""
    num_epochs: PositiveInt = 30
    """Passes over the train batch in one iteration."""
    minibatch_size: PositiveInt | None = 128
    """Env steps per gradient step; null takes the whole train batch at once."""
    lambda_: Fraction = 1.0
    """GAE: 0 trusts the value function, 1 the sampled returns."""
    clip_param: PositiveFloat = 0.3
    """How far the probability ratio may move from 1 before its gradient stops."""
    vf_loss_coeff: NonNegativeFloat = 1.0
    """Weight of the value loss."""
    vf_clip_param: PositiveFloat | None = 10.0
    """Limit of the squared value error of a row, beyond which it has no gradient; null for none.
    It depends on the scale of returns: too small a limit keeps the value function from learning."""
    entropy_coeff: NonNegativeFloat = 0.0
    """Weight of the entropy bonus."""
    use_kl_loss: bool = True
    """Whether a KL penalty is added to the clipped objective."""
    kl_coeff: NonNegativeFloat = 0.2
    """Weight of the KL penalty at first; it adapts to keep the mean KL near ``kl_target``."""
    kl_target: PositiveFloat = 0.01
    """Mean KL between old and new policy, in nats, that one iteration should reach."""

    def problems(self) -> Iterator[Problem]:
        """Impossible combinations of settings."""
        yield from super().problems()
        if (length := self.get_rollout_fragment_length()) < 2:
            text = f"a fragment of {length} row may hold nothing but resets; make it at least 2"
            yield Problem(text, "rollout_fragment_length")


class PPOBatch(NamedTuple):
    """What the loss reads, one row per env step: features [B, D], the others [B] or [B, ...]."""

    features: Tensor
    actions: Tensor
    old_dist_inputs: Tensor
    old_logp: Tensor
    advantages: Tensor
    value_targets: Tensor


def ppo_loss(
    output: ModuleOutput,
    batch: PPOBatch,
    distribution: Distribution,
    config: PPOConfig,
    kl_coeff: float,
) -> Loss:
    """Clipped surrogate, clipped value error, entropy bonus and KL penalty (eq. 7 to 9).

    Args:
        output: the current network on ``batch.features``.
        batch: B env steps of the behaviour policy.
        distribution: the policy's.
        config: clipping limits and weights.
        kl_coeff: current weight of the KL penalty; 0 leaves it out.
    """
    logp = distribution.log_prob(output.action_dist_inputs, batch.actions)
    ratio = (logp - batch.old_logp).exp()
    clipped = ratio.clamp(1.0 - config.clip_param, 1.0 + config.clip_param)
    policy_loss = -torch.min(ratio * batch.advantages, clipped * batch.advantages).mean()
    vf_error = (output.values - batch.value_targets).square()
    vf_loss = _clamp_max(vf_error, config.vf_clip_param).mean()
    total = policy_loss + config.vf_loss_coeff * vf_loss
    # Entropy and KL are always reported, but differentiated only where they weigh something.
    with torch.set_grad_enabled(config.entropy_coeff > 0.0):
        entropy = distribution.entropy(output.action_dist_inputs).mean()
    with torch.set_grad_enabled(kl_coeff > 0.0):
        kl = distribution.kl(batch.old_dist_inputs, output.action_dist_inputs).mean()
    if config.entropy_coeff > 0.0:
        total = total - config.entropy_coeff * entropy
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
    """Advantages and value targets of one fragment, and its rows without reset rows."""
    values, last_values, final_values = _values(batch, module)
    following = next_values(values, last_values, final_values, batch.final_index, batch.terminateds)
    advantages, value_targets = gae(
        batch.rewards,
        values,
        following,
        batch.dones,
        batch.reset_rows,
        gamma=config.gamma,
        lambda_=config.lambda_,
    )
    live = ~batch.reset_rows

    def rows(column: NDArray[Any]) -> Tensor:
        return torch.from_numpy(column[live])

    return PPOBatch(
        module.encode(batch.obs[live]),
        rows(batch.actions),
        rows(batch.action_dist_inputs),
        rows(batch.action_logp),
        rows(advantages),
        rows(value_targets),
    )


@torch.no_grad()
def _values(batch: SampleBatch, module: RLModule) -> tuple[NDArray[np.float32], ...]:
    """Values of all rows [T, N], of the observations after the last [N], of final ones [K]."""
    T, N = batch.rewards.shape
    obs = batch.obs.reshape(T * N, *batch.obs.shape[2:])
    everything = module.encode(np.concatenate([obs, batch.last_obs, batch.final_obs]))
    values = module.compute_values(everything).numpy()
    return values[: T * N].reshape(T, N), values[T * N : T * N + N], values[T * N + N :]


class PPOLearner(Learner[PPOBatch]):
    """PPO's batch and loss, and the weight of its KL penalty."""

    config: PPOConfig

    def __init__(self, config: PPOConfig, spaces: Spaces) -> None:
        super().__init__(config, spaces)
        self.kl_coeff = config.kl_coeff if config.use_kl_loss else 0.0
        self.vf_explained_var = 0.0

    def build_train_batch(self, batches: tuple[SampleBatch, ...]) -> PPOBatch:
        """All fragments as one batch, advantages standardised over all of it."""
        parts = [ppo_batch(batch, self.module, self.config) for batch in batches]
        joined = PPOBatch(*map(torch.cat, zip(*parts, strict=True)))
        targets, advantages = joined.value_targets.numpy(), joined.advantages.numpy()
        self.vf_explained_var = explained_variance(targets, targets - advantages)
        return joined._replace(advantages=torch.from_numpy(standardize(advantages)))

    def compute_loss(self, minibatch: PPOBatch) -> Loss:
        """``ppo_loss`` of the current network."""
        output = self.module.forward_train(minibatch.features)
        return ppo_loss(output, minibatch, self.module.distribution, self.config, self.kl_coeff)

    def after_update(self, metrics: Metrics) -> None:
        """Move the weight of the KL penalty towards ``kl_target`` (section 4 of the paper)."""
        metrics["vf_explained_var"] = self.vf_explained_var
        metrics["curr_kl_coeff"] = self.kl_coeff
        metrics["curr_entropy_coeff"] = self.config.entropy_coeff
        if not self.config.use_kl_loss:
            return
        if metrics["mean_kl_loss"] > 2.0 * self.config.kl_target:
            self.kl_coeff *= 1.5
        elif metrics["mean_kl_loss"] < 0.5 * self.config.kl_target:
            self.kl_coeff *= 0.5

    def get_state(self) -> dict[str, Any]:
        """State tree; the weight of the KL penalty is part of it."""
        return super().get_state() | {"kl_coeff": self.kl_coeff}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``."""
        super().set_state(state)
        self.kl_coeff = float(state["kl_coeff"])


class PPO(Algorithm):
    """Proximal policy optimisation, synchronous: every fragment is used once, by its own policy."""

    config_class = PPOConfig
    learner_class = PPOLearner

    def training_step(self) -> None:
        """One fragment of every env runner, one update on all of them, new weights for all."""
        samples = self.env_runner_group.sample()
        update = self.learner_group.update(samples.batches)
        self.env_runner_group.sync_weights(self.learner_group.get_weights())
        self.report(samples, update)
