"""Networks of machines on one host (`benchmarks.networks`), whose cables can be cut."""

import contextlib
from collections.abc import Iterator

import pytest

from benchmarks import networks
from rllib.core.cluster.launch import Service
from rllib.core.cluster.service import Order


class Network(networks.Network):
    """Its processes reach each other by the addresses of their machines alone."""

    def cut(self, number: int) -> None:
        """From now on nothing that the machine sends arrives, nor what is sent to it."""
        networks.ip("link", "set", self.cable(number), "nomaster")

    def mend(self, number: int) -> None:
        """The end of that."""
        networks.ip("link", "set", self.cable(number), "master", self.mark)

    def node(self, number: int, head: str = "", **amounts: float) -> Service:
        """A node service on that machine, without TLS."""
        order = Order(
            head=head, host=self.address(number), amounts=amounts, insecure=True, quiet=True
        )
        return self.on(number, lambda: Service(order))


@contextlib.contextmanager
def network(size: int) -> Iterator[Network]:
    """Skips the test where there can be none."""
    reason = networks.no_network()
    if reason:
        pytest.skip(reason)
    with Network(size) as found:
        yield found
