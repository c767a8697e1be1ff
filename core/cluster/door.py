"""A node's one TCP port: who connects is led to the gRPC server or to the tunnels, by the first
bytes that he sends. Whoever sends others, or none for a while, is shut out; and so is who does not
prove soon to have the token, or is one of too many (`strangers`).

The gRPC server listens at a Unix socket in the session's directory. It sees whom it talks to by the
name of the socket that is connected to it.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rllib.core.cluster.credentials import ClusterError, joined_address
from rllib.core.cluster.strangers import Stranger, strangers_within
from rllib.core.cluster.tunnels import MAGIC
from rllib.core.cluster.wires import prepare, ready
from rllib.core.native.descriptors import most_descriptors

GRPC = "grpc.sock"
"""In the session's directory: where the gRPC server listens."""

_PATIENCE_S = 5.0
_PROOF_S = 10.0
"""From the first bytes to the proof of having the token."""
_PAUSE_S = 0.1
_PIECE = 1 << 16
_HTTP2, _TLS = b"P", b"\x16"
"""How gRPC begins, without TLS and with it."""

_WITHOUT_TLS = "without TLS, which this node speaks,"
_WITH_TLS = "with TLS, which this node does not speak,"


class Door:
    """See the module's text. Runs on the gateway's loop."""

    def __init__(
        self,
        directory: Path,
        admit: Callable[[socket.socket, str], Awaitable[bool]],
        begin: Callable[[Coroutine[Any, Any, None]], None],
        refused: Callable[[str, str], None],
        *,
        has_tls: bool,
    ) -> None:
        self._directory = directory
        self._admit = admit
        self._begin = begin
        self._refused = refused
        self._has_tls = has_tls
        self._numbers = itertools.count(1)
        self._listener: socket.socket | None = None
        self._strangers = strangers_within(most_descriptors())
        self._at_grpc: dict[str, Stranger] = {}
        """By the names of the sockets by which the server sees them."""

    def listen(self, host: str, port: int) -> int:
        """Open the port; its number. Raises `ClusterError`."""
        try:
            listener = self._listener = _listening(host, port)
        except OSError as error:
            raise ClusterError(
                f"{joined_address(host, port)} cannot be listened at: it is in use, or no address "
                "of this machine"
            ) from error
        self._begin(self._accept(listener))
        return int(listener.getsockname()[1])

    def close(self) -> None:
        """Close the port, if it was opened."""
        if self._listener is not None:
            self._listener.close()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, address = await loop.sock_accept(listener)
            except OSError:  # out of descriptors, or it was gone at once
                await asyncio.sleep(_PAUSE_S)
                continue
            self._begin(self._lead(sock, str(address[0]).removeprefix("::ffff:")))
            await asyncio.sleep(0)  # who came before gets his turn, however many come at once

    def know(self, peer: str) -> None:
        """That one has the token; by what the gRPC server calls him."""
        stranger = self._at_grpc.pop(_name_of(peer), None)
        if stranger is not None:
            self._strangers.know(stranger)

    async def _lead(self, sock: socket.socket, host: str) -> None:
        """Lead somebody on, and keep him as long as he may stay."""
        is_in = False
        try:
            async with asyncio.timeout(_PATIENCE_S) as patience:
                with self._strangers.one_more(host, patience) as stranger:
                    is_in = await self._lead_on(sock, stranger)
        except OSError:  # he is gone, or his time is up, or there are no descriptors
            pass
        finally:
            if not is_in:
                sock.close()

    async def _lead_on(self, sock: socket.socket, stranger: Stranger) -> bool:
        """Whether the tunnels have the socket now."""
        prepare(sock)
        first = await _first_byte(sock)
        is_ours = first == MAGIC[:1] and await _said(sock) == MAGIC
        stranger.stay(_PROOF_S)
        if is_ours:
            return await self._admit(sock, stranger.host)
        if first in (_HTTP2, _TLS):
            if (first == _TLS) != self._has_tls:  # of which gRPC would say nothing
                self._refused(_WITH_TLS if first == _TLS else _WITHOUT_TLS, stranger.host)
            await self._to_grpc(sock, stranger)
        return False

    async def _to_grpc(self, sock: socket.socket, stranger: Stranger) -> None:
        """Pass on what the two say, until both have ended."""
        name = f"{stranger.host}@{next(self._numbers)}"
        self._at_grpc[name] = stranger
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as inner:
                await self._connect(inner, name)
                await _pass_both_ways(sock, inner)
        finally:
            self._at_grpc.pop(name, None)

    async def _connect(self, inner: socket.socket, name: str) -> None:
        inner.setblocking(False)
        path = self._directory / name
        inner.bind(str(path))
        try:
            await asyncio.get_running_loop().sock_connect(inner, str(self._directory / GRPC))
        finally:
            path.unlink()


def host_of(peer: str) -> str:
    """Whom the gRPC server talks to, by what it calls him."""
    return _name_of(peer).rpartition("@")[0]


def _name_of(peer: str) -> str:
    return unquote(peer).rpartition("/")[2]


async def _pass_both_ways(one: socket.socket, other: socket.socket) -> None:
    ways = [asyncio.ensure_future(_pass_on(*way)) for way in ((one, other), (other, one))]
    try:
        await asyncio.gather(*ways)
    finally:
        for way in ways:
            way.cancel()


async def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, _PIECE):
        await loop.sock_sendall(sink, data)
    sink.shutdown(socket.SHUT_WR)


async def _first_byte(sock: socket.socket) -> bytes:
    await ready(sock)
    return sock.recv(1, socket.MSG_PEEK)


async def _said(sock: socket.socket) -> bytes:
    """As many bytes as MAGIC has."""
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < len(MAGIC):
        more = await loop.sock_recv(sock, len(MAGIC) - len(data))
        if not more:
            break
        data += more
    return data


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens there, for both families where the host means all addresses."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
    listener = socket.create_server((host, port), family=family, backlog=1024, dualstack_ipv6=both)
    listener.setblocking(False)
    return listener
