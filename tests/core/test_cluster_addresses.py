"""At which addresses nodes are reached, and which of them mean the same node."""

import pytest

from rllib import core
from rllib.core.cluster import credentials
from rllib.core.cluster.credentials import ClusterError, is_anywhere, is_loopback, is_same
from rllib.core.cluster.launch import Service
from rllib.core.cluster.service import Order


def test_names_and_numbers_of_one_port_are_the_same() -> None:
    assert is_same("localhost:80", "127.0.0.1:80")
    assert is_same("nowhere.invalid:80", "nowhere.invalid:80")
    assert not is_same("localhost:80", "127.0.0.1:81")
    assert not is_same("127.0.0.2:80", "127.0.0.1:80")
    assert not is_same("nowhere.invalid:80", "127.0.0.1:80")
    assert is_anywhere("0.0.0.0")
    assert is_loopback("[::1]")
    assert not is_anywhere("127.0.0.1")


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
