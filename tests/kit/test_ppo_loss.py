"""PPO's loss against arithmetic by hand, term by term and as a whole."""

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from off_policy import MEMORY, environment, old_fragments, single_steps

from rllib.algorithms.ppo import PPOBatch, PPOConfig, PPOLearner, ppo_loss
from rllib.distributions import Categorical
from rllib.envs.counter import CounterEnv
from rllib.envs.make import probe_spaces

HALF = math.log(0.5)
GAMMA, LAMBDA = 0.9, 0.8


class Output(NamedTuple):
    """What the current network says."""

    action_dist_inputs: torch.Tensor
    values: torch.Tensor


def loss_of(
    ratios, advantages, values=None, targets=None, kl_coeff=0.0, entropy_coeff=0.0, **settings
):
    """Two actions; the first has probability r / 2 now and had 1/2, so its ratio is r."""
    count = len(ratios)
    p = torch.tensor(ratios) / 2
    output = Output(
        torch.stack([p, 1 - p], -1).log().requires_grad_(),
        torch.tensor(values or [0.0] * count, requires_grad=True),
    )
    batch = PPOBatch(
        inputs=None,
        actions=torch.zeros(count, dtype=torch.int64),
        old_dist_inputs=torch.full((count, 2), HALF),
        old_logp=torch.full((count,), HALF),
        advantages=torch.tensor(advantages),
        value_targets=torch.tensor(targets or [0.0] * count),
        mask=None,
    )
    config = PPOConfig().training(clip_param=0.2, **settings)
    weights = {"kl_coeff": kl_coeff, "entropy_coeff": entropy_coeff}
    return ppo_loss(*output, batch, Categorical(), config, **weights), output


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "has_gradient"),
    [
        (1.0, 2.0, 2.0, True),
        (1.1, 2.0, 2.2, True),
        (1.5, 2.0, 2.4, False),  # better than before by more than the clip: no reason to go on
        (0.5, 2.0, 1.0, True),  # worse than before: always pulled back
        (0.5, -2.0, -1.6, False),
        (1.5, -2.0, -3.0, True),
    ],
)
def test_the_surrogate_is_clipped_on_the_pessimistic_side(
    ratio, advantage, objective, has_gradient
):
    loss, output = loss_of([ratio], [advantage])
    assert loss.total.item() == pytest.approx(-objective)
    loss.total.backward()
    assert bool(output.action_dist_inputs.grad.abs().max() > 1e-6) == has_gradient


def test_the_surrogate_is_the_mean_over_rows():
    loss, _ = loss_of([1.0, 1.1], [2.0, 4.0])
    assert loss.metrics["policy_loss"].item() == pytest.approx(-(2.0 + 4.4) / 2)


def test_value_errors_are_squared_weighed_and_clipped_per_row():
    settings = {"values": [1.0, 5.0], "targets": [0.0, 0.0], "vf_loss_coeff": 0.5}
    loss, output = loss_of([1.0, 1.0], [0.0, 0.0], vf_clip_param=10.0, **settings)
    assert loss.metrics["vf_loss"].item() == pytest.approx((1 + 10) / 2)
    assert loss.metrics["vf_loss_unclipped"].item() == pytest.approx((1 + 25) / 2)
    assert loss.total.item() == pytest.approx(0.5 * 5.5)
    loss.total.backward()
    assert output.values.grad.tolist() == [0.5, 0.0]
    unclipped, _ = loss_of([1.0, 1.0], [0.0, 0.0], vf_clip_param=None, **settings)
    assert unclipped.metrics["vf_loss"].item() == pytest.approx(13.0)


def test_entropy_is_a_bonus():
    loss, output = loss_of([1.5], [0.0], entropy_coeff=0.1)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert loss.metrics["entropy"].item() == pytest.approx(entropy)
    assert loss.total.item() == pytest.approx(-0.1 * entropy)
    loss.total.backward()
    # Descent must flatten the policy: the likelier action's logit goes down.
    assert output.action_dist_inputs.grad[0, 0] > 0


