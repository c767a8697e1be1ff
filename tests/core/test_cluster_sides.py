"""Side wires between real nodes: who may have some, and how many."""

import contextlib
import os
import re
import secrets
import socket
from collections.abc import Iterator

import numpy as np
import pytest
from cluster_actors import actor_on
from data_readers import total, ways_of
from patience import patience, wait_until

from rllib import core
from rllib.core.cluster.carriers import SIDES
from rllib.core.cluster.credentials import read_token, split_address
from rllib.core.cluster.proofs import Prover
from rllib.core.cluster.side_wires import APART_BYTES, HELLO
from rllib.core.cluster.tunnels import GONE, MAGIC, OPEN, REFUSED, SIDE, SIDE_OF, TUNNEL
from rllib.core.native.session import base_directory
from rllib.core.native.sites import node_key
from rllib.core.testing import Cluster

LARGE = 3 * APART_BYTES
PROCESS = re.compile(r"[0-9a-f]{32}")


def test_large_values_come_by_side_wires_that_go_with_their_tunnel() -> None:
    with Cluster(head={"num_cpus": 1}) as cluster:
        node = cluster.add_node(num_cpus=1)
        core.init(address=cluster.address)
        actor = actor_on(node)
        array = np.random.default_rng(1).integers(0, 256, LARGE, np.uint8)
        assert core.get(actor.echo.remote(array[: APART_BYTES // 2])).nbytes == APART_BYTES // 2
        before = ways_of(node.pid)
        for _ in range(4):
            (ref,) = core.get(actor.put.remote(array))
            assert total(core.get(ref)) == total(array)
        wait_until(lambda: ways_of(node.pid) >= before + SIDES, patience(10))
        assert total(core.get(actor.echo.remote(array))) == total(array)
        core.shutdown()  # and with it all that has talked to the other node
        wait_until(lambda: ways_of(node.pid) <= before, patience(10))


@pytest.fixture(scope="module")
def cluster(home: object) -> Iterator[Cluster]:
    with Cluster(head={"num_cpus": 1}) as made:
        yield made


class Caller:
    """A node that has the token."""

    def __init__(self, cluster: Cluster, opened: contextlib.ExitStack, token: str = "") -> None:
        self._prover = Prover(token or read_token(make=False), os.urandom(16))
        self._cluster = cluster
        self._opened = opened

    def call(self, method: str, to: str, proved: str = "") -> tuple[bytes, str, socket.socket]:
        """The first byte of the answer, the number of the call, and the connection."""
        key = node_key(self._cluster.head.id)
        shown = dict(self._prover.call(key, method, proved or to))["authorization"]
        sock = socket.create_connection(split_address(self._cluster.address), patience(10))
        self._opened.enter_context(sock)
        text = f"{to} {shown}".encode()
        sock.sendall(MAGIC + len(text).to_bytes(2, "little") + text)
        return sock.recv(1), shown.split(" ")[2], sock


def some_process() -> str:
    """One that listens on the node."""
    names = [path.stem for path in base_directory().rglob("*.sock")]
    return next(name for name in names if PROCESS.fullmatch(name))


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def test_a_tunnel_has_so_many_side_wires_and_no_more(
    cluster: Cluster, opened: contextlib.ExitStack
) -> None:
    caller = Caller(cluster, opened)
    answer, number, tunnel = caller.call(TUNNEL, some_process())
    assert answer == OPEN
    answers = [caller.call(SIDE, SIDE_OF + number) for _ in range(SIDES)]
    assert [answer for answer, _number, _sock in answers] == [OPEN] * SIDES
    answer, _number, sock = caller.call(SIDE, SIDE_OF + number)
    assert answer == REFUSED
    assert b"no more" in sock.recv(1000)
    tunnel.close()
    for _answer, _number, side in answers:
        assert side.recv(1) == b""
    assert caller.call(SIDE, SIDE_OF + number)[0] == GONE


def test_a_tunnel_has_side_wires_of_who_has_dug_it_alone(
    cluster: Cluster, opened: contextlib.ExitStack
) -> None:
    caller, other = Caller(cluster, opened), Caller(cluster, opened)
    answer, number, _tunnel = caller.call(TUNNEL, some_process())
    assert answer == OPEN
    assert other.call(SIDE, SIDE_OF + number)[0] == GONE
    for to in ("", "0", "-1", number + "0", "x" * 500, "../" * 5):
        assert caller.call(SIDE, SIDE_OF + to)[0] == GONE
    assert caller.call(SIDE, SIDE_OF + number)[0] == OPEN


def test_what_is_proved_is_what_is_wanted(cluster: Cluster, opened: contextlib.ExitStack) -> None:
    caller = Caller(cluster, opened)
    _answer, number, _tunnel = caller.call(TUNNEL, some_process())
    side = SIDE_OF + number
    assert caller.call(TUNNEL, side)[0] == REFUSED
    assert caller.call(SIDE, some_process())[0] == REFUSED
    assert caller.call(SIDE, side, proved=SIDE_OF + "1" * 5)[0] == REFUSED
    stranger = Caller(cluster, opened, secrets.token_urlsafe())
    assert stranger.call(SIDE, side)[0] == REFUSED


def test_nonsense_on_a_side_wire_ends_its_tunnel_alone(
    cluster: Cluster, opened: contextlib.ExitStack
) -> None:
    caller = Caller(cluster, opened)
    _answer, number, tunnel = caller.call(TUNNEL, some_process())
    _answer, _number, unharmed = caller.call(TUNNEL, some_process())
    answer, _number, side = caller.call(SIDE, SIDE_OF + number)
    assert answer == OPEN
    side.sendall(HELLO + os.urandom(1 << 12))
    with contextlib.suppress(ConnectionResetError):
        assert tunnel.recv(1) == b""
    unharmed.settimeout(0)
    with pytest.raises(BlockingIOError):
        unharmed.recv(1)
