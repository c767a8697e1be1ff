"""C51's projection against the paper's loop in double precision; losses and streams by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import huber_loss

from rllib.estimators.action_values import (
    cross_entropy,
    dueling,
    huber,
    mean_return,
    project,
    squared,
    support,
    values_of,
)


def scalar_project(probs, reward, discount, terminated, v_min, v_max):
    """Algorithm 1 of Bellemare et al. 2017 for one row, in Python floats."""
    num_atoms = len(probs)
    gap = (v_max - v_min) / (num_atoms - 1)
    projected = [0.0] * num_atoms
    for j, p in enumerate(probs):
        moved = reward + (0.0 if terminated else discount) * (v_min + j * gap)
        # The paper cuts ``moved``; by rounding b may then still lie behind the last atom.
        b = min(max((moved - v_min) / gap, 0.0), num_atoms - 1.0)
        lower, upper = int(np.floor(b)), int(np.ceil(b))
        if lower == upper:
            projected[lower] += p
        else:
            projected[lower] += p * (upper - b)
            projected[upper] += p * (b - lower)
    return projected


@settings(max_examples=100, deadline=None)
@given(
    st.integers(2, 60),
    st.floats(-20, 0),
    st.floats(0.5, 30),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_projection_equals_the_scalar_reference(num_atoms, v_min, width, gamma, seed):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(num_atoms, 0.3), 6)
    rewards = rng.normal(size=6, scale=width)
    discounts = gamma ** rng.integers(1, 4, 6)
    terminateds = rng.integers(0, 2, 6).astype(bool)
    atoms = support(v_min, v_min + width, num_atoms)
    found = project(
        *(torch.tensor(x, dtype=torch.float32) for x in (probs, rewards, discounts)),
        torch.from_numpy(terminateds),
        atoms,
    )
    rows = zip(probs, rewards, discounts, terminateds, strict=True)
    expected = [scalar_project(*row, v_min, v_min + width) for row in rows]
    # Of float32, where the support is narrow and far from 0.
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(found.sum(-1), 1.0, atol=2e-4)


def test_projection_by_hand():
    atoms = support(-1.0, 1.0, 3)
    assert atoms.tolist() == [-1, 0, 1]
    probs = torch.tensor([[0.0, 0.5, 0.5]] * 3)
    rewards, discounts = torch.tensor([0.5, -0.25, 9.0]), torch.tensor([0.5, 0.5, 1.0])
    terminateds = torch.tensor([False, True, False])
    # 0.5 + 0.5 (0, 1) = 0.5 and 1; a terminated row is all at -0.25; the last lies beyond the end.
    expected = [[0.0, 0.25, 0.75], [0.25, 0.75, 0.0], [0.0, 0.0, 1.0]]
    np.testing.assert_allclose(project(probs, rewards, discounts, terminateds, atoms), expected)


def test_the_projection_keeps_the_mean_within_the_support():
    torch.manual_seed(0)
    atoms = support(-10.0, 10.0, 51)
    logits, rewards = torch.randn(8, 51), torch.randn(8)
    live, discounts = torch.zeros(8, dtype=torch.bool), torch.full((8,), 0.5)
    projected = project(logits.softmax(-1), rewards, discounts, live, atoms)
    means = (projected * atoms).sum(-1)
    torch.testing.assert_close(means, rewards + 0.5 * mean_return(logits, atoms), atol=1e-4, rtol=0)


def test_cross_entropy_is_least_where_the_distributions_agree():
    logits = torch.tensor([[0.0, 1.0, -1.0]])
    target = logits.softmax(-1)
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    torch.testing.assert_close(cross_entropy(logits, target), entropy)
    assert cross_entropy(logits + torch.tensor([1.0, 0, 0]), target) > entropy
    assert cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])).item() == (
        pytest.approx(np.log(2))
    )


def test_errors_are_squared_or_huber():
    errors = torch.tensor([-3.0, -0.5, 0.0, 1.0, 2.0], requires_grad=True)
    assert squared(errors).tolist() == [4.5, 0.125, 0.0, 0.5, 2.0]
    assert huber(errors).tolist() == [2.5, 0.125, 0.0, 0.5, 1.5]
    for delta in (0.5, 1.0, 2.5):
        expected = huber_loss(errors, torch.zeros(5), delta=delta, reduction="none")
        torch.testing.assert_close(huber(errors, delta), expected)
        (gradient,) = torch.autograd.grad(huber(errors, delta).sum(), errors)
        (expected,) = torch.autograd.grad(expected.sum(), errors)
        torch.testing.assert_close(gradient, expected)


def test_two_streams_become_action_values():
    values, advantages = torch.tensor([2.0]), torch.tensor([[1.0, 2.0, 6.0]])
    assert dueling(values, advantages).tolist() == [[0.0, 1.0, 5.0]]
    atoms = dueling(torch.zeros(1, 2), torch.tensor([[[1.0, 0.0], [3.0, 4.0]]]))
    assert atoms.tolist() == [[[-1, -2], [1, 2]]]


def test_values_of_the_actions_that_were_taken():
    q_values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert values_of(q_values, torch.tensor([1, 0])).tolist() == [2.0, 3.0]
    assert values_of(q_values[..., None], torch.tensor([1, 0])).tolist() == [[2.0], [3.0]]
