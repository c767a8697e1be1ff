"""Compiled convolutions compute what torch computes, for any shape, and the same every time."""

import pickle
from collections.abc import Iterator
from copy import deepcopy
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rllib import kernels
from rllib.algorithms.ppo import PPOConfig, PPOLearner
from rllib.config.sections import ModelConfig
from rllib.envs.make import Spaces
from rllib.modules import networks
from rllib.modules.networks import ImageEncoder, compute_images
from rllib.policies.policy import make_policy

compiled = pytest.mark.skipif(not kernels.has_conv(), reason="not on this processor")

NATURE = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
SHAPES = [
    ((4, 84, 84), NATURE),
    ((84, 84, 3), NATURE),
    ((84, 84, 4), ((16, 8, 4), (32, 4, 2))),
    ((1, 36, 40), ((16, (3, 5), (2, 1)), (48, 4, 2), (20, 3, 1))),
    ((3, 23, 29), ((10, 3, 1), (13, 3, 2), (130, 2, 1), (96, 1, 1))),
    ((9, 9, 2), ((33, 3, 3),)),
]


class Rounded(torch.autograd.Function):
    """To bfloat16, the gradient as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.bfloat16().double()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].bfloat16().double()


def rounded_once(weight: Tensor) -> Tensor:
    """To bfloat16, but not the gradient."""
    return weight + (weight.bfloat16() - weight).detach()


def reference(encoder: ImageEncoder, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Features, and copies of the parameters that they depend on, in twice the precision."""
    x = (images.movedim(-1, -3) if encoder.channels_last else images).double()
    copies = [each.detach().double().requires_grad_() for each in encoder.parameters()]
    layers = [each for each in encoder.layers if isinstance(each, nn.Conv2d)]
    for i, layer in enumerate(layers):
        weight, bias = copies[2 * i : 2 * i + 2]
        weight = rounded_once(weight if i else weight / 255.0)
        y = torch.nn.functional.conv2d(x, weight, bias, layer.stride)
        x = Rounded.apply(y.relu())
    return x.flatten(1), copies


def make(shape: tuple[int, ...], filters: Any, num_rows: int) -> tuple[ImageEncoder, Tensor]:
    torch.manual_seed(0)
    encoder = ImageEncoder(shape, ModelConfig(conv_filters=filters))
    for each in encoder.parameters():
        if each.dim() == 1:
            nn.init.normal_(each, 0.0, 0.1)
    return encoder, torch.randint(0, 256, (num_rows, *shape), dtype=torch.uint8)


def features(encoder: ImageEncoder, images: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        found: Tensor = encoder(images)
    return found.float()


def gradients(encoder: ImageEncoder, images: Tensor) -> list[Tensor]:
    encoder.zero_grad()
    out = features(encoder, images)
    (out * weights_of(out)).sum().backward()
    return [each.grad.clone() for each in encoder.parameters() if each.grad is not None]


def assert_gradients(encoder: ImageEncoder, images: Tensor, expected: list[Tensor]) -> None:
    """To the last bit."""
    for found, each in zip(gradients(encoder, images), expected, strict=True):
        assert torch.equal(found, each)


def weights_of(out: Tensor) -> Tensor:
    return torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).bfloat16().float()


def assert_near(found: Tensor, expected: Tensor) -> None:
    """Sums in another order now and then round to the number beside."""
    error = (found.double() - expected).norm() / expected.norm()
    assert error < 5e-3, error


@compiled
@pytest.mark.parametrize("num_rows", [1, 2, 17, 34])
@pytest.mark.parametrize(("shape", "filters"), SHAPES)
def test_results_and_gradients(shape: tuple[int, ...], filters: Any, num_rows: int) -> None:
    encoder, images = make(shape, filters, num_rows)
    expected, copies = reference(encoder, images)
    assert_near(features(encoder, images), expected.detach())
    (expected * weights_of(expected)).sum().backward()
    for found, copy in zip(gradients(encoder, images), copies, strict=True):
        assert copy.grad is not None
        assert_near(found, copy.grad)


@compiled
def test_it_is_near_what_torch_does() -> None:
    encoder, images = make((4, 84, 84), NATURE, 8)
    found, of_parameters = features(encoder, images), gradients(encoder, images)
    encoder.compiled = None
    torch.testing.assert_close(features(encoder, images), found, atol=0.03, rtol=0.03)
    for mine, torchs in zip(of_parameters, gradients(encoder, images), strict=True):
        assert (mine - torchs).norm() < 0.15 * torchs.norm()


@compiled
@pytest.mark.parametrize("num_rows", [1, 3, 16, 50])
def test_the_numbers_do_not_depend_on_threads(num_rows: int) -> None:
    encoder, images = make((4, 84, 84), NATURE, num_rows)
    out, of_parameters = features(encoder, images), gradients(encoder, images)
    for num_threads in (2, 3):
        compute_images(encoder, num_threads)
        assert torch.equal(features(encoder, images), out)
        assert_gradients(encoder, images, of_parameters)


@compiled
def test_results_do_not_depend_on_other_rows_or_where_channels_stand() -> None:
    encoder, images = make((4, 84, 84), NATURE, 7)
    out = features(encoder, images)
    for start, stop in pairwise([0, 1, 4, 7]):
        assert torch.equal(features(encoder, images[start:stop]), out[start:stop])
    last = make((84, 84, 4), NATURE, 1)[0]
    last.load_state_dict(encoder.state_dict())
    assert torch.equal(features(last, images.movedim(1, -1)), out)
    with torch.no_grad():
        assert torch.equal(features(encoder, images), out)


