"""Large results that stay where they were made, when that node ends or has no room for them."""

import random
from typing import Any

import numpy as np
from cluster_actors import on
from data_readers import LARGE, MIB, look, made_on, make, more, received
from patience import patience

from rllib import core
from rllib.core.testing import Cluster


def test_what_finds_no_room_there_is_read_from_the_disk_there() -> None:
    with Cluster(head={"num_cpus": 2}) as cluster:
        tight = cluster.add_node(num_cpus=8, object_store_memory=8 * MIB)
        core.init(address=cluster.address)
        refs = [made_on(tight, 5 * MIB) for _ in range(4)]
        assert [core.get(look.remote(ref)) for ref in refs] == 4 * [(1, tight.id)]
        assert received(cluster.head) == [0]
        assert [core.get(ref).nbytes for ref in refs] == 4 * [5 * MIB]


def test_results_on_a_node_that_dies_are_made_again() -> None:
    with Cluster(head={"num_cpus": 2}) as cluster:
        node = cluster.add_node(num_cpus=8, labels={"role": "maker"})
        core.init(address=cluster.address)
        maker = make.options(label_selector={"role": "maker"})
        grown = more.options(label_selector={"role": "maker"})
        first = maker.remote()
        second = grown.remote(first)
        chained = grown.remote(grown.remote(maker.remote()))
        assert core.get(look.remote(first, second, chained)) == (6, node.id)
        cluster.add_node(num_cpus=8, labels={"role": "maker"})
        cluster.kill_node(node)
        assert core.get(look.remote(first))[0] == 1
        assert core.get([look.remote(second, chained), look.remote(first, second)])[0][0] == 5
        assert core.get(chained)[-1] == 3


def test_what_cannot_be_made_again_has_come_before_its_node_dies() -> None:
    with Cluster(head={"num_cpus": 2}) as cluster:
        node = cluster.add_node(num_cpus=8)
        core.init(address=cluster.address)
        once = make.options(max_retries=0, scheduling_strategy=on(node)).remote()
        given = more.options(scheduling_strategy=on(node)).remote(np.ones(LARGE, np.uint8))
        assert len(core.wait([once, given], num_returns=2, timeout=patience(10))[0]) == 2
        cluster.kill_node(node)
        assert (core.get(once)[-1], core.get(given)[-1]) == (1, 2)


def test_a_node_that_dies_amid_the_way_is_made_up_for() -> None:
    with Cluster(head={"num_cpus": 2}) as cluster:
        node = cluster.add_node(num_cpus=8, labels={"role": "maker"})
        core.init(address=cluster.address)
        maker = make.options(label_selector={"role": "maker"})
        refs = [maker.remote(100 * MIB) for _ in range(2)]
        assert core.get(look.remote(*refs)) == (2, node.id)
        cluster.add_node(num_cpus=8, labels={"role": "maker"})
        coming = refs[0].future()
        cluster.kill_node(node)
        assert coming.result(patience(20)).nbytes == 100 * MIB
        assert core.get(refs[1], timeout=patience(20)).nbytes == 100 * MIB


def test_chains_over_nodes_that_die_one_after_the_other_are_right() -> None:
    draw = random.Random(7)
    with Cluster(head={"num_cpus": 2}) as cluster:
        nodes = [cluster.add_node(num_cpus=3) for _ in range(3)]
        core.init(address=cluster.address)
        leaf = filled.options(scheduling_strategy="SPREAD")
        for _ in range(3):
            leaves = [leaf.remote(number) for number in range(4)]
            sums = [added.remote(*draw.choices(leaves, k=2)) for _ in range(4)]
            tops = [added.remote(*draw.choices(sums, k=2)) for _ in range(3)]
            core.wait(tops, timeout=0.2 * draw.random())
            cluster.kill_node(nodes.pop(draw.randrange(3)))
            nodes.append(cluster.add_node(num_cpus=3))
            found = core.get([look.remote(top) for top in tops], timeout=patience(30))
            assert [each for each, _node in found] == [core.get(top)[-1] for top in tops]
            assert [core.get(each)[0] for each in leaves] == list(range(4))


@core.remote(max_retries=-1)
def filled(number: int) -> Any:
    return np.full(LARGE, number, np.uint8)


@core.remote(max_retries=-1)
def added(one: Any, other: Any) -> Any:
    return one + other
