"""Large results of tasks stay on the node that made them until somebody elsewhere reads them."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cluster_actors import on
from data_readers import LARGE, MIB, Reader, look, made_on, make, more, received
from patience import patience, wait_until

from rllib import core
from rllib.core.exceptions import ActorDiedError
from rllib.core.testing import Cluster, Node
from rllib.core.util.state import StoreState, list_objects, list_stores

ROOM = 36 * MIB


@pytest.fixture(scope="module")
def cluster(home: Path) -> Iterator[list[Node]]:
    """Three nodes, the driver on the first."""
    with Cluster(head={"num_cpus": 4}) as made:
        nodes = [made.head, made.add_node(num_cpus=8)]
        nodes.append(made.add_node(num_cpus=8, object_store_memory=ROOM))
        core.init(address=made.address)
        yield nodes


@core.remote(num_cpus=0)
class Caller:
    """Calls tasks, whose results are its own."""

    def call(self, node: str) -> list[Any]:
        self.ref = make.options(scheduling_strategy=on(node)).remote()
        return [self.ref]

    def call_and_look(self, node: str) -> Any:
        return core.get(look.remote(*self.call(node)))


def store(node: Node) -> StoreState:
    return next(each for each in list_stores() if each.node_id == node.id)


def test_what_is_only_passed_on_does_not_travel(cluster: list[Node]) -> None:
    before = received(*cluster)
    assert core.get(look.remote(made_on(cluster[1]))) == (1, cluster[1].id)
    chain = more.remote(more.remote(made_on(cluster[1])))
    assert core.get(look.remote(chain)) == (3, cluster[1].id)
    assert received(*cluster) == before


def test_what_is_read_comes_once_and_goes_there(cluster: list[Node]) -> None:
    head, other, _third = received(*cluster)
    ref = made_on(cluster[1])
    for _ in range(2):
        assert core.get(ref).nbytes == LARGE
    assert received(*cluster)[:2] == [head + LARGE, other]


def test_what_stays_is_told_as_finished(cluster: list[Node]) -> None:
    ref = made_on(cluster[1])
    assert core.get(look.remote(ref))[0] == 1
    (row,) = [each for each in list_objects() if each.object_id == ref.hex()]
    assert row.task_status == "FINISHED"


def test_what_nobody_refers_to_goes(cluster: list[Node]) -> None:
    """Its memory is used again, also after others have read it, there and here."""
    before = store(cluster[1]).used
    for each in range(12):
        ref = made_on(cluster[1])
        assert core.get(look.remote(ref)) == (1, cluster[1].id)
        if each % 2:
            core.get(ref)
        del ref
    assert store(cluster[1]).used < before + 6 * LARGE


def test_readers_on_a_third_node_get_it_from_where_it_is(cluster: list[Node]) -> None:
    before = received(*cluster)
    ref = made_on(cluster[1])
    readers = [Reader.options(scheduling_strategy=on(cluster[2])).remote() for _ in range(3)]
    assert core.get([each.keep.remote([ref]) for each in readers]) == 3 * [LARGE]
    assert received(*cluster) == [before[0], before[1], before[2] + LARGE]


def test_readers_on_the_owners_node_get_it_through_its_owner(cluster: list[Node]) -> None:
    before = received(*cluster)
    ref = made_on(cluster[1])
    readers = [Reader.options(scheduling_strategy=on(cluster[0])).remote() for _ in range(3)]
    assert core.get([each.keep.remote([ref]) for each in readers]) == 3 * [LARGE]
    assert received(*cluster) == [before[0] + LARGE, *before[1:]]


def test_a_borrower_finds_it_where_it_is_and_not_at_its_owner(cluster: list[Node]) -> None:
    caller = Caller.options(scheduling_strategy=on(cluster[2])).remote()
    before = received(*cluster)
    (ref,) = core.get(caller.call.remote(cluster[1].id))
    assert core.get(look.remote(ref)) == (1, cluster[1].id)
    assert received(*cluster) == before
    assert core.get(ref).nbytes == LARGE


def test_results_go_with_an_owner_that_ends(cluster: list[Node]) -> None:
    for _ in range(8):
        caller = Caller.options(scheduling_strategy=on(cluster[1])).remote()
        assert core.get(caller.call_and_look.remote(cluster[2].id)) == (1, cluster[2].id)
        core.kill(caller)
        with pytest.raises(ActorDiedError):
            core.get(caller.call.remote(""))
    wait_until(lambda: not store(cluster[2]).spilled)


def test_waiting_and_futures_bring_it(cluster: list[Node]) -> None:
    refs = [made_on(cluster[1]) for _ in range(3)]
    ready, rest = core.wait(refs, num_returns=3, timeout=patience(10))
    assert (len(ready), rest) == (3, [])
    assert made_on(cluster[1]).future().result(patience(10)).nbytes == LARGE

    async def awaited() -> int:
        return int((await made_on(cluster[1])).nbytes)

    assert asyncio.run(awaited()) == LARGE


def test_a_result_outlives_the_worker_that_has_made_it(cluster: list[Node]) -> None:
    @core.remote(max_calls=1)
    def pid_and_ones() -> Any:
        return np.full(LARGE // 4, os.getpid(), np.int32)

    @core.remote
    def kill_who_made(array: Any) -> None:
        os.kill(int(array[0]), signal.SIGKILL)

    ref = pid_and_ones.options(scheduling_strategy=on(cluster[1])).remote()
    try:
        core.get(kill_who_made.options(max_retries=0).remote(ref))
    except core.exceptions.TaskError as error:
        assert isinstance(error.cause, ProcessLookupError), "else it had ended by itself"  # noqa: PT017
    before = received(*cluster)
    assert core.get(look.remote(ref))[1] == cluster[1].id
    assert received(*cluster) == before
