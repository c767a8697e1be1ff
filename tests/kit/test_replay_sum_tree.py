"""The sum tree against adding up one priority after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib.replay import SumTree, sum_tree

priorities = st.one_of(st.just(0.0), st.floats(1e-8, 1e6))


def find_slowly(leaves, mass):
    """The first item whose running sum exceeds the mass."""
    running = 0.0
    for item, priority in enumerate(leaves):
        running += priority
        if running > mass:
            return item
    return max(item for item, priority in enumerate(leaves) if priority > 0)


@pytest.fixture(params=[(2, 1), (3, 2), (32, 2048)], ids=["deep", "less deep", "as it is"])
def widths(request, monkeypatch):
    """A tree is as deep as it is narrow: narrow ones show with few items what happens with many."""
    monkeypatch.setattr(sum_tree, "FANOUT", request.param[0])
    monkeypatch.setattr(sum_tree, "TOP", request.param[1])


def test_masses_fall_on_items_by_hand(widths):
    tree = SumTree(5)
    tree.set(np.arange(5), np.array([1.0, 0.0, 2.0, 0.0, 4.0]))
    assert tree.total == 7.0
    masses = np.array([0.0, 0.5, 1.0, 2.5, 3.0, 6.9, 7.0])
    assert tree.find(masses).tolist() == [0, 0, 2, 2, 4, 4, 4]


@settings(max_examples=200, deadline=None)
@given(
    leaves=st.lists(priorities, min_size=1, max_size=100).filter(any),
    shares=st.lists(st.floats(0, 1), min_size=1, max_size=20),
    narrow=st.booleans(),
)
def test_find_agrees_with_a_linear_search(leaves, shares, narrow):
    with pytest.MonkeyPatch.context() as patch:
        if narrow:
            patch.setattr(sum_tree, "FANOUT", 2)
            patch.setattr(sum_tree, "TOP", 1)
        tree = SumTree(len(leaves))
        tree.fill(0, len(leaves), np.array(leaves))
        found = tree.find(np.array(shares) * tree.total)
    running = np.cumsum(leaves)
    for share, item in zip(shares, found, strict=True):
        mass = share * tree.total
        assert leaves[item] > 0
        near_a_border = np.isclose(running, mass, rtol=1e-9).any()
        assert near_a_border or item == find_slowly(leaves, mass)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**20), st.integers(1, 3000))
def test_a_tree_does_not_depend_on_how_it_came_about(seed, capacity):
    rng = np.random.default_rng(seed)
    tree, leaves = SumTree(capacity), np.zeros(capacity)
    for _ in range(5):
        items = rng.integers(0, capacity, 9)
        values = rng.random(9) ** 4
        tree.set(items, values)
        for item, value in zip(items, values, strict=True):
            leaves[item] = value
        start, stop = sorted(rng.integers(0, capacity + 1, 2))
        if start < stop:
            leaves[start:stop] = rng.random(stop - start)
            tree.fill(int(start), int(stop), leaves[start:stop])
    same = SumTree(capacity)
    same.fill(0, capacity, leaves)
    assert tree.leaves.tolist() == leaves.tolist()
    assert tree.total == same.total == pytest.approx(leaves.sum())
    masses = rng.random(50) * tree.total
    assert tree.find(masses).tolist() == same.find(masses).tolist()


def test_items_are_found_in_proportion(widths):
    rng = np.random.default_rng(0)
    tree = SumTree(200)
    tree.fill(0, 200, np.arange(200.0))
    found = tree.find((np.arange(100_000) + 0.5) / 100_000 * tree.total)
    counts = np.bincount(found, minlength=200)
    expected = np.arange(200) / tree.total * 100_000
    assert np.abs(counts - expected).max() <= 1.5
    assert tree.find(rng.random(3) * 0.0).tolist() == [1, 1, 1]


def test_a_full_tree_of_a_million_items():
    tree = SumTree(1_000_000)
    tree.fill(0, 1_000_000, 0.1)
    assert tree.total == pytest.approx(100_000)
    masses = np.linspace(0, tree.total, 1001)
    found = tree.find(masses)
    assert np.abs(found - np.minimum(masses * 10, 999_999)).max() <= 1
    assert found[-1] == 999_999
