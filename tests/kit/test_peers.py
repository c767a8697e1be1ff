"""What learners compute together, each with a part of the whole."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from together import together

from rllib import core
from rllib.core.util.collective import CollectiveError
from rllib.learning.peers import Alone, Members, Peers


def all_of_it(peers: Peers):
    """One call of each kind, of a value that tells the members apart."""
    me = float(peers.rank + 1)
    return (
        peers.allreduce_sum(torch.tensor([me, 10.0 * me])).tolist(),
        peers.allreduce_mean(torch.tensor([me]), weight=me).tolist(),
        peers.total(peers.rank + 1),
        peers.gather({"name": "x" * peers.rank, "array": np.full(peers.rank, me)}),
    )


def check(answers):
    size = len(answers)
    ranks = np.arange(1, size + 1)
    for added, mean, total, gathered in answers:
        assert total == ranks.sum()
        assert added == [ranks.sum(), 10.0 * ranks.sum()]
        assert mean == pytest.approx([(ranks**2).sum() / ranks.sum()])
        assert [each["name"] for each in gathered] == ["x" * rank for rank in range(size)]
        assert [each["array"].tolist() for each in gathered] == [[r] * (r - 1) for r in ranks]


@pytest.mark.parametrize("size", [2, 3])
def test_threads(size):
    check(together(size, all_of_it))


def test_alone():
    check([all_of_it(Alone())])


class Member:
    def join(self, *args):
        self.peers = Members(*args, torch.device("cpu"), 20.0)

    def answer(self):
        return all_of_it(self.peers)

    def leave(self):
        self.peers.leave()


def test_actors():
    with core.init(num_cpus=2, preload=["torch"]):
        members = [core.remote(Member).remote() for _ in range(3)]
        core.get([each.join.remote(rank, 3, "peers") for rank, each in enumerate(members)])
        check(core.get([each.answer.remote() for each in members]))
        members[1].leave.remote()
        with pytest.raises(CollectiveError):
            core.get([members[0].answer.remote(), members[2].answer.remote()])


columns = st.lists(st.floats(-100, 100, width=32), max_size=6)


@settings(max_examples=25, deadline=None)
@given(st.lists(columns, min_size=2, max_size=3).filter(any))
def test_moments_are_those_of_all_rows_however_they_are_divided(parts):
    whole = np.array([value for part in parts for value in part], np.float32)
    two = [np.stack([np.array(part, np.float32)] * 2) for part in parts]
    for means, stds in together(len(parts), lambda peers: peers.moments(two[peers.rank])):
        np.testing.assert_allclose(means, [whole.mean(dtype=float)] * 2, atol=1e-9)
        np.testing.assert_allclose(stds, [whole.std(dtype=float)] * 2, atol=1e-9)


def test_moments_alone_are_numpys():
    column = np.random.default_rng(0).normal(size=(1, 1001)).astype(np.float32)
    means, stds = Alone().moments(column)
    assert means[0] == column.mean(dtype=float)
    assert stds[0] == column.std(dtype=float)
