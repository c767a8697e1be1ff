"""DQN's targets and loss against the papers' formulas, one row at a time in double precision."""

import math

import numpy as np
import pytest
import torch

from rllib.algorithms.dqn import dqn_loss, dqn_targets
from rllib.estimators.action_values import huber, squared, support
from rllib.modules.q_module import Predicted

B, A, M = 64, 4, 11
V_MIN, V_MAX = -3.0, 5.0
ATOMS = support(V_MIN, V_MAX, M)


def rows(seed, num_atoms=1):
    """Random predictions, and what a replay buffer says of the same rows."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    logits = None if num_atoms == 1 else normal(B, A, M)
    values = normal(B, A) * 3 if logits is None else (logits.softmax(-1) * ATOMS).sum(-1)
    ended = torch.rand(B, generator=generator) < 0.2
    return (
        Predicted(values, logits),
        torch.randint(0, A, (B,), generator=generator),
        normal(B) * 2,
        torch.where(ended, 0.0, 0.99 ** torch.randint(1, 4, (B,), generator=generator)),
        torch.rand(B, generator=generator),
    )


def test_targets_are_rewards_and_the_discounted_value_of_the_best_action():
    following, best, rewards, discounts, _ = rows(1)
    targets = dqn_targets(following, best, rewards, discounts, ATOMS)
    for i in range(B):
        later = following.values[i, best[i]].item()
        expected = rewards[i].item() + discounts[i].item() * later
        assert targets[i].item() == pytest.approx(expected, rel=1e-5)


def test_distributions_are_moved_and_shared_between_neighbouring_atoms():
    following, best, rewards, discounts, _ = rows(2, M)
    targets = dqn_targets(following, best, rewards, discounts, ATOMS)
    gap = (V_MAX - V_MIN) / (M - 1)
    for i in range(B):
        probs = following.logits[i, best[i]].double().softmax(-1).tolist()
        expected = [0.0] * M
        for j, p in enumerate(probs):
            moved = rewards[i].item() + discounts[i].item() * (V_MIN + j * gap)
            place = (min(max(moved, V_MIN), V_MAX) - V_MIN) / gap
            low, high = math.floor(place), math.ceil(place)
            expected[low] += p * (1.0 if low == high else high - place)
            expected[high] += p * (place - low)
        np.testing.assert_allclose(targets[i].numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("error_loss", [huber, squared])
def test_the_loss_is_a_weighted_mean_over_td_errors(error_loss):
    online, actions, targets, _, weights = rows(3)
    online.values.requires_grad_()
    loss = dqn_loss(online, actions, targets, weights, error_loss)
    total, gradient = 0.0, np.zeros((B, A))
    for i in range(B):
        error = online.values[i, actions[i]].item() - targets[i].item()
        small = abs(error) <= 1.0 or error_loss is squared
        each = 0.5 * error**2 if small else abs(error) - 0.5
        slope = error if small else math.copysign(1.0, error)
        total += weights[i].item() * each / B
        gradient[i, actions[i]] = weights[i].item() * slope / B
        assert loss.arrays["td_errors"][i].item() == pytest.approx(abs(error), rel=1e-5)
        assert loss.arrays["qf"][i] == online.values[i, actions[i]]
    assert loss.total.item() == pytest.approx(total, rel=1e-5)
    assert loss.metrics["qf_loss"] is loss.total
    loss.total.backward()
    np.testing.assert_allclose(online.values.grad.numpy(), gradient, atol=1e-6)


def test_distributions_have_the_cross_entropy_as_loss_and_error():
    online, actions, rewards, discounts, weights = rows(4, M)
    following, best, *_ = rows(5, M)
    targets = dqn_targets(following, best, rewards, discounts, ATOMS)
    loss = dqn_loss(online, actions, targets, weights, huber)
    total = 0.0
    for i in range(B):
        log_p = online.logits[i, actions[i]].double().log_softmax(-1)
        entropy = -float((targets[i].double() * log_p).sum())
        total += weights[i].item() * entropy / B
        assert loss.arrays["td_errors"][i].item() == pytest.approx(entropy, rel=1e-4)
    assert loss.total.item() == pytest.approx(total, rel=1e-5)


def test_nothing_comes_after_the_end_however_large_the_forbidden_values_are():
    following = Predicted(torch.full((1, A), -1e9), None)
    targets = dqn_targets(
        following, torch.tensor([0]), torch.tensor([2.0]), torch.tensor([0.0]), ATOMS
    )
    assert targets.tolist() == [2.0]
