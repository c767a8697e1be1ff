"""Tasks and actors that make and read large values, and what the tests look at."""

import os
from typing import Any

import numpy as np
import psutil
from cluster_actors import on

from rllib import core
from rllib.core.testing import Node
from rllib.core.util import state

MIB = 2**20
LARGE = 8 * MIB


@core.remote
def make(size: int = LARGE) -> Any:
    return np.ones(size, np.uint8)


@core.remote
def more(array: Any) -> Any:
    return array + 1


@core.remote
def look(*arrays: Any) -> tuple[int, str]:
    return sum(int(each[-1]) for each in arrays), core.get_runtime_context().get_node_id()


def made_on(node: Node, *args: Any) -> Any:
    return make.options(scheduling_strategy=on(node)).remote(*args)


@core.remote(num_cpus=0)
class Reader:
    """Reads what it is given, and keeps it."""

    def __init__(self) -> None:
        self.kept: Any = None

    def keep(self, refs: list[Any]) -> int:
        self.kept = core.get(refs[0])
        return int(self.kept.sum(dtype=np.int64))

    def let_go(self) -> None:
        self.kept = None


def readers_on(node: Node, count: int) -> list[Any]:
    return [Reader.options(scheduling_strategy=on(node)).remote() for _ in range(count)]


def some_array(size: int = MIB) -> Any:
    return np.frombuffer(os.urandom(size), np.uint8)


def total(array: Any) -> int:
    return int(array.sum(dtype=np.int64))


def fetched(*nodes: Node) -> list[int]:
    found = {each.node_id: each.fetched for each in state.list_stores()}
    return [found[node.id] for node in nodes]


def received(*nodes: Node) -> list[int]:
    """Bytes of large values that came there from other nodes."""
    found = {each.node_id: each.received for each in state.list_stores()}
    return [found[node.id] for node in nodes]


def ways_of(pid: int) -> int:
    """TCP connections of a node service."""
    found = psutil.Process(pid).net_connections("tcp")
    return sum(each.status == psutil.CONN_ESTABLISHED for each in found)
