"""Large values between nodes, when somebody ends or room runs out."""

import contextlib
import threading
from typing import Any

import numpy as np
import pytest
from cluster_actors import actor_on
from data_readers import MIB, fetched, readers_on, some_array, total, ways_of
from patience import patience, wait_until

from rllib import core
from rllib.core.cluster.carriers import SIDES
from rllib.core.cluster.side_wires import APART_BYTES
from rllib.core.exceptions import ObjectLostError
from rllib.core.testing import Cluster


def test_a_copy_that_had_to_go_is_fetched_from_its_owner() -> None:
    with Cluster(head={"num_cpus": 2}) as cluster:
        tight = cluster.add_node(object_store_memory=3 * MIB)
        others = [cluster.add_node() for _ in range(2)]
        core.init(address=cluster.address)
        array = some_array(2 * MIB)
        ref = core.put(array)
        (reader,) = readers_on(tight, 1)
        for each in (ref, core.put(some_array(2 * MIB))):  # there is room for one of them
            core.get(reader.keep.remote([each]))
            core.get(reader.let_go.remote())
        sums = core.get([readers_on(each, 1)[0].keep.remote([ref]) for each in others])
        assert sums == 2 * [total(array)]
        assert fetched(tight, *others) == [2, 1, 1]


def test_without_the_node_that_has_a_copy_the_owner_sends_it() -> None:
    with Cluster(head={"num_cpus": 2}) as cluster:
        nodes = [cluster.add_node() for _ in range(3)]
        core.init(address=cluster.address)
        array = some_array()
        ref = core.put(array)
        readers = [readers_on(node, 1)[0] for node in nodes]
        for reader in readers[:2]:
            assert core.get(reader.keep.remote([ref])) == total(array)
        cluster.kill_node(nodes[0])
        assert core.get(readers[2].keep.remote([ref])) == total(array)


def large_ones_come_by_side_wires(cluster: Cluster, actor: Any) -> None:
    """Have that of the head and the actor's service have some."""
    before = ways_of(cluster.head.pid)

    def are_there() -> bool:
        (ref,) = core.get(actor.put.remote(bytes(APART_BYTES)))
        core.get(ref)
        return ways_of(cluster.head.pid) >= before + SIDES

    wait_until(are_there, patience(10))


@pytest.mark.parametrize("by_side_wires", [False, True])
def test_what_finds_no_room_in_shared_memory_goes_to_disk(by_side_wires: bool) -> None:
    with Cluster(head={"num_cpus": 2}) as cluster:
        node = cluster.add_node(object_store_memory=MIB)
        core.init(address=cluster.address)
        array = some_array(5 * MIB)
        actor = actor_on(node)
        if by_side_wires:
            large_ones_come_by_side_wires(cluster, actor)
        assert total(core.get(actor.echo.remote(array))) == total(array)
        assert core.get(readers_on(node, 1)[0].keep.remote([core.put(array)])) == total(array)
        (ref,) = core.get(actor.put.remote(array))
        assert total(core.get(ref)) == total(array)


@pytest.mark.parametrize("by_side_wires", [False, True])
@pytest.mark.parametrize("how", ["actor", "node"])
def test_an_owner_that_ends_amid_a_transfer_is_soon_an_error(how: str, by_side_wires: bool) -> None:
    """Unless the value has come, or is on its way from the memory that the owner leaves behind."""
    with Cluster(head={"num_cpus": 2}) as cluster:
        node = cluster.add_node()
        core.init(address=cluster.address)
        owner = actor_on(node)
        array = np.ones(200 * MIB, np.uint8)
        if by_side_wires:
            large_ones_come_by_side_wires(cluster, owner)
        (ref,) = core.get(owner.put.remote(array))
        ends = (lambda: core.kill(owner)) if how == "actor" else (lambda: cluster.kill_node(node))
        end = threading.Timer(0.02, ends)
        end.start()
        with contextlib.suppress(ObjectLostError):
            assert total(core.get(ref, timeout=patience(5))) == array.nbytes
        end.join()
        (kept,) = core.get(actor_on(cluster.head).put.remote(array))
        assert total(core.get(kept)) == array.nbytes
