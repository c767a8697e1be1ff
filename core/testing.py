"""For tests of what is built on the runtime: a cluster of several nodes on one machine.

Each node is a node service of its own with workers of its own, at an address 127.0.0.N; no two of
them share memory, so what holds here holds for machines::

    with Cluster(head={"num_cpus": 2}) as cluster:
        node = cluster.add_node(num_cpus=2)
        core.init(address=cluster.address)
        ...
        cluster.kill_node(node)  # as kill -9 does

With the environment variables ``RLLIB_TLS_CERT``, ``_KEY`` and ``_CA`` they speak TLS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rllib.core import api
from rllib.core.cluster.launch import Service
from rllib.core.cluster.options import tls_of
from rllib.core.cluster.service import Order

__all__ = ["Cluster", "Node"]

JOIN_TIMEOUT_S = 10.0
"""How long a node tries to join."""


class Node:
    """A node of a `Cluster`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.id = service.running.node
        """Its id in hexadecimal, as `core.nodes` tells it."""
        self.address = service.running.address
        self.pid = service.pid
        """Of its node service."""


class Cluster:
    """A head, with the options of `add_node`, and the nodes that are added to it."""

    def __init__(self, head: Mapping[str, Any] | None = None) -> None:
        self._count = 0
        self._nodes: dict[str, Node] = {}
        self.head = self._start("", **(head or {}))
        self.address = self.head.address
        """What `core.init` takes."""

    def add_node(
        self,
        *,
        num_cpus: float = 1,
        num_gpus: float = 0,
        resources: Mapping[str, float] | None = None,
        labels: Mapping[str, str] | None = None,
        object_store_memory: int | None = None,
        preload: Sequence[str] = (),
    ) -> Node:
        """A further node; it has joined when this returns. Its workers start with the modules
        ``preload`` imported."""
        return self._start(
            self.address,
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            resources=resources,
            labels=labels,
            object_store_memory=object_store_memory,
            preload=preload,
        )

    def _start(
        self,
        head: str,
        *,
        num_cpus: float = 1,
        num_gpus: float = 0,
        resources: Mapping[str, float] | None = None,
        labels: Mapping[str, str] | None = None,
        object_store_memory: int | None = None,
        preload: Sequence[str] = (),
    ) -> Node:
        self._count += 1
        amounts = {"CPU": float(num_cpus), "GPU": float(num_gpus), **(resources or {})}
        order = Order(
            head=head,
            host=f"127.0.0.{self._count}",
            amounts=amounts,
            labels=dict(labels or {}),
            object_store_memory=object_store_memory,
            preload=tuple(preload),
            tls=tls_of(),
            quiet=True,
            join_timeout_s=JOIN_TIMEOUT_S,
        )
        node = Node(Service(order))
        self._nodes[node.id] = node
        return node

    def remove_node(self, node: Node) -> None:
        """End it as ``rllib stop`` does."""
        self._nodes.pop(node.id)._service.stop()

    def kill_node(self, node: Node) -> None:
        """End it as ``kill -9`` of its service does."""
        self._nodes.pop(node.id)._service.kill()

    def shutdown(self) -> None:
        """End this process's runtime, and all nodes, the head last."""
        api.shutdown()
        for node in reversed(list(self._nodes.values())):
            self.remove_node(node)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
