"""Connections between nodes: how they send."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from rllib.core.cluster.wires import secured
from rllib.core.native import platform


@pytest.fixture
def paced() -> Iterator[socket.socket]:
    """A connection over the loopback device, paced as some systems do with all."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        sock = stack.enter_context(socket.create_connection(server.getsockname()))
        stack.enter_context(server.accept()[0])
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"bbr")
        except (AttributeError, OSError) as error:
            pytest.skip(f"no BBR here: {error}")
        sock.setblocking(False)
        yield sock


def algorithm_of(sock: socket.socket) -> bytes:
    name = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    return name.rstrip(b"\0")


def test_neighbours_are_sent_to_at_once(paced: socket.socket) -> None:
    assert 0 < platform.round_trip_us(paced) < 10**6
    asyncio.run(secured(paced, None, server=False))
    assert algorithm_of(paced) == b"cubic"


def test_over_a_long_way_the_systems_choice_stays(
    paced: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "round_trip_us", lambda sock: 20_000)
    asyncio.run(secured(paced, None, server=False))
    assert algorithm_of(paced) == b"bbr"
