"""APPO: asynchronous proximal policy optimisation, in the form of IMPACT (Luo et al. 2020, arXiv
1912.00167).

IMPALA's way of sampling and V-trace, with PPO's clipped objective. The policy that the probability
ratio is relative to is neither the one that sampled nor the current one, but a target network that
follows the current one slowly; batches go through a buffer and are used several times.

Read from top to bottom: the settings, the loss, what the learner does, one training step.

Legend: B env steps, O outputs of the module.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from rllib.algorithms.impala import (
    IMPALA,
    ActorCritic,
    IMPALAConfig,
    IMPALALearner,
    actor_critic,
    explained,
)
from rllib.checkpoints.components import Paths
from rllib.checkpoints.torch_state import get_module_state, set_module_state
from rllib.columns import Columns
from rllib.config.types import Fraction, ScheduleOr
from rllib.envs.make import Spaces
from rllib.errors import Problem
from rllib.learning import by_hand
from rllib.learning.circular_buffer import CircularBuffer
from rllib.learning.kl_penalty import KLPenalty
from rllib.learning.learner import DEFAULT_OPTIMIZER, Loss, Metrics
from rllib.learning.pace import Pace
from rllib.learning.target_network import TargetNetwork
from rllib.learning.vtrace_batch import Targets, VTraceBatch, correct, forward
from rllib.learning.vtrace_by_hand import VTraceByHand, Weights
from rllib.sampling.async_sampler import Fragment
from rllib.seeding import Role, derive_rng


class APPOConfig(IMPALAConfig):
    """Settings of APPO; names and defaults are RLlib's, but for those that IMPALA names."""

    clip_param: ScheduleOr[PositiveFloat] = 0.4
    """How far the probability ratio may move from 1 before its gradient stops."""
    use_kl_loss: bool = False
    """Whether a penalty for the distance to the target network is added to the objective."""
    kl_coeff: ScheduleOr[NonNegativeFloat] = 1.0
    """Weight of the KL penalty at first; it adapts to keep the mean KL near ``kl_target``. A
    schedule is followed instead."""
    kl_target: ScheduleOr[PositiveFloat] = 0.01
    """Mean KL between target network and current policy, in nats."""
    target_network_update_freq: ScheduleOr[PositiveFloat] = 2
    """Updates between two of the target network, in units of what passes through a full buffer:
    ``circular_buffer_num_batches * circular_buffer_iterations_per_batch`` updates."""
    tau: ScheduleOr[Fraction] = 1.0
    """How far the target network moves towards the current one then; 1 makes them equal."""
    target_worker_clipping: ScheduleOr[PositiveFloat] = 2.0
    """Limit of the importance weight of the policy that sampled over the target network."""
    use_circular_buffer: bool = True
    """Whether batches are used several times; otherwise once, in their order."""
    circular_buffer_num_batches: PositiveInt = 8
    """Train batches that the buffer holds. Learning begins when it is full for the first time."""
    circular_buffer_iterations_per_batch: PositiveInt = 2
    """How often each of them is used at most."""

    simple_queue_size: PositiveInt = 32
    """No effect here: ``max_requests_in_flight_per_learner`` says what may wait for a learner."""
    use_gae: bool = True
    """Always: advantages are V-trace's, for which ``lambda_`` is what it is for GAE."""

    def problems(self) -> Iterator[Problem]:
        """Impossible combinations of settings."""
        yield from super().problems()
        if not self.use_gae:
            text = "advantages are always V-trace's; leave it at true, with lambda_=1"
            yield Problem(text, "use_gae")

    @property
    def target_network_update_interval(self) -> int:
        """The same as ``target_network_update_freq``, in updates."""
        full = self.circular_buffer_num_batches * self.circular_buffer_iterations_per_batch
        return max(1, round(self.target_network_update_freq * full))


class OldPolicy(NamedTuple):
    """What the target network, and whoever sampled, said of B env steps.

    Attributes:
        logp: [B] log probabilities of the actions by the target network.
        behaviour_logp: [B] the same by the policy that sampled.
        kl: [B] from the target network to the current policy, in nats.
    """

    logp: Tensor
    behaviour_logp: Tensor
    kl: Tensor


def appo_loss(
    current: ActorCritic,
    old: OldPolicy,
    targets: Targets,
    config: APPOConfig,
    entropy_coeff: float,
    kl_coeff: float,
) -> Loss:
    """Clipped surrogate, value error, entropy bonus and KL penalty; means over steps.

    The ratio is ``min(mu / pi_target, limit) * pi / mu`` (eq. 3 of the paper), which is ``pi /
    pi_target`` wherever the policy that sampled, mu, is not much likelier to act so.

    Args:
        current: of the network that is trained.
        old: of the policies that it is held against.
        targets: V-trace's value targets and advantages [B], for the target network.
        config: clipping limits and weights of the terms, with schedules at their present values.
        entropy_coeff: current weight of the entropy bonus.
        kl_coeff: current weight of the KL penalty; 0 leaves it out.
    """
    weight = (old.behaviour_logp - old.logp).exp().clamp(max=config.target_worker_clipping)
    ratio = weight * (current.logp - old.behaviour_logp).exp()
    clipped = ratio.clamp(1.0 - config.clip_param, 1.0 + config.clip_param)
    policy_loss = -torch.min(ratio * targets.advantages, clipped * targets.advantages).mean()
    vf_loss = 0.5 * (current.values - targets.values).square().mean()
    entropy, kl = current.entropy.mean(), old.kl.mean()
    total = policy_loss + config.vf_loss_coeff * vf_loss - entropy_coeff * entropy
    return Loss(
        total + kl_coeff * kl if kl_coeff > 0.0 else total,
        {
            "policy_loss": policy_loss,
            "vf_loss": vf_loss,
            "vf_explained_var": explained(targets.values, current.values),
            "entropy": entropy,
            "mean_kl_loss": kl,
            "mean_IS": weight.mean(),
            "var_IS": weight.var(correction=0),
        },
    )


