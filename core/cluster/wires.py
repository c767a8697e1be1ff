"""A TCP connection between two gateways, in plain or with TLS, that does not block.

Whatever would block returns ``None``.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from abc import ABC, abstractmethod
from functools import lru_cache

from rllib.core.cluster.credentials import TLS_NAME, Tls

_PIECE = 1 << 18
"""Bytes that TLS takes at a time."""
_MOST_AWAITED = 1 << 19
"""To wake somebody for each packet costs more than the packet."""


class Wire(ABC):
    """Reads and writes as much as there is, or as there is room for."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()

    @abstractmethod
    def send(self, data: memoryview) -> int | None:
        """Write some of it; after ``None`` the same is to be sent again. Raises `OSError`."""

    @abstractmethod
    def send_file(self, fd: int, offset: int, size: int) -> int | None:
        """Write some of the bytes there. They are not to change before they have arrived."""

    @abstractmethod
    def receive(self, size: int) -> bytes | None:
        """Some bytes; none at the end. Raises `OSError`."""

    @abstractmethod
    def receive_into(self, room: memoryview) -> int | None:
        """The same."""

    @abstractmethod
    def await_bytes(self, size: int) -> None:
        """So many bytes are about to come, and nobody needs to look before most of them are there.
        0 for whatever comes."""

    @property
    def buffered(self) -> bool:
        """Whether something was read from the socket that nobody has received."""
        return False

    def end_output(self) -> None:
        """Nothing more is sent."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()


class PlainWire(Wire):
    """The kernel moves bytes between memory and the network without a copy in this process."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._awaited = 1

    def send(self, data: memoryview) -> int | None:
        """See `Wire`."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return None

    def send_file(self, fd: int, offset: int, size: int) -> int | None:
        """See `Wire`."""
        try:
            return os.sendfile(self.fd, fd, offset, size)
        except BlockingIOError:
            return None

    def receive(self, size: int) -> bytes | None:
        """See `Wire`."""
        try:
            return self.sock.recv(size)
        except BlockingIOError:
            return None

    def receive_into(self, room: memoryview) -> int | None:
        """See `Wire`."""
        try:
            return self.sock.recv_into(room)
        except BlockingIOError:
            return None

    def await_bytes(self, size: int) -> None:
        """See `Wire`."""
        awaited = max(1, min(size, _MOST_AWAITED))
        if awaited != self._awaited:
            self._awaited = awaited
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, awaited)


_BLOCKED = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class TlsWire(Wire):
    """With TLS, after its handshake."""

    sock: ssl.SSLSocket

    def send(self, data: memoryview) -> int | None:
        """See `Wire`."""
        try:
            return self.sock.send(data)
        except _BLOCKED:
            return None

    def send_file(self, fd: int, offset: int, size: int) -> int | None:
        """See `Wire`."""
        return self.send(memoryview(os.pread(fd, min(size, _PIECE), offset)))

    def receive(self, size: int) -> bytes | None:
        """See `Wire`."""
        try:
            return self.sock.recv(size)
        except _BLOCKED:
            return None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""

    def receive_into(self, room: memoryview) -> int | None:
        """See `Wire`."""
        try:
            return self.sock.recv_into(room)
        except _BLOCKED:
            return None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return 0

    def await_bytes(self, size: int) -> None:
        """The kernel does not know what comes of so many."""

    @property
    def buffered(self) -> bool:
        """See `Wire`."""
        return self.sock.pending() > 0


def prepare(sock: socket.socket) -> None:
    """Send small messages at once, and notice a machine that is gone."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


async def secured(sock: socket.socket, tls: Tls | None, *, server: bool) -> Wire:
    """The wire over that socket, after the handshake. Raises `OSError`."""
    if tls is None:
        return PlainWire(sock)
    context = _context(tls, server=server)
    name = None if server else TLS_NAME
    wrapped = context.wrap_socket(sock, server, do_handshake_on_connect=False, server_hostname=name)
    try:
        while True:
            try:
                wrapped.do_handshake()
                return TlsWire(wrapped)
            except ssl.SSLWantReadError:
                await ready(wrapped)
            except ssl.SSLWantWriteError:
                await ready(wrapped, to_write=True)
    except BaseException:
        wrapped.close()
        raise


@lru_cache(maxsize=8)
def _context(tls: Tls, *, server: bool) -> ssl.SSLContext:
    """Both sides show a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(tls.ca)
    context.load_cert_chain(tls.cert, tls.key)
    return context


async def ready(sock: socket.socket, *, to_write: bool = False) -> None:
    """Wait until the socket can be read, or written to."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    watch, forget = (
        (loop.add_writer, loop.remove_writer) if to_write else (loop.add_reader, loop.remove_reader)
    )
    watch(sock.fileno(), lambda: None if done.done() else done.set_result(None))
    try:
        await done
    finally:
        forget(sock.fileno())


async def read_exactly(wire: Wire, size: int) -> bytes:
    """So many bytes. Raises `OSError` where it ends before."""
    data = b""
    while len(data) < size:
        more = wire.receive(size - len(data))
        if more is None:
            await ready(wire.sock)
        elif more:
            data += more
        else:
            raise ConnectionError("it closed the connection")
    return data


async def write_all(wire: Wire, data: bytes) -> None:
    """All of it. Raises `OSError`."""
    view = memoryview(data)
    while view:
        sent = wire.send(view)
        if sent is None:
            await ready(wire.sock, to_write=True)
        else:
            view = view[sent:]