@compiled
def test_sequences_and_no_rows_at_all() -> None:
    encoder, images = make((4, 84, 84), NATURE, 6)
    out = features(encoder, images)
    assert torch.equal(features(encoder, images.unflatten(0, (2, 3))), out.unflatten(0, (2, 3)))
    assert features(encoder, images[:0]).shape == (0, 3136)
    assert all(not each.any() for each in gradients(encoder, images[:0]))


@compiled
def test_new_weights_count_at_once() -> None:
    encoder, images = make((84, 84, 3), NATURE, 2)
    before = features(encoder, images)
    with torch.no_grad():
        encoder.layers[2].bias.data[3] += 1.0  # type: ignore[index, operator]
    assert not torch.equal(features(encoder, images), before)
    assert_near(features(encoder, images), reference(encoder, images)[0].detach())


@compiled
def test_passes_may_overlap() -> None:
    encoder, images = make((84, 84, 3), NATURE, 6)
    whole = gradients(encoder, images[:4])
    apart = gradients(encoder, images[4:])
    encoder.zero_grad()
    first, second = features(encoder, images[:4]), features(encoder, images[4:])
    loss = (second * weights_of(second)).sum()
    loss.backward(retain_graph=True)
    (first * weights_of(first)).sum().backward()
    loss.backward()
    for parameter, one, other in zip(encoder.parameters(), whole, apart, strict=True):
        torch.testing.assert_close(parameter.grad, one + 2 * other)


@compiled
@pytest.mark.parametrize("copied", [deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_have_their_own_memory(copied: Any) -> None:
    encoder, images = make((4, 84, 84), NATURE, 4)
    out, of_parameters = features(encoder, images), gradients(encoder, images)
    copy = copied(encoder)
    with torch.no_grad():
        for each in encoder.parameters():
            each.zero_()
    assert not features(encoder, images).any()
    assert torch.equal(features(copy, images), out)
    assert_gradients(copy, images, of_parameters)


@compiled
def test_what_is_not_finite_spreads() -> None:
    encoder, images = make((4, 84, 84), NATURE, 2)
    encoder.layers[0].bias.data[0] = float("nan")  # type: ignore[index, operator, union-attr]
    assert features(encoder, images).isnan().any()
    assert not all(each.isfinite().all() for each in gradients(encoder, images))


@pytest.fixture
def limited() -> Iterator[None]:
    """As on a processor without vectors of 16 floats."""
    functions = kernels.library()
    if functions is not None:
        functions.dense_limit(1)
    yield
    if functions is not None:
        functions.dense_limit(2)


def test_without_such_a_processor_torch_does_it(limited: None) -> None:
    assert not kernels.has_conv()
    encoder, images = make((4, 84, 84), NATURE, 2)
    out = features(encoder, images)
    encoder.compiled = None
    assert torch.equal(features(encoder, images), out)


@pytest.mark.parametrize(
    "settings",
    [{"encoder": "impala"}, {"encoder": "nature", "conv_activation": "tanh"}],
)
def test_other_layers_are_torchs(settings: Any) -> None:
    encoder = ImageEncoder((4, 84, 84), ModelConfig(**settings))
    assert encoder.compiled is None
    compute_images(encoder, 2, in_16_bits=True)
    assert encoder(torch.zeros(2, 4, 84, 84, dtype=torch.uint8)).dtype == torch.float32


def test_without_autocast_all_is_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, images = make((4, 84, 84), NATURE, 2)
    out = encoder(images)
    monkeypatch.setattr(encoder, "compiled", None)
    assert torch.equal(encoder(images), out)


IMAGES = Spaces(gym.spaces.Box(0, 255, (4, 84, 84), np.uint8), gym.spaces.Discrete(6))


@pytest.mark.parametrize("mixed", [None, "bfloat16"])
def test_an_env_runner_acts_by_what_is_learnt(mixed: Any) -> None:
    config = PPOConfig().environment("ALE/Pong-v5").learners(mixed_precision=mixed)
    config.rl_module(model_config={"fcnet_hiddens": [16], "vf_share_layers": True})
    learner = PPOLearner(config, IMAGES)
    policy = make_policy(config, config.get_rl_module_spec(IMAGES))
    policy.set_weights(learner.get_weights())
    obs = make((4, 84, 84), NATURE, 3)[1].numpy()
    found = policy.forward(obs, {}, explore=True)[0]
    assert found.dtype == np.float32
    with torch.no_grad(), learner.precision.autocast():
        inputs = learner.module.forward_train({"obs": learner.module.encode(obs)})
    expected = inputs["action_dist_inputs"].numpy()
    np.testing.assert_allclose(found, expected, atol=2e-4 if mixed else 1e-7)


def test_only_encoders_of_images_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = make((4, 84, 84), NATURE, 0)[0]
    both = nn.ModuleList([encoder, networks.linear(2, 3)])
    compute_images(both, 5, in_16_bits=True)
    assert encoder.compiled is not None
    assert (encoder.compiled.num_threads, encoder.compiled.in_16_bits) == (5, True)
