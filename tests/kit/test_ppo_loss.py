"""PPO's loss against arithmetic by hand, term by term."""

import math
from typing import NamedTuple

import pytest
import torch

from rllib.algorithms.ppo import PPOBatch, PPOConfig, ppo_loss
from rllib.distributions import Categorical

HALF = math.log(0.5)


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
