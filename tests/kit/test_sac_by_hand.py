"""SAC's gradients by hand are those of autograd."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib.algorithms.sac import Chosen, SACConfig, SACLearner
from rllib.envs.make import Spaces
from rllib.kernels import is_wide
from rllib.learning.sac_by_hand import SACByTorch, SACCompiled, sac_by_hand
from rllib.learning.transition_batch import TransitionBatch
from rllib.modules.rl_module import Batch
from rllib.replay import Transitions

B, D, A = 37, 3, 2
OBS = gym.spaces.Box(-1.0, 1.0, (D,), np.float32)
BOX = gym.spaces.Box(-2.0, 2.0, (A,), np.float32)


def settings(model: dict[str, Any], **training: Any) -> SACConfig:
    config = SACConfig().environment("Pendulum-v1").debugging(seed=3)
    config.training(**{"train_batch_size_per_learner": B} | training)
    return config.rl_module(model_config={"fcnet_hiddens": (16, 8), **model})


def stirred(config: SACConfig) -> SACLearner:
    """With weights that are the same in every call, and log standard deviations beyond limits."""
    learner = SACLearner(config, Spaces(OBS, BOX))
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in learner.module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        learner.module.pi.out.weight[A:].mul_(8.0)
        learner.module.pi.out.bias[A:].add_(1.0)
    return learner


def draw() -> Transitions:
    rng = np.random.default_rng(5)
    ended = rng.random(B) < 0.3
    return Transitions(
        obs=rng.standard_normal((B, D), dtype=np.float32),
        actions=rng.uniform(-1, 1, (B, A)).astype(np.float32),
        rewards=rng.standard_normal(B, dtype=np.float32),
        next_obs=rng.standard_normal((B, D), dtype=np.float32),
        terminateds=ended,
        discounts=np.where(ended, 0.0, 0.9).astype(np.float32),
        n=np.ones(B, np.int64),
        indices=np.arange(B),
        weights=rng.random(B, dtype=np.float32),
    )


def gradients(learner: SACLearner) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Of one batch by module's parameter, and all that is reported, with the same noise always."""
    batch = learner.build_train_batch((draw(),))
    torch.manual_seed(4)
    with learner.precision.autocast():
        loss = learner.compute_loss(batch)
    learner.descent._backward(loss, 1.0)
    found = {
        name: parameter.grad.clone()
        for name, parameter in learner.module.named_parameters()
        if parameter.grad is not None
    }
    arrays = {
        f"{name} {i}": value
        for name, values in loss.arrays.items()
        for i, value in enumerate(values.tolist())
    }
    return found, {name: float(value) for name, value in loss.scalars().items()} | arrays


@pytest.mark.parametrize(
    ("model", "training"),
    [
        ({}, {}),
        ({"fcnet_activation": "tanh"}, {"twin_q": False}),
        ({"head_fcnet_hiddens": (6,), "head_fcnet_activation": "linear"}, {"initial_alpha": 0.3}),
        ({"fcnet_hiddens": ()}, {}),
        ({"fcnet_hiddens": (256, 256)}, {}),  # by the library for wide layers, where there is one
    ],
)
@pytest.mark.parametrize("kernels", ["0", "1"])
def test_the_gradients_are_those_of_autograd(
    model: dict[str, Any], training: dict[str, Any], kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLLIB_KERNELS", kernels)
    config = settings(model, **training)
    by_hand, by_autograd = stirred(config), stirred(config)
    assert type(by_hand.by_hand) is (SACCompiled if is_wide() else SACByTorch)
    by_autograd.by_hand = None
    (ours, told), (theirs, expected) = gradients(by_hand), gradients(by_autograd)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-5, msg=name)
        assert gradient.abs().max() > 0, name
    assert told == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.skipif(not is_wide(), reason="nothing is compiled for this processor")
def test_threads_change_no_number() -> None:
    learner = stirred(settings({"fcnet_hiddens": (200, 72)}))
    found = []
    for num_threads in (1, 3):
        learner.by_hand = sac_by_hand(learner.module, None, num_threads, learner.draw_noise)
        assert isinstance(learner.by_hand, SACCompiled)
        found.append(gradients(learner))
    (alone, told), (shared, told_too) = found
    assert told == told_too
    for name, gradient in alone.items():
        assert torch.equal(gradient, shared[name]), name


def test_in_16_bits_they_are_so_to_three_digits_or_so() -> None:
    config = settings({"fcnet_hiddens": (64, 64)}).learners(mixed_precision="bfloat16")
    by_hand, by_autograd = stirred(config), stirred(config)
    assert by_hand.by_hand is not None
    by_autograd.by_hand = None
    (ours, _), (theirs, _) = gradients(by_hand), gradients(by_autograd)
    for name, gradient in theirs.items():
        difference = (ours[name] - gradient).norm() / gradient.norm()
        assert difference < 0.03, name


@pytest.mark.parametrize(
    ("space", "model"),
    [
        (gym.spaces.Discrete(3), {}),
        (BOX, {"fcnet_activation": "silu"}),
        (BOX, {"fcnet_use_layernorm": True}),
        (BOX, {"fusionnet_hiddens": (4,)}),
    ],
)
def test_what_cannot_be_done_by_hand_is_left_to_autograd(
    space: gym.Space[Any], model: dict[str, Any]
) -> None:
    assert SACLearner(settings(model), Spaces(OBS, space)).by_hand is None


def test_losses_of_ones_own_are_differentiated_by_autograd() -> None:
    class OwnChoice(SACLearner):
        def choose(self, inputs: Batch) -> Chosen:
            return super().choose(inputs)

    class OwnTargets(SACLearner):
        def targets_of(self, batch: TransitionBatch, alpha: torch.Tensor) -> torch.Tensor:
            return super().targets_of(batch, alpha)

    for learner in (OwnChoice, OwnTargets):
        assert learner(settings({}), Spaces(OBS, BOX)).by_hand is None
