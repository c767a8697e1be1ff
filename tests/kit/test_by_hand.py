"""Gradients by hand are those of autograd, and are left to it where there is no way by hand."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib.algorithms.ppo import PPOBatch, PPOConfig, PPOLearner
from rllib.columns import Columns
from rllib.distributions import Categorical, DiagGaussian, Distribution
from rllib.distributions.by_hand import TERMS
from rllib.envs.make import Spaces
from rllib.errors import TrainingError
from rllib.learning.loss import Loss
from rllib.learning.peers import Alone

B, D, A = 33, 5, 3
OBS = gym.spaces.Box(-1.0, 1.0, (D,))
CHOICE, REALS = gym.spaces.Discrete(A), gym.spaces.Box(-1.0, 1.0, (A,))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def draw_inputs(rng: np.random.Generator, distribution: Distribution) -> torch.Tensor:
    width = 2 * A if isinstance(distribution, DiagGaussian) else A
    return torch.from_numpy(rng.normal(0.0, 0.7, (B, width)).astype(np.float32))


def draw_actions(rng: np.random.Generator, distribution: Distribution) -> torch.Tensor:
    if isinstance(distribution, DiagGaussian):
        return torch.from_numpy(rng.normal(size=(B, A)).astype(np.float32))
    return torch.from_numpy(rng.integers(A, size=B))


@pytest.mark.parametrize("distribution", [Categorical(), DiagGaussian()])
@pytest.mark.parametrize(("of_entropy", "of_kl"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.7), (0.3, 0.7)])
def test_terms_are_those_of_the_distribution_and_so_are_their_gradients(
    rng: np.random.Generator, distribution: Distribution, of_entropy: float, of_kl: float
) -> None:
    inputs = draw_inputs(rng, distribution).requires_grad_()
    old, actions = draw_inputs(rng, distribution), draw_actions(rng, distribution)
    of_logp = torch.from_numpy(rng.normal(size=B).astype(np.float32))
    logp = distribution.log_prob(inputs, actions)
    entropy, kl = distribution.entropy(inputs), distribution.kl(old, inputs)
    ((of_logp * logp).sum() + of_entropy * entropy.sum() + of_kl * kl.sum()).backward()

    terms = TERMS[type(distribution)](inputs.detach().numpy(), actions.numpy(), old.numpy())
    for by_hand, expected in ((terms.logp, logp), (terms.entropy, entropy), (terms.kl, kl)):
        torch.testing.assert_close(torch.from_numpy(by_hand), expected.detach())
    gradient = terms.gradient(of_logp.numpy(), of_entropy, of_kl)
    assert gradient.dtype == np.float32
    torch.testing.assert_close(torch.from_numpy(gradient), inputs.grad)


def learner(action_space: gym.Space[Any], model: dict[str, Any], **training: Any) -> PPOLearner:
    config = PPOConfig().environment("CartPole-v1").debugging(seed=3)
    config.training(**{"minibatch_size": B, "grad_clip": 0.5} | training)
    config.rl_module(model_config={"fcnet_hiddens": [16, 8], **model})
    return PPOLearner(config, Spaces(OBS, action_space))


def draw_batch(rng: np.random.Generator, learner: PPOLearner) -> PPOBatch:
    """With ratios on both sides of the clipping range."""
    distribution = learner.module.distribution
    floats = rng.normal(size=(3, B)).astype(np.float32)
    obs = torch.from_numpy(rng.normal(size=(B, D)).astype(np.float32))
    old, actions = draw_inputs(rng, distribution), draw_actions(rng, distribution)
    logp = distribution.log_prob(old, actions) + 0.3 * torch.from_numpy(floats[0])
    rest = torch.from_numpy(floats)
    return PPOBatch({Columns.OBS: obs}, actions, old, logp, rest[1], 3 * rest[2], None)


@pytest.mark.parametrize("kernels", ["1", "0"])
@pytest.mark.parametrize(
    ("action_space", "model", "training"),
    [
        (CHOICE, {}, {}),
        (CHOICE, {"fcnet_activation": "relu"}, {"entropy_coeff": 0.1}),
        (CHOICE, {"head_fcnet_hiddens": [4]}, {"use_kl_loss": False, "vf_clip_param": None}),
        (CHOICE, {"fcnet_hiddens": []}, {"vf_clip_param": 1.0, "vf_loss_coeff": 0.5}),
        (CHOICE, {"fcnet_activation": "linear"}, {"clip_param": 0.1}),
        (REALS, {}, {"entropy_coeff": 0.1}),
        (REALS, {"fcnet_hiddens": [256, 200]}, {"vf_loss_coeff": 0.5}),
        (REALS, {"free_log_std": False}, {"vf_clip_param": 1.0}),
        (REALS, {"log_std_clip_param": 0.01, "free_log_std": False}, {}),
        (REALS, {"log_std_clip_param": 0.5, "initial_log_std": -1.0}, {}),
    ],
)
def test_the_gradient_of_ppo_is_that_of_autograd(
    rng: np.random.Generator,
    action_space: gym.Space[Any],
    model: dict[str, Any],
    training: dict[str, Any],
    kernels: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RLLIB_KERNELS", kernels)
    by_hand, by_autograd = (learner(action_space, model, **training) for _ in range(2))
    assert by_hand.by_hand is not None
    by_autograd.by_hand = None
    with torch.no_grad():  # value and policy outputs begin near 0, where little could go wrong
        for each in (by_hand, by_autograd):
            torch.manual_seed(1)
            for parameter in each.module.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    batch = draw_batch(rng, by_hand)
    losses = {each: each.compute_loss(batch) for each in (by_hand, by_autograd)}
    losses[by_autograd].total.backward()
    losses[by_hand].backward()
    for (name, own), other in zip(
        by_hand.module.named_parameters(), by_autograd.module.parameters(), strict=True
    ):
        torch.testing.assert_close(own.grad, other.grad, rtol=3e-5, atol=3e-6, msg=name)
        assert other.grad.abs().max() > 0 or "clip" in str(model), name
    for name, value in losses[by_autograd].scalars().items():
        assert float(losses[by_hand].scalars()[name]) == pytest.approx(float(value), 1e-5, 1e-6)


def test_batches_of_any_size_one_after_the_other(rng: np.random.Generator) -> None:
    one = learner(CHOICE, {})
    batch = draw_batch(rng, one)
    for size in (4, B, 7):
        part = PPOBatch(
            *(
                {Columns.OBS: batch.inputs[Columns.OBS][:size]},
                *(x[:size] for x in batch[1:-1]),
                None,
            )
        )
        one.compute_loss(part).backward()
        own = one.optimizers["default_optimizer"].gradient.clone()
        other = learner(CHOICE, {})
        other.by_hand = None
        other.compute_loss(part).total.backward()
        gradient = other.optimizers["default_optimizer"].gradient
        torch.testing.assert_close(own, gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "training"),
    [
        ({"fcnet_activation": "silu"}, {}),
        ({"vf_share_layers": True}, {}),
        ({"fcnet_use_layernorm": True}, {}),
        ({"use_lstm": True}, {}),
        ({}, {"minibatch_size": 1 << 22}),
    ],
)
def test_what_cannot_be_done_by_hand_is_left_to_autograd(
    model: dict[str, Any], training: dict[str, Any]
) -> None:
    assert learner(CHOICE, model, **training).by_hand is None


def test_spaces_without_a_way_by_hand_are_left_to_autograd() -> None:
    assert learner(gym.spaces.MultiDiscrete([2, 3]), {}).by_hand is None


def test_a_loss_of_ones_own_is_left_to_autograd() -> None:
    class Own(PPOLearner):
        def compute_loss(self, minibatch: PPOBatch) -> Loss:
            loss = super().compute_loss(minibatch)
            return loss._replace(total=loss.total + 1.0)

    config = PPOConfig().environment("CartPole-v1")
    assert Own(config, Spaces(OBS, CHOICE)).by_hand is None


def test_a_loss_that_is_not_finite_is_refused_before_the_step(rng: np.random.Generator) -> None:
    one = learner(CHOICE, {})
    batch = draw_batch(rng, one)
    batch.advantages[0] = np.nan
    before = one.get_module_state()
    with pytest.raises(TrainingError, match="policy_loss = nan"):
        one.descent.step(one.compute_loss(batch), 1, Alone())
    for name, value in one.get_module_state().items():
        assert (value == before[name]).all()