class APPOLearner(IMPALALearner):
    """IMPALA's learner with a target network and a KL penalty that adapts."""

    config: APPOConfig
    now: APPOConfig

    def __init__(self, config: APPOConfig, spaces: Spaces) -> None:
        super().__init__(config, spaces)
        self.target = deepcopy(self.module).requires_grad_(False)
        self.follower = TargetNetwork(self.target, self.optimizers[DEFAULT_OPTIMIZER])
        self.penalty = KLPenalty(config.kl_coeff, config.use_kl_loss)
        self.pace = Pace()
        if self.has_loss_of(APPOLearner) and by_hand.can_do(self.module, self.most_rows):
            self.by_hand = VTraceByHand(self.module, self.target)

    def compute_loss(self, minibatch: VTraceBatch) -> Loss:
        """``appo_loss`` of the current network against the target network."""
        if self.by_hand is not None:
            return self.by_hand.loss(minibatch, self._weights(), self.now)
        output = forward(self.module, minibatch.inputs)
        current = actor_critic(output, minibatch, self.module.distribution)
        old = self._old_policy(minibatch, output.dist_inputs)
        targets = correct(minibatch, output.values, old.logp, self.now)
        now = self.now
        return appo_loss(current, old, targets, now, now.entropy_coeff, self.kl_coeff)

    def _weights(self) -> Weights:
        return Weights(
            vf_loss_coeff=self.now.vf_loss_coeff,
            entropy_coeff=self.now.entropy_coeff,
            clip_param=self.now.clip_param,
            target_worker_clipping=self.now.target_worker_clipping,
            kl_coeff=self.kl_coeff,
        )

    @property
    def kl_coeff(self) -> float:
        """Weight of the KL penalty at present."""
        return self.penalty.at(self.timestep)

    def _old_policy(self, minibatch: VTraceBatch, dist_inputs: Tensor) -> OldPolicy:
        distribution, steps = self.module.distribution, minibatch.steps
        with torch.no_grad():
            output = self.target.forward_train(minibatch.inputs)[Columns.ACTION_DIST_INPUTS]
            inputs = output.reshape(-1, output.shape[-1])[steps].float()
            logp = distribution.log_prob(inputs, minibatch.actions)
        with torch.set_grad_enabled(self.kl_coeff > 0.0):
            kl = distribution.kl(inputs, dist_inputs[steps])
        return OldPolicy(logp, minibatch.behaviour_logp, kl)

    def after_update(self, metrics: Metrics) -> None:
        """Move the target network and the weight of the KL penalty, when it is time."""
        super().after_update(metrics)
        metrics["curr_kl_coeff"] = self.kl_coeff
        if self.pace.step(self.now.target_network_update_interval):
            self.follower.move(self.now.tau)
        self.penalty.adapt(metrics["mean_kl_loss"], self.now.kl_target)

    def get_state(self, components: Paths = None, **others: Any) -> dict[str, Any]:
        """State tree; the target network is part of it."""
        return super().get_state(components, **others) | {
            "target": get_module_state(self.target.state_dict()),
            "kl_coeff": self.kl_coeff,
            "pace": self.pace.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``."""
        super().set_state(state)
        set_module_state(self.target, state["target"])
        self.penalty.restore(float(state["kl_coeff"]))
        self.pace.set_state(state["pace"])


class APPO(IMPALA):
    """As IMPALA, but that train batches go through a buffer, of which updates draw at random.

    What the buffer holds is not part of a checkpoint: it is filled anew.
    """

    config: APPOConfig
    config_class = APPOConfig
    learner_class = APPOLearner

    def _connect(self) -> None:
        super()._connect()
        self.buffer = self._empty_buffer()

    def _empty_buffer(self) -> CircularBuffer[list[Fragment]]:
        config = self.config
        rng = derive_rng(config.seed, Role.CIRCULAR_BUFFER, generation=self.num_restores)
        if not config.use_circular_buffer:
            return CircularBuffer(1, 1, rng)
        room, uses = config.circular_buffer_num_batches, config.circular_buffer_iterations_per_batch
        return CircularBuffer(room, uses, rng)

    def training_step(self) -> None:
        """One train batch into the buffer, and as many updates as a batch is good for."""
        self.buffer.add(self.gather())
        for _ in range(self.buffer.num_due):
            fragments = self.buffer.draw()
            if min(fragment.weights_seq_no for fragment in fragments) >= self.oldest_seq_no:
                self.update(fragments)
            else:
                self.count_dropped(fragments)

    def _set_state(self, state: dict[str, Any]) -> None:
        super()._set_state(state)
        self.buffer = self._empty_buffer()
