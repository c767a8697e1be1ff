"""What the tests of several nodes run on them."""

import os
import time
from collections.abc import Iterator
from typing import Any

from rllib import core
from rllib.core.testing import Node
from rllib.core.util.scheduling_strategies import NodeAffinitySchedulingStrategy


@core.remote
class Counter:
    """An actor that counts, and knows where it is."""

    def __init__(self, start: int = 0) -> None:
        self.count = start
        self.held: list[Any] = []

    def add(self, amount: int = 1) -> int:
        self.count += amount
        return self.count

    def node(self) -> str:
        return core.get_runtime_context().get_node_id()

    def pid(self) -> int:
        return os.getpid()

    def echo(self, value: Any) -> Any:
        return value

    def put(self, value: Any) -> Any:
        return [core.put(value)]

    def sleep(self) -> None:
        time.sleep(1_000)

    def hold(self, refs: list[Any]) -> None:
        self.held = refs

    def value_of_held(self) -> Any:
        return core.get(self.held[0])

    def fail(self) -> None:
        raise KeyError("on purpose")

    def numbers(self, count: int) -> Iterator[int]:
        yield from range(count)

    def ask(self, name: str) -> str:
        found: str = core.get(core.get_actor(name).node.remote())
        return found


@core.remote
def where() -> str:
    return core.get_runtime_context().get_node_id()


@core.remote
def length(value: bytes) -> tuple[int, str]:
    return len(value), core.get_runtime_context().get_node_id()


@core.remote
def sleep_for_ever() -> None:
    time.sleep(1_000)


def on(node: Node | str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node if isinstance(node, str) else node.id, soft=False)


def actor_on(node: Node, **options: Any) -> Any:
    return Counter.options(scheduling_strategy=on(node), num_cpus=0, **options).remote()
