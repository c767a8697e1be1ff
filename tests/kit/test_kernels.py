"""What is compiled computes what numpy and torch compute, for any shape, and is never needed."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from rllib.kernels import DenseKernel, DenseLayer, Together, library, state
from rllib.learning.dense_gradients import CompiledChain, TorchChain, dense_chain
from rllib.modules.networks import ACTIVATIONS
from rllib.policies.mlp_policy import Chain, Layer

compiled = pytest.mark.skipif(library() is None, reason=state())
SIZES = [0, 1, 7, 8, 9, 64, 65, 200]
WIDTHS = [[1, 1], [3, 5, 2], [4, 64, 64, 2], [17, 33, 16, 1], [16, 32, 48], [40, 256, 7]]


def draw(widths: list[int], activation: str, *, trains: bool = True) -> list[DenseLayer]:
    rng = np.random.default_rng(len(widths) + widths[0])
    layers = []
    for fan_in, fan_out in pairwise(widths):
        weight = rng.normal(0.0, fan_in**-0.5, (fan_out, fan_in)).astype(np.float32)
        bias = rng.normal(0.0, 0.5, fan_out).astype(np.float32)
        name = activation if len(layers) < len(widths) - 2 else "linear"
        gradients = [np.full_like(weight, 9.0), np.full_like(bias, 9.0)] if trains else []
        layers.append(DenseLayer(weight, bias, name, *gradients))
    return layers


def loaded(layers: list[DenseLayer]) -> DenseKernel:
    kernel = DenseKernel(layers)
    kernel.load()
    return kernel


LEVELS = ["plain", "avx2", "avx512"]


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest) -> Iterator[None]:
    """What there is for one kind of processor, where this one is of it."""
    functions = library()
    assert functions is not None
    wanted = LEVELS.index(request.param)
    if functions.dense_limit(wanted) != wanted:
        pytest.skip("this processor has no such vectors")
    yield
    functions.dense_limit(len(LEVELS))


class InFloat64:
    """The same by autograd in twice the precision."""

    def __init__(self, layers: list[DenseLayer], x: NDArray[Any]) -> None:
        self.x = torch.from_numpy(x).double().requires_grad_()
        self.parameters = [
            (torch.from_numpy(each.weight).double(), torch.from_numpy(each.bias).double())
            for each in layers
        ]
        y = self.x
        for (weight, bias), layer in zip(self.parameters, layers, strict=True):
            weight.requires_grad_()
            bias.requires_grad_()
            y = ACTIVATIONS[layer.activation](nn.functional.linear(y, weight, bias))
        self.y = y


def assert_near(found: NDArray[Any], expected: torch.Tensor, num_rows: int) -> None:
    """But for rounding, of sums whose terms are about 1."""
    tolerance = 2e-6 + 2e-7 * num_rows
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-5, atol=tolerance)


@compiled
@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_passes_are_those_of_autograd_for_any_number_of_rows(
    widths: list[int], activation: str
) -> None:
    rng = np.random.default_rng(5)
    layers = draw(widths, activation)
    kernel = loaded(layers)
    for size in [*SIZES, 9]:
        x = rng.normal(size=(size, widths[0])).astype(np.float32)
        gradient = rng.normal(size=(size, widths[-1])).astype(np.float32)
        exact = InFloat64(layers, x)
        exact.y.backward(torch.from_numpy(gradient).double())
        assert_near(kernel.forward(x), exact.y, 1)
        of_x = kernel.backward(gradient, of_inputs=True)
        assert of_x is not None
        assert exact.x.grad is not None
        assert_near(of_x, exact.x.grad, 1)
        for layer, (weight, bias) in zip(layers, exact.parameters, strict=True):
            assert weight.grad is not None
            assert bias.grad is not None
            assert layer.of_weight is not None
            assert layer.of_bias is not None
            assert_near(layer.of_weight, weight.grad, size)
            assert_near(layer.of_bias, bias.grad, size)
    assert kernel.backward(gradient) is None


@compiled
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_what_a_row_gives_does_not_depend_on_those_beside_it(activation: str) -> None:
    kernel = loaded(draw([5, 64, 40, 3], activation, trains=False))
    x = np.random.default_rng(1).normal(size=(150, 5)).astype(np.float32)
    together = kernel.forward(x).copy()
    apart = np.concatenate([kernel.forward(x[i : i + 1]).copy() for i in range(len(x))])
    assert (together == apart).all()


@compiled
def test_tanh_is_exact_to_two_units_in_the_last_place() -> None:
    layer = DenseLayer(np.ones((1, 1), np.float32), np.zeros(1, np.float32), "tanh")
    magnitudes = np.geomspace(1e-30, 100.0, 50_001)
    x = np.concatenate([-magnitudes[::-1], [0.0], magnitudes]).astype(np.float32)
    y = loaded([layer]).forward(x[:, None])[:, 0]
    exact = np.tanh(x.astype(np.float64))
    np.testing.assert_allclose(y, exact, rtol=2.5e-7, atol=0.0)
    assert (np.abs(y) <= 1.0).all()
    assert (loaded([layer]).forward(np.float32([[np.inf], [-np.inf]])) == [[1.0], [-1.0]]).all()


@compiled
@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_spreads_in_its_row_and_into_gradients(
    activation: str, bad: float
) -> None:
    layers = draw([3, 20, 2], activation)
    kernel = loaded(layers)
    x = np.ones((9, 3), np.float32)
    x[4, 1] = bad
    with np.errstate(invalid="ignore"):
        y = kernel.forward(x)
    assert np.isfinite(np.delete(y, 4, 0)).all()
    assert np.isfinite(y[4]).all() == (bad == np.inf and activation == "tanh")
    kernel.backward(np.ones((9, 2), np.float32))
    assert layers[0].of_weight is not None
    assert not np.isfinite(layers[0].of_weight[:, 1]).all()


@compiled
@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("num_threads", [1, 3])
def test_chains_that_pass_together_split_their_rows(num_threads: int) -> None:
    rng = np.random.default_rng(7)
    both = [draw([6, 40, 3], "relu"), draw([6, 40, 3], "tanh")]
    chains = [DenseKernel(layers) for layers in both]
    together = Together(chains, num_threads)
    together.load()
    for num_rows, num_trained in ((150, 75), (150, 3), (9, 9), (150, 0), (75, 70)):
        x = rng.normal(size=(150, 6)).astype(np.float32)
        gradients = rng.normal(size=(2, num_rows, 3)).astype(np.float32)
        for chain, gradient in zip(chains, gradients, strict=True):
            chain.take(x)
            chain.of_outputs[:num_rows] = gradient
        together.forward(150)
        outputs = [chain.outputs[:150].copy() for chain in chains]
        together.backward(num_rows, num_trained)
        for chain, layers, y, gradient in zip(chains, both, outputs, gradients, strict=True):
            of_weight = layers[0].of_weight
            assert of_weight is not None
            found = of_weight.copy(), chain.of_features[num_trained:num_rows].copy()
            assert (loaded(layers).forward(x) == y).all()
            assert_near(found[0], weight_gradient(layers, x[:num_trained], gradient), 150)
            alone = loaded(layers)
            alone.forward(x[:num_rows])
            of_inputs = alone.backward(gradient, of_inputs=True)
            assert of_inputs is not None
            np.testing.assert_allclose(found[1], of_inputs[num_trained:], rtol=1e-5, atol=1e-6)


def weight_gradient(
    layers: list[DenseLayer], x: NDArray[Any], gradient: NDArray[Any]
) -> torch.Tensor:
    """Of the first layer, by the first rows."""
    exact = InFloat64(layers, x)
    exact.y.backward(torch.from_numpy(gradient[: len(x)]).double())
    found = exact.parameters[0][0].grad
    assert found is not None
    return found


@compiled
def test_inputs_of_any_layout_and_type_are_read_as_they_are() -> None:
    kernel = loaded(draw([6, 8, 2], "tanh", trains=False))
    x = np.random.default_rng(2).normal(size=(6, 40))
    plain = kernel.forward(np.ascontiguousarray(x.T, np.float32)).copy()
    assert (kernel.forward(x.T) == plain).all()
    assert (kernel.forward(x.astype(np.float32).T) == plain).all()


@compiled
def test_shapes_that_do_not_fit_are_refused() -> None:
    layers = draw([6, 8, 2], "tanh")
    with pytest.raises(ValueError, match="got 1 inputs, but the layers take 6"):
        DenseKernel(layers).forward(np.ones((4, 1), np.float32))
    with pytest.raises(ValueError, match=r"weight is to be .* of the shape \(2, 6\)"):
        DenseKernel([layers[0]._replace(bias=np.ones(2, np.float32))])
    with pytest.raises(ValueError, match="not one of float64"):
        DenseKernel([layers[0]._replace(weight=layers[0].weight.astype(np.float64))])
    with pytest.raises(ValueError, match="contiguous"):
        DenseKernel([layers[0]._replace(of_weight=np.ones((6, 8), np.float32).T)])


@compiled
def test_chains_for_learners_agree() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(4, 24), nn.Linear(24, 24), nn.Linear(24, 3)]
    parameters = [each for layer in layers for each in layer.parameters()]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    activations = [ACTIVATIONS[name] for name in ("tanh", "relu", "linear")]
    assert type(dense_chain(layers, activations)) is CompiledChain
    x, gradient = (torch.randn(33, width).numpy() for width in (4, 3))
    found = []
    for chain in (CompiledChain(layers, activations), TorchChain(layers, activations)):
        outputs = chain.forward(x).copy()
        of_inputs = chain.backward(gradient, of_inputs=True)
        assert of_inputs is not None
        gradients = [each.grad.numpy().copy() for each in parameters if each.grad is not None]
        found.append([outputs, of_inputs, *gradients])
    for own, other in zip(*found, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-5)


@compiled
def test_a_learners_chain_sees_new_weights() -> None:
    layer = nn.Linear(3, 2)
    chain, x = CompiledChain([layer], [ACTIVATIONS["linear"]]), np.ones((1, 3), np.float32)
    before = chain.forward(x).copy()
    with torch.no_grad():
        layer.bias.add_(1.0)
    np.testing.assert_allclose(chain.forward(x), before + 1.0, rtol=1e-5)


@pytest.fixture(params=["0", "1"])
def wanted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLLIB_KERNELS", request.param)


def weights_of(*widths: int) -> dict[str, NDArray[Any]]:
    layers = draw(list(widths), "tanh", trains=False)
    named = {f"{i}.weight": layer.weight for i, layer in enumerate(layers)}
    return named | {f"{i}.bias": layer.bias for i, layer in enumerate(layers)}


@pytest.mark.usefixtures("wanted")
def test_policies_act_the_same_with_and_without() -> None:
    chain = Chain([Layer("0", "tanh"), Layer("1", "linear")])
    x = np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32)
    for weights in (weights_of(4, 16, 2), weights_of(4, 20, 2), weights_of(4, 20, 3)):
        chain.set_weights(weights)
        assert bool(chain.layers) == (library() is None)
        hidden = np.tanh(x @ weights["0.weight"].T + weights["0.bias"])
        expected = hidden @ weights["1.weight"].T + weights["1.bias"]
        found = chain(x)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        weights["1.bias"] += 1.0
        chain(x)
        np.testing.assert_allclose(chain(x), found)  # the weights were copied, the result is kept


def test_policies_whose_layers_are_not_compiled_act_by_numpy() -> None:
    chain = Chain([Layer("0", "silu"), Layer("1", "linear")])
    chain.set_weights(weights_of(4, 16, 2))
    assert len(chain.layers) == 2
    assert np.isfinite(chain(np.ones((2, 4), np.float32))).all()


def test_switched_off_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLLIB_KERNELS", "0")
    assert library() is None
    assert state() == "switched off by RLLIB_KERNELS=0"
    assert type(dense_chain([nn.Linear(2, 2)], [ACTIVATIONS["linear"]])) is TorchChain
    with pytest.raises(RuntimeError, match="no compiled kernels"):
        DenseKernel(draw([2, 2], "tanh"))