def test_kl_from_the_old_policy_is_a_penalty():
    loss, _ = loss_of([1.5], [0.0], kl_coeff=2.0)
    kl = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert loss.metrics["mean_kl_loss"].item() == pytest.approx(kl)
    assert loss.total.item() == pytest.approx(2 * kl)


def test_terms_that_weigh_nothing_are_reported_without_gradient():
    loss, _ = loss_of([1.5], [1.0])
    assert not loss.metrics["entropy"].requires_grad
    assert not loss.metrics["mean_kl_loss"].requires_grad
    assert loss.metrics["entropy"] > 0
    assert loss.metrics["mean_kl_loss"] > 0


# All of it at once, of fragments of another policy, by plain sums over single steps.


def advantages_by_definition(batch, steps):
    """By row, term by term: discounted TD errors of the rest of the episode (Schulman et al. 2016,
    eq. 16), as far as the fragment goes."""
    num_envs = batch.rewards.shape[1]

    def delta(row):
        step = steps[row]
        following = 0.0 if batch.terminateds.reshape(-1)[row] else step.following.item()
        return float(batch.rewards.reshape(-1)[row]) + GAMMA * following - step.value.item()

    def advantage(row):
        total, weight = 0.0, 1.0
        while row in steps:
            total += weight * delta(row)
            if batch.dones.reshape(-1)[row]:
                break
            row, weight = row + num_envs, weight * GAMMA * LAMBDA
        return total

    return {row: advantage(row) for row in steps}


@pytest.mark.parametrize("autoreset", list(AutoresetMode))
@pytest.mark.parametrize("model", [{"fcnet_hiddens": (4,)}, MEMORY], ids=["mlp", "lstm"])
def test_loss_and_gradients_are_those_of_plain_sums_over_single_steps(model, autoreset):
    settings = (
        environment(PPOConfig())
        .training(gamma=GAMMA, lambda_=LAMBDA, clip_param=0.1, vf_clip_param=0.5)
        .training(vf_loss_coeff=0.7, entropy_coeff=0.02, kl_coeff=0.3)
        .rl_module(model_config=model)
    )
    module, batches = old_fragments(settings, autoreset)
    learner = PPOLearner(settings, probe_spaces(CounterEnv))
    learner.module, learner.by_hand = module, None
    parts = [(batch, single_steps(module, batch)) for batch in batches]
    found = [advantages_by_definition(*part) for part in parts]
    every = np.array([each for advantages in found for each in advantages.values()])
    terms, num_clipped = [], 0
    for (batch, steps), advantages in zip(parts, found, strict=True):
        old = torch.from_numpy(batch.action_dist_inputs.copy()).flatten(0, 1).log_softmax(-1)
        actions = batch.actions.reshape(-1)
        for row, step in steps.items():
            advantage = (advantages[row] - every.mean()) / every.std()
            ratio = (step.logp - old[row, actions[row]]).exp()
            limited = min(max(ratio.item(), 0.9), 1.1)
            num_clipped += limited * advantage < ratio.item() * advantage
            surrogate = torch.min(ratio * advantage, ratio.clamp(0.9, 1.1) * advantage)
            error = (step.value - step.value.item() - advantages[row]) ** 2
            kl = (old[row].exp() * (old[row] - step.logits.log_softmax(-1))).sum()
            terms.append(-surrogate + 0.7 * error.clamp(max=0.5) - 0.02 * step.entropy + 0.3 * kl)
    expected = torch.stack(terms).mean()
    loss = learner.compute_loss(learner.build_train_batch(tuple(batches)))
    assert loss.total.item() == pytest.approx(expected.item(), rel=1e-4)
    assert 0 < num_clipped < len(terms)
    for each, ours in zip(
        torch.autograd.grad(expected, list(module.parameters()), allow_unused=True),
        torch.autograd.grad(loss.total, list(module.parameters()), allow_unused=True),
        strict=True,
    ):
        assert (each is None) == (ours is None)
        if each is not None:
            torch.testing.assert_close(ours, each, atol=1e-4, rtol=1e-3)
