"""Which loss trains what."""

import pytest
import torch
from torch import nn

from rllib.learning.gradients import backward, not_finite, own_parameters
from rllib.learning.optimizer import Adam


class Product(nn.Module):
    """Three numbers, of which nobody owns the last."""

    def __init__(self):
        super().__init__()
        for name, value in zip("abc", (2.0, 3.0, 5.0), strict=True):
            setattr(self, name, nn.Parameter(torch.tensor([value])))


@pytest.fixture
def module():
    return Product()


@pytest.fixture
def optimizers(module):
    found = {"first": Adam([module.a], 0.1), "second": Adam([module.b], 0.1)}
    own_parameters(module, found)
    return found


def gradients(optimizers):
    return [optimizer.gradient.item() for optimizer in optimizers.values()]


def test_one_loss_is_for_all(module, optimizers):
    assert backward((module.a * module.b * module.c).sum(), optimizers) is optimizers
    assert gradients(optimizers) == [15.0, 10.0]


def test_a_loss_of_an_optimiser_trains_nothing_else_even_if_they_share_a_graph(module, optimizers):
    product = (module.a * module.b).exp().log().sum()
    trained = backward({"second": 7 * product, "first": product}, optimizers)
    assert list(trained) == ["second", "first"]
    assert gradients(optimizers) == pytest.approx([3.0, 14.0])


def test_without_a_loss_there_is_no_step(module, optimizers):
    backward((module.a * module.b).sum(), optimizers)
    assert list(backward({"first": module.a.sum()}, optimizers)) == ["first"]
    assert gradients(optimizers) == [1.0, 2.0]


def test_what_nobody_owns_is_not_trained(module, optimizers):
    assert [p.requires_grad for p in module.parameters()] == [True, True, False]


def test_nobody_shares_a_parameter(module):
    twice = {"first": Adam([module.a], 0.1), "second": Adam([module.b, module.a], 0.1)}
    with pytest.raises(ValueError, match=r"'first' and 'second' have a parameter in common.*\[1\]"):
        own_parameters(module, twice)


def test_what_is_not_finite_is_named(module):
    outside = nn.Parameter(torch.ones(1))
    optimizers = {"inner": Adam([module.b], 0.1), "outer": Adam([outside], 0.1)}
    backward((outside * module.b * float("inf")).sum(), optimizers)
    scalars = {"good": torch.tensor(1.0), "bad": torch.tensor(float("-inf"))}
    names = ["bad = -inf", "gradient of b", "gradient of outer[0]"]
    assert list(not_finite(scalars, module, optimizers)) == names
