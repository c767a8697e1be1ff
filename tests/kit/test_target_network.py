"""A target network goes a part of the way, all of it at once."""

import pytest
import torch
from torch import nn

from rllib.learning.optimizer import Adam
from rllib.learning.target_network import TargetNetwork


def network():
    return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))


def test_it_moves_by_tau_and_copies_by_one():
    torch.manual_seed(0)
    original, copy = network(), network()
    before = [parameter.detach().clone() for parameter in copy.parameters()]
    target = TargetNetwork(copy, Adam(original.parameters(), 1e-3))
    target.move(0.25)
    for moved, old, new in zip(copy.parameters(), before, original.parameters(), strict=True):
        torch.testing.assert_close(moved, 0.75 * old + 0.25 * new)
    target.move(1.0)
    for moved, new in zip(copy.parameters(), original.parameters(), strict=True):
        assert torch.equal(moved, new)


def test_loading_writes_into_the_vector():
    copy = network()
    target = TargetNetwork(copy, Adam(network().parameters(), 1e-3))
    copy.load_state_dict({name: part.fill_(2.0) for name, part in network().state_dict().items()})
    assert (target.flat == 2.0).all()


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match="of the same shape"):
        TargetNetwork(nn.Linear(3, 3), Adam(network().parameters(), 1e-3))
