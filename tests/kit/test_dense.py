"""The fast layer is torch's layer, forwards and backwards."""

import pytest
import torch
from torch.nn.functional import linear

import rllib.modules.dense as module
from rllib.modules.dense import affine, dense, is_worth, product

LARGE, SMALL = (4, 32, 96), (5, 8)


@pytest.fixture(autouse=True)
def by_onednn(monkeypatch):
    """As on processors for which it is the faster library."""
    monkeypatch.setattr(module, "_FOR_FLOAT32", module.ONEDNN)


def case(shape, fan_out=512):
    torch.manual_seed(0)
    x = torch.randn(shape, requires_grad=True)
    weight = torch.randn(fan_out, shape[-1], requires_grad=True)
    bias = torch.randn(fan_out, requires_grad=True)
    return x, weight, bias


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("shape", [LARGE, SMALL])
def test_values_and_gradients_are_torchs(shape, relu):
    inputs = case(shape)
    assert is_worth(inputs[0], inputs[1].numel()) == (shape is LARGE and module.ONEDNN is not None)
    expected = linear(*inputs).relu() if relu else linear(*inputs)
    y = dense(*inputs, relu=relu)
    torch.testing.assert_close(y, expected, atol=1e-4, rtol=1e-4)
    outer = torch.randn(y.shape)
    ours = torch.autograd.grad((y * outer).sum(), inputs)
    theirs = torch.autograd.grad((expected * outer).sum(), inputs)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-3, rtol=1e-3)
    with torch.no_grad():
        torch.testing.assert_close(dense(*inputs, relu=relu), y)


def test_only_what_wants_a_gradient_gets_one():
    x, weight, bias = case(LARGE)
    dense(x, weight.detach(), bias.detach(), relu=True).sum().backward()
    assert x.grad is not None
    dense(x.detach(), weight, bias).sum().backward()
    torch.testing.assert_close(bias.grad, torch.full_like(bias, 4 * 32))


def test_other_numbers_and_autocast_stay_with_torch():
    x, weight, bias = case(LARGE)
    assert not is_worth(x.double(), weight.numel())
    assert dense(x.double(), weight.double(), bias.double()).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert dense(x, weight, bias).dtype == torch.bfloat16


def test_without_onednn_it_is_torchs_layer(monkeypatch):
    x, weight, bias = case(LARGE)
    monkeypatch.setattr(module, "_FOR_FLOAT32", None)
    assert torch.equal(dense(x, weight, bias), linear(x, weight, bias))


@pytest.mark.parametrize("is_onednns", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fan_in", [8, 512])
@pytest.mark.parametrize("relu", [True, False])
def test_without_gradients_it_is_the_same_in_all_formats(
    relu, fan_in, dtype, is_onednns, monkeypatch
):
    if not is_onednns:
        monkeypatch.setattr(module, "_FOR_FLOAT32", None)
        monkeypatch.setattr(module, "ONEDNN", None)
    x, weight, bias = (each.detach().to(dtype) for each in case((64, fan_in)))
    exact = linear(x.double(), weight.double(), bias.double())
    close = {"atol": 1e-4, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 0.3, "rtol": 0.02}
    y = affine(x, weight, bias, relu=relu)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), exact.relu() if relu else exact, **close)
    z = product(y.t(), x)
    torch.testing.assert_close(z.double(), y.double().t() @ x.double(), atol=1.0, rtol=0.02)
