"""Arguments of tasks stay where they are until the task that needs them has begun."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cluster_actors import on
from data_readers import LARGE, make, received
from patience import patience

from rllib import core
from rllib.core.exceptions import OwnerDiedError, TaskError
from rllib.core.testing import Cluster, Node


@pytest.fixture(scope="module")
def cluster(home: Path) -> Iterator[list[Node]]:
    """Two nodes, the driver on the first."""
    with Cluster(head={"num_cpus": 4}) as made:
        nodes = [made.head, made.add_node(num_cpus=8)]
        core.init(address=made.address)
        yield nodes


@core.remote
def look(*arrays: Any) -> tuple[int, str]:
    return sum(each.nbytes for each in arrays), core.get_runtime_context().get_node_id()


@core.remote
def never() -> None:
    time.sleep(1_000)


@core.remote
def fail() -> None:
    raise KeyError("on purpose")


@core.remote(num_cpus=0)
class Owner:
    """Makes what others borrow."""

    def put(self, size: int = LARGE) -> list[Any]:
        return [core.put(np.ones(size, np.uint8))]

    def call(self, function: Any) -> list[Any]:
        return [function.remote()]

    def late(self, after_s: float) -> list[Any]:
        """A value that is there only after a while."""

        @core.remote
        def slow() -> Any:
            time.sleep(after_s)
            return np.ones(LARGE, np.uint8)

        here = on(core.get_runtime_context().get_node_id())
        return [slow.options(scheduling_strategy=here).remote()]


def owner_on(node: Node) -> Any:
    return Owner.options(scheduling_strategy=on(node)).remote()


def test_a_borrowed_argument_does_not_travel_through_its_caller(cluster: list[Node]) -> None:
    owner = owner_on(cluster[1])
    before = received(*cluster)
    (ref,) = core.get(owner.put.remote())
    assert core.get(look.remote(ref)) == (LARGE, cluster[1].id)
    assert core.get(look.remote(ref, ref)) == (2 * LARGE, cluster[1].id)
    assert received(*cluster) == before


def test_a_task_waits_for_borrowed_arguments_that_are_not_there(cluster: list[Node]) -> None:
    owner = owner_on(cluster[1])
    before = received(*cluster)
    (ref,) = core.get(owner.late.remote(0.3))
    assert core.get(look.remote(ref)) == (LARGE, cluster[1].id)
    assert received(*cluster) == before


def test_what_was_looked_for_can_be_read_as_well(cluster: list[Node]) -> None:
    owner = owner_on(cluster[1])
    (ref,) = core.get(owner.late.remote(0.2))
    task = look.remote(ref)
    assert core.get(ref).nbytes == LARGE
    assert core.get(task)[0] == LARGE
    assert core.get(look.remote(ref))[0] == LARGE


@pytest.mark.parametrize("size", [1, 100_000])
def test_small_borrowed_arguments_are_arguments_too(cluster: list[Node], size: int) -> None:
    owner = owner_on(cluster[1])
    (ref,) = core.get(owner.put.remote(size))
    assert core.get(look.remote(ref))[0] == size


def test_a_borrowed_argument_that_failed_is_the_error_of_the_task(cluster: list[Node]) -> None:
    owner = owner_on(cluster[1])
    (ref,) = core.get(owner.call.remote(fail))
    with pytest.raises(TaskError) as caught:
        core.get(look.remote(ref))
    assert isinstance(caught.value, KeyError)


def test_an_owner_that_ends_is_the_error_of_who_waits_for_its_value(cluster: list[Node]) -> None:
    owner = owner_on(cluster[1])
    (ref,) = core.get(owner.call.remote(never))
    (there,) = core.get(owner.put.remote())
    waiting = look.remote(ref)
    assert core.get(look.remote(there))[0] == LARGE
    assert core.wait([waiting], timeout=0.2)[1]
    core.kill(owner)
    with pytest.raises(OwnerDiedError):
        core.get(waiting, timeout=patience(10))
    with pytest.raises(OwnerDiedError):
        core.get(look.remote(there), timeout=patience(10))


def test_who_only_waits_for_a_value_need_not_have_it_here(cluster: list[Node]) -> None:
    before = received(*cluster)
    there = on(cluster[1])
    refs = [make.options(scheduling_strategy=there).remote() for _ in range(2)]
    (borrowed,) = core.get(owner_on(cluster[1]).put.remote())
    failing = fail.options(scheduling_strategy=there, max_retries=0).remote()
    everything = [*refs, borrowed, failing]
    ready, rest = core.wait(everything, num_returns=4, timeout=30, fetch_local=False)
    assert (ready, rest) == (everything, [])
    assert core.wait(everything, num_returns=4, timeout=0, fetch_local=False)[0] == everything
    assert received(*cluster) == before
    assert core.wait(refs, num_returns=2, timeout=30)[0] == refs
    assert received(*cluster)[0] - before[0] == 2 * LARGE
