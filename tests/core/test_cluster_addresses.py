"""At which addresses nodes are reached, and which of them mean the same node."""

import socket

import pytest
from cluster_actors import actor_on

from rllib import core
from rllib.core.cluster import credentials
from rllib.core.cluster.credentials import (
    ClusterError,
    is_anywhere,
    is_loopback,
    is_same,
    joined_address,
    own_address,
    split_address,
)
from rllib.core.cluster.launch import Service
from rllib.core.cluster.service import Order
from rllib.core.testing import Node


def test_names_and_numbers_of_one_port_are_the_same() -> None:
    assert is_same("localhost:80", "127.0.0.1:80")
    assert is_same("nowhere.invalid:80", "nowhere.invalid:80")
    assert not is_same("localhost:80", "127.0.0.1:81")
    assert not is_same("127.0.0.2:80", "127.0.0.1:80")
    assert not is_same("nowhere.invalid:80", "127.0.0.1:80")
    assert is_anywhere("0.0.0.0")
    assert is_loopback("[::1]")
    assert not is_anywhere("127.0.0.1")


@pytest.mark.parametrize("address", ["[fd00::2]:80", "10.0.0.1:80", "head:80"])
def test_addresses_are_put_together_as_they_were(address: str) -> None:
    host, port = split_address(address)
    assert "[" not in host
    assert joined_address(host, port) == address


@pytest.fixture
def ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")


@pytest.mark.usefixtures("ipv6")
def test_an_address_of_ipv6_is_reached_from_one() -> None:
    assert own_address("[::1]:9") == "::1"
    with pytest.raises(ClusterError, match="there is no machine 'fd00::nowhere'"):
        own_address("[fd00::nowhere]:9")


@pytest.mark.usefixtures("ipv6")
def test_a_cluster_at_addresses_of_ipv6() -> None:
    head = Service(Order(host="[::1]", quiet=True, amounts={"CPU": 1.0}))
    try:
        address = head.running.address
        assert address == f"[::1]:{split_address(address)[1]}"
        node = Service(Order(head=address, host="::1", quiet=True, amounts={"CPU": 1.0}))
        try:
            core.init(address=address)
            assert core.get(actor_on(Node(node)).add.remote()) == 1
        finally:
            core.shutdown()
            node.stop()
        port = split_address(address)[1]
        with pytest.raises(ClusterError, match=rf"\[::1\]:{port} cannot be listened at"):
            Service(Order(host="[::1]", port=port))
    finally:
        head.stop()


def own() -> str:
    """An address of this machine that others may reach."""
    try:
        found = credentials.own_address("192.0.2.1:9")
    except ClusterError:
        pytest.skip("this machine has no network")
    return found


def test_a_head_that_listens_everywhere_tells_where_it_is_reached() -> None:
    address = own()
    head = Service(Order(host="0.0.0.0", insecure=True, quiet=True, amounts={"CPU": 1.0}))
    try:
        host, port = credentials.split_address(head.running.address)
        assert host == address
        for known_as in (address, "127.0.0.1"):
            core.init(address=f"{known_as}:{port}")
            assert len(core.nodes()) == 1, "the driver is on the node that is here"
            core.shutdown()
        with pytest.raises(ClusterError, match=r"other nodes cannot reach it at 127\.0\.0\.1"):
            Service(Order(head=f"127.0.0.1:{port}", quiet=True))
    finally:
        head.stop()
