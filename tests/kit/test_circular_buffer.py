"""The buffer of train batches: how often each is drawn, and which ones have to leave."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib.learning.circular_buffer import CircularBuffer


def buffer(num_batches, iterations_per_batch, seed=0):
    return CircularBuffer(num_batches, iterations_per_batch, np.random.default_rng(seed))


def test_drawing_waits_until_the_buffer_was_full_once():
    full = buffer(3, 2)
    due = []
    for item in range(5):
        full.add(item)
        due.append(full.num_due)
        for _ in range(full.num_due):
            full.draw()
    assert due == [0, 0, 2, 2, 2]


def test_a_buffer_of_one_batch_and_one_use_is_a_queue():
    queue = buffer(1, 1)
    drawn = []
    for item in range(4):
        queue.add(item)
        drawn += [queue.draw() for _ in range(queue.num_due)]
    assert drawn == [0, 1, 2, 3]


def test_the_oldest_leaves_for_the_newest_and_what_was_lost_with_it_is_told():
    full = buffer(2, 3)
    assert [full.add(item) for item in "abcd"] == [0, 0, 3, 3]
    assert Counter(full.draw() for _ in range(len(full))) == {"c": 3, "d": 3}
    with pytest.raises(IndexError, match="nothing is left to be drawn"):
        full.draw()


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 30), st.integers(0, 5))
def test_nothing_is_drawn_too_often_or_too_late(num_batches, uses, num_items, seed):
    full = buffer(num_batches, uses, seed)
    drawn, lost = Counter(), 0
    for item in range(num_items):
        lost += full.add(item)
        for _ in range(full.num_due):
            found = full.draw()
            drawn[found] += 1
            assert item - found < num_batches
    assert all(count <= uses for count in drawn.values())
    assert drawn.total() + lost + len(full) == num_items * uses


def test_draws_are_random_but_for_the_seed():
    orders = []
    for seed in (1, 1, 2):
        full = buffer(8, 2, seed)
        for item in range(8):
            full.add(item)
        orders.append([full.draw() for _ in range(16)])
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted([*range(8)] * 2) != orders[0]
