"""Random walks over a cluster whose workers and nodes are killed: every value is right, always."""

import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from patience import patience

from rllib import core
from rllib.core.testing import Cluster, Node

MIB = 2**20
SIZES = (100, 3 * MIB, 5 * MIB, 9 * MIB, 24 * MIB)
"""Within messages; in shared memory; from 4 MiB on results stay where they are made."""
ROOMS = (64 * MIB, 200 * MIB)
"""Of which one is too small for all that stays there, and is spilled."""
MOST_KEPT = 14
OFTEN = 20
"""Retries that no walk uses up."""

task = core.remote(num_cpus=1, max_retries=OFTEN)


@task
def total(number: int, size: int, *arrays: np.ndarray) -> np.ndarray:
    """An array of the number and what is in the arrays, all the same all over."""
    assert all((array == array[0]).all() for array in arrays)
    return np.full(size // 8 + 1, number + sum(int(array[0]) for array in arrays))


@task
def total_of_refs(number: int, size: int, refs: list[Any]) -> np.ndarray:
    return np.full(size // 8 + 1, number + sum(int(each[0]) for each in core.get(refs)))


@core.remote(num_cpus=1, max_retries=OFTEN, num_returns=2)
def both(number: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(size // 8 + 1, number), np.full(8, number)


@core.remote(num_cpus=1, max_retries=OFTEN, scheduling_strategy="SPREAD")
def process() -> int:
    return os.getpid()


class Known(NamedTuple):
    """A value, and what it should be."""

    ref: Any
    number: int


class Walk:
    """What was made and is still referred to, and the nodes that there are."""

    def __init__(self, seed: int, cluster: Cluster) -> None:
        self.rng = random.Random(seed)
        self.cluster = cluster
        self.nodes: list[Node] = []
        self.known: list[Known] = []
        self.count = 0
        for _ in range(2):
            self.join()

    def join(self) -> None:
        room = self.rng.choice(ROOMS)
        self.nodes.append(self.cluster.add_node(num_cpus=2, object_store_memory=room))

    def some(self, most: int) -> list[Known]:
        return self.rng.sample(self.known, min(len(self.known), self.rng.randint(0, most)))

    def step(self) -> None:
        steps: dict[Callable[[], None], int] = {
            self.make: 30,
            self.make_of_refs: 8,
            self.make_both: 6,
            self.read: 20,
            self.wait: 6,
            self.drop: 10,
            self.kill_worker: 6,
            self.kill_node: 8,
        }
        (chosen,) = self.rng.choices([*steps], [*steps.values()])
        self.count += 1
        chosen()
        while len(self.known) > MOST_KEPT:
            self.drop()

    def make(self) -> None:
        used = self.some(2)
        ref = total.remote(self.count, self.rng.choice(SIZES), *(each.ref for each in used))
        self.known.append(Known(ref, self.count + sum(each.number for each in used)))

    def make_of_refs(self) -> None:
        used = self.some(2)
        refs = [each.ref for each in used]
        ref = total_of_refs.remote(self.count, self.rng.choice(SIZES), refs)
        self.known.append(Known(ref, self.count + sum(each.number for each in used)))

    def make_both(self) -> None:
        for ref in both.remote(self.count, self.rng.choice(SIZES)):
            self.known.append(Known(ref, self.count))

    def read(self) -> None:
        for each in self.some(1):
            self.check(each)

    def check(self, known: Known) -> None:
        array = core.get(known.ref, timeout=patience(60.0))
        assert (array == known.number).all()

    def wait(self) -> None:
        refs = [each.ref for each in self.known]
        if refs:
            fetches = self.rng.random() < 0.5
            ready, _ = core.wait(refs, num_returns=1, timeout=patience(60.0), fetch_local=fetches)
            assert ready

    def drop(self) -> None:
        if self.known:
            self.known.pop(self.rng.randrange(len(self.known)))

    def kill_worker(self) -> None:
        """One that has just worked, unless its node has ended it meanwhile."""
        with suppress(ProcessLookupError):
            os.kill(core.get(process.remote(), timeout=patience(60.0)), signal.SIGKILL)

    def kill_node(self) -> None:
        self.cluster.kill_node(self.nodes.pop(self.rng.randrange(len(self.nodes))))
        self.join()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_value_is_right_whoever_is_killed(seed: int, home: Path) -> None:
    with Cluster(head={"num_cpus": 2}) as cluster, core.init(address=cluster.address):
        walk = Walk(seed, cluster)
        for _ in range(120):
            walk.step()
        for each in walk.known:
            walk.check(each)
