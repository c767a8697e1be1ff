"""A stream of one's own: repeatable, and nobody else notices."""

import torch

from rllib.learning.torch_random import TorchStream


def draw(stream):
    with stream.active():
        return torch.rand(3).tolist()


def test_it_goes_on_where_it_was_and_leaves_the_global_stream_alone():
    torch.manual_seed(3)
    expected = torch.rand(2).tolist()
    stream, twin = TorchStream(5), TorchStream(5)
    torch.manual_seed(3)
    first, second = draw(stream), draw(stream)
    assert torch.rand(2).tolist() == expected
    assert (draw(twin), draw(twin)) == (first, second)
    assert first != second


def test_a_restored_stream_goes_on():
    stream, heir = TorchStream(5), TorchStream(6)
    draw(stream)
    heir.set_state(stream.get_state())
    assert draw(heir) == draw(stream)
