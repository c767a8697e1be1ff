"""Our Adam against torch's, and clipping against arithmetic."""

from math import isfinite

import pytest
import torch
from torch import nn

from rllib.learning.optimizer import Adam


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


def gradients(*values):
    """An optimiser of two parameter tensors, of one and two elements, with these gradients."""
    module = nn.ParameterList([torch.zeros(1), torch.zeros(2)])
    optimizer = Adam(module, lr=0.1)
    optimizer.gradient.copy_(torch.tensor(values))
    return optimizer


@pytest.mark.parametrize("is_compiled", [True, False])
def test_it_makes_the_steps_of_torchs_adam(is_compiled, monkeypatch):
    if not is_compiled:
        monkeypatch.setenv("RLLIB_KERNELS", "0")
    ours, theirs = network(), network()
    adam = Adam(ours.parameters(), 0.01)
    reference = torch.optim.Adam(theirs.parameters(), 0.01, eps=adam.epsilon)
    for step in range(50):
        x = torch.randn(7, 3, generator=torch.Generator().manual_seed(step))
        for module, optimizer in ((ours, adam), (theirs, reference)):
            optimizer.zero_grad()
            module(x).square().sum().backward()
            optimizer.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_parameters_stay_views_when_a_state_is_loaded():
    module = network()
    adam = Adam(module.parameters(), 0.01)
    module.load_state_dict({name: torch.ones_like(w) for name, w in module.state_dict().items()})
    assert adam.flat.tolist() == [1.0] * len(adam.flat)


def test_a_module_with_shared_and_frozen_weights():
    module = nn.Sequential(shared := nn.Linear(2, 2), shared, nn.Linear(2, 1))
    module[2].bias.requires_grad_(False)
    assert len(Adam(module.parameters(), 0.01).flat) == 2 * 2 + 2 + 2


def test_an_optimiser_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one parameter"):
        Adam(nn.Linear(2, 2).requires_grad_(False).parameters(), 0.01)


def test_the_step_size_follows_its_schedule():
    adam = Adam(network().parameters(), [(0, 1.0), (100, 0.0)])
    assert adam.lr == 1.0
    adam.set_timestep(25)
    assert adam.lr == 0.75


def test_the_norm_is_of_all_gradients_together():
    assert gradients(2.0, 3.0, 6.0).gradient_norm() == 7.0
    assert not isfinite(gradients(2.0, float("nan"), 6.0).gradient_norm())
    assert not isfinite(gradients(2.0, float("inf"), 6.0).gradient_norm())


@pytest.mark.parametrize(
    ("by", "limit", "expected"),
    [
        ("value", 2.5, [2.0, 2.5, -2.5]),
        ("norm", 2.5, [2.0, 1.5, -2.0]),
        ("global_norm", 0.5, [2 * 0.5 / 29**0.5, 3 * 0.5 / 29**0.5, -4 * 0.5 / 29**0.5]),
        ("global_norm", 100.0, [2.0, 3.0, -4.0]),
    ],
)
def test_clipping(by, limit, expected):
    optimizer = gradients(2.0, 3.0, -4.0)
    optimizer.clip(limit, by, optimizer.gradient_norm())
    assert optimizer.gradient.tolist() == pytest.approx(expected)


def test_clipping_no_gradient_at_all():
    optimizer = gradients(0.0, 0.0, 0.0)
    optimizer.clip(0.5, "global_norm", 0.0)
    assert optimizer.gradient.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("size", [1, 15, 16, 17, 1000])
def test_what_is_compiled_makes_the_steps_that_torch_makes(size, monkeypatch):
    def steps(lr):
        generator = torch.Generator().manual_seed(size)
        optimizer = Adam([nn.Parameter(torch.randn(size, generator=generator))], lr)
        for _ in range(5):
            optimizer.gradient.copy_(torch.randn(size, generator=generator))
            optimizer.clip(0.5, "global_norm", optimizer.gradient_norm())
            optimizer.step()
        return optimizer

    ours = steps(0.01)
    monkeypatch.setenv("RLLIB_KERNELS", "0")
    theirs = steps(0.01)
    for name in ("flat", "gradient", "exp_avg", "exp_avg_sq"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=1e-5, atol=1e-7)
    assert ours.gradient_norm() == pytest.approx(theirs.gradient_norm())
