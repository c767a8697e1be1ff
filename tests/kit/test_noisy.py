"""Noisy layers against their weights written out, in torch and in numpy."""

import numpy as np
import pytest
import torch

from rllib.modules.noisy import NoisyLinear, draw_noise, noise_like
from rllib.policies.mlp_policy import Chain, Layer


def layer(fan_in=3, fan_out=2, sigma0=0.5):
    torch.manual_seed(0)
    return NoisyLinear(fan_in, fan_out, sigma0)


def test_it_begins_as_the_paper_says():
    fresh = layer(fan_in=400, fan_out=100)
    bound = 1 / 20
    for mean in (fresh.weight, fresh.bias):
        assert mean.abs().max() <= bound
    assert fresh.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    for sigma in (fresh.weight_sigma, fresh.bias_sigma):
        torch.testing.assert_close(sigma.detach(), torch.full_like(sigma, 0.5 * bound))


def test_noise_is_the_signed_root_of_a_normal_number():
    drawn = draw_noise(np.random.default_rng(3), (200_000,))
    normal = np.random.default_rng(3).standard_normal(200_000, dtype=np.float32)
    np.testing.assert_allclose(drawn * np.abs(drawn), normal, rtol=1e-5)
    torch.manual_seed(3)
    in_torch = noise_like(torch.zeros(()), 200_000)
    torch.manual_seed(3)
    torch.testing.assert_close(in_torch * in_torch.abs(), torch.randn(200_000))


def test_every_weight_is_moved_by_the_product_of_its_inputs_and_outputs_noise():
    noisy, x = layer(), torch.randn(4, 3)
    noise = noise_like(x, 5)
    inner, outer = noise[:3], noise[3:]
    weight = noisy.weight + noisy.weight_sigma * torch.outer(outer, inner)
    bias = noisy.bias + noisy.bias_sigma * outer
    torch.testing.assert_close(noisy(x, noise), x @ weight.T + bias)
    torch.testing.assert_close(noisy(x), x @ noisy.weight.T + noisy.bias)


def test_rows_may_have_noise_of_their_own():
    noisy, x = layer(), torch.randn(4, 3)
    noise = torch.stack([noise_like(x, 5) for _ in range(4)])
    rows = [noisy(row, own) for row, own in zip(x, noise, strict=True)]
    torch.testing.assert_close(noisy(x, noise), torch.stack(rows))


def test_numpy_is_as_noisy_as_torch():
    torch.manual_seed(1)
    layers = torch.nn.Sequential(
        NoisyLinear(3, 4, 0.5), torch.nn.Tanh(), torch.nn.Linear(4, 4), NoisyLinear(4, 2, 0.5)
    )
    chain = Chain([Layer("0", "tanh"), Layer("2", "linear"), Layer("3", "linear")])
    chain.set_weights({name: part.numpy() for name, part in layers.state_dict().items()})
    assert chain.num_noise == 3 + 4 + 4 + 2
    x, noise = np.random.default_rng(2).standard_normal((2, 5, 13), dtype=np.float32)
    x = x[:, :3]
    first, last = (torch.from_numpy(part) for part in np.split(noise, [7], axis=-1))
    expected = layers[3](layers[2](layers[0](torch.from_numpy(x), first).tanh()), last)
    np.testing.assert_allclose(chain(x, noise), expected.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(chain(x), layers(torch.from_numpy(x)).detach().numpy(), atol=1e-6)


def test_a_chain_without_weights_says_so():
    with pytest.raises(RuntimeError, match="call set_weights first"):
        Chain([Layer("0", "tanh")])(np.zeros((1, 3), np.float32))
