"""Large values between nodes: how often they travel, where they go, and what becomes of them when
somebody ends or room runs out."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_actors import actor_on
from data_readers import fetched, readers_on, some_array, total

from rllib import core
from rllib.core.native.values import SHARED_BYTES
from rllib.core.testing import Cluster, Node
from rllib.core.util import state

MIB = 2**20
ROOM = 3 * MIB


@pytest.fixture(scope="module")
def cluster(home: Path) -> Iterator[list[Node]]:
    """Four nodes, the driver on the first."""
    with Cluster(head={"num_cpus": 2}) as made:
        nodes = [made.head, *(made.add_node(object_store_memory=ROOM) for _ in range(3))]
        core.init(address=made.address)
        yield nodes


def test_ten_readers_on_a_node_make_one_transfer(cluster: list[Node]) -> None:
    node = cluster[1]
    (before,) = fetched(node)
    readers, array = readers_on(node, 10), some_array()
    ref = core.put(array)
    for _ in range(2):  # whoever reads it later maps what is there
        sums = core.get([each.keep.remote([ref]) for each in readers])
        assert sums == [total(array)] * 10
        assert fetched(node) == [before + 1]


def test_every_node_gets_a_value_once_also_from_one_that_has_a_copy(cluster: list[Node]) -> None:
    nodes, array = cluster[1:], some_array()
    before = fetched(*nodes)
    ref = core.put(array)
    readers = [readers_on(node, 1)[0] for node in nodes]
    sums = core.get([each.keep.remote([ref]) for each in readers])
    assert sums == [total(array)] * len(nodes)
    assert fetched(*nodes) == [count + 1 for count in before]


def test_a_task_runs_where_most_bytes_of_its_arguments_are(cluster: list[Node]) -> None:
    small, large = actor_on(cluster[1]), actor_on(cluster[2])
    few = [core.get(small.put.remote(bytes(SHARED_BYTES)))[0] for _ in range(3)]
    (most,) = core.get(large.put.remote(bytes(4 * SHARED_BYTES)))
    assert core.get(where_with.remote(*few, most)) == cluster[2].id
    mine = core.put(bytes(8 * SHARED_BYTES))
    assert core.get(where_with.remote(*few, most, mine)) == cluster[0].id


@core.remote
def where_with(*_values: bytes) -> str:
    return core.get_runtime_context().get_node_id()


def test_results_and_arguments_that_refer_to_others_travel(cluster: list[Node]) -> None:
    near, far = actor_on(cluster[1]), actor_on(cluster[2])
    inner = core.put(some_array())
    (outer,) = core.get(near.put.remote([inner, some_array(SHARED_BYTES)]))
    kept = core.get(far.echo.remote([outer]))
    found, _array = core.get(kept[0])
    assert total(core.get(found)) == total(core.get(inner))


def test_copies_that_nobody_reads_go_when_there_is_no_room(cluster: list[Node]) -> None:
    """A node has room for two of twenty values, and none of them goes to its disk."""
    node = cluster[3]
    (before,) = fetched(node)
    (reader,) = readers_on(node, 1)
    for _ in range(20):
        array = some_array()
        assert core.get(reader.keep.remote([core.put(array)])) == total(array)
    assert fetched(node) == [before + 20]
    (store,) = [each for each in state.list_stores() if each.node_id == node.id]
    assert store.used <= ROOM
    assert not store.spilled
