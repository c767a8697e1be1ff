"""Several nodes: what holds on one machine holds across them.

The nodes are separate processes at 127.0.0.1, .2, .3 that share no memory.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_actors import Counter, actor_on, length, on, sleep_for_ever, where

from rllib import core
from rllib.core.exceptions import TaskCancelledError, TaskError
from rllib.core.native.values import SHARED_BYTES
from rllib.core.testing import Cluster, Node
from rllib.core.util import placement_group, placement_group_table, remove_placement_group
from rllib.core.util.scheduling_strategies import PlacementGroupSchedulingStrategy

SIZES = (10, SHARED_BYTES - 1, SHARED_BYTES, 3 * 2**20)


@pytest.fixture(scope="module")
def cluster(home: Path) -> Iterator[tuple[Node, Node, Node]]:
    """Its nodes, the head first, which is also the driver's."""
    with Cluster(head={"num_cpus": 2}) as made:
        nodes = (
            made.head,
            made.add_node(num_cpus=2),
            made.add_node(num_cpus=2, labels={"zone": "c"}),
        )
        core.init(address=made.address, namespace="tests")
        yield nodes


Nodes = tuple[Node, Node, Node]


def test_nodes_and_resources_are_told(cluster: Nodes) -> None:
    found = core.nodes()
    assert [row["NodeID"] for row in found] == [node.id for node in cluster]
    assert [row["NodeManagerAddress"] for row in found] == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    assert core.cluster_resources()["CPU"] == 6


@pytest.mark.parametrize("size", SIZES)
def test_values_of_all_sizes_travel_both_ways(cluster: Nodes, size: int) -> None:
    actor = actor_on(cluster[1])
    value = os.urandom(size)
    assert core.get(actor.echo.remote(value)) == value
    assert core.get(actor.echo.remote(core.put(value))) == value
    (ref,) = core.get(actor.put.remote(value))
    assert core.get(ref) == value
    other = actor_on(cluster[2])
    assert core.get(other.echo.remote(ref)) == value


def test_calls_of_an_actor_keep_their_order(cluster: Nodes) -> None:
    actor = actor_on(cluster[1])
    assert core.get(actor.node.remote()) == cluster[1].id
    assert core.get([actor.add.remote() for _ in range(500)]) == list(range(1, 501))


def test_exceptions_and_streams_cross_nodes(cluster: Nodes) -> None:
    actor = actor_on(cluster[2])
    with pytest.raises(TaskError) as caught:
        core.get(actor.fail.remote())
    assert isinstance(caught.value, KeyError)
    stream = actor.numbers.options(num_returns="streaming").remote(5)
    assert [core.get(ref) for ref in stream] == [0, 1, 2, 3, 4]


def test_named_actors_are_found_from_every_node(cluster: Nodes) -> None:
    named = actor_on(cluster[1], name="somebody")
    others = [actor_on(node) for node in cluster]
    assert core.get([other.ask.remote("somebody") for other in others]) == 3 * [cluster[1].id]
    del named


def test_a_borrower_on_another_node_counts(cluster: Nodes) -> None:
    actor = actor_on(cluster[1])
    value = os.urandom(2 * SHARED_BYTES)
    ref = core.put(value)
    core.get(actor.hold.remote([ref]))
    del ref
    assert core.get(actor.value_of_held.remote()) == value


def test_spread_and_affinity_of_tasks(cluster: Nodes) -> None:
    assert core.get(where.options(scheduling_strategy=on(cluster[2])).remote()) == cluster[2].id
    assert core.get(where.options(label_selector={"zone": "c"}).remote()) == cluster[2].id
    spread = [Counter.options(scheduling_strategy="SPREAD", num_cpus=1).remote() for _ in range(6)]
    places = core.get([actor.node.remote() for actor in spread])
    assert sorted(places) == sorted(2 * [node.id for node in cluster])


def test_a_task_runs_where_its_largest_argument_is(cluster: Nodes) -> None:
    owner = actor_on(cluster[2])
    (ref,) = core.get(owner.put.remote(bytes(2 * SHARED_BYTES)))
    assert core.get(length.remote(ref)) == (2 * SHARED_BYTES, cluster[2].id)


def test_a_task_elsewhere_is_cancelled(cluster: Nodes) -> None:
    ref = sleep_for_ever.options(scheduling_strategy=on(cluster[1])).remote()
    assert core.wait([ref], timeout=0.5)[1]
    core.cancel(ref)
    with pytest.raises(TaskCancelledError):
        core.get(ref, timeout=10)


def test_a_placement_group_lies_on_all_nodes(cluster: Nodes) -> None:
    group = placement_group([{"CPU": 1}] * 3, strategy="STRICT_SPREAD")
    core.get(group.ready())
    nodes = placement_group_table(group)["bundles_to_node_id"]
    assert sorted(nodes.values()) == sorted(node.id for node in cluster)
    for bundle in range(3):
        strategy = PlacementGroupSchedulingStrategy(group, bundle)
        assert core.get(where.options(scheduling_strategy=strategy).remote()) == nodes[bundle]
    remove_placement_group(group)
