"""A TCP connection between two gateways, in plain or with TLS, that does not block.

Whatever would block returns ``None``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Any

from rllib.core.cluster.credentials import TLS_NAME, Tls
from rllib.core.native import platform

_PIECE = 1 << 18
"""Bytes that TLS takes at a time."""
_READ = 1 << 18
"""And that it is given."""
_NO_LINGER = struct.pack("ii", 1, 0)
_RECORD = 5 + (1 << 14) + 256
"""The most that OpenSSL holds back until the rest of it has come."""
_MOST_AWAITED = 1 << 19
"""To wake somebody for each packet costs more than the packet."""
_BULK_AWAITED = 1 << 21
"""Of a value twice as large or larger: sender and receiver wait for each other less often, so that
a third more comes in a second. The kernel takes half of what a socket may hold, if that is less."""


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

    def fail_if_broken(self) -> None:
        """Raises `OSError` where it was reset, also if something is still to be received."""
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))

    def end_output(self) -> None:
        """Nothing more is sent."""
        self.sock.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """Let the other end see, once it is closed, that this was no orderly end."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)

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
        most = _BULK_AWAITED if size >= 2 * _BULK_AWAITED else _MOST_AWAITED
        awaited = max(1, min(size, most))
        if awaited != self._awaited:
            self._awaited = awaited
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, awaited)


class TlsWire(Wire):
    """With TLS, after its handshake.

    What is encrypted goes through buffers here and not straight to and from the socket, which
    OpenSSL would ask for 16 KiB at a time: so the kernel is called for many records at once, and
    knows how many bytes it is worth waking somebody for.
    """

    def __init__(self, sock: socket.socket, channel: Channel) -> None:
        super().__init__(sock)
        self._channel = channel
        self._plain = PlainWire(sock)
        self._taken = 0
        """Bytes that are encrypted, but not yet sent all."""
        self._may_have_more = False

    def send(self, data: memoryview) -> int | None:
        """See `Wire`."""
        if not self._taken:
            self._taken = self._channel.tls.write(data[:_PIECE])
        return self._sent()

    def send_file(self, fd: int, offset: int, size: int) -> int | None:
        """See `Wire`."""
        if not self._taken:
            self._taken = self._channel.tls.write(os.pread(fd, min(size, _PIECE), offset))
        return self._sent()

    def _sent(self) -> int | None:
        if not self._channel.flush():
            return None
        taken, self._taken = self._taken, 0
        return taken

    def receive(self, size: int) -> bytes | None:
        """See `Wire`."""
        room = bytearray(size)
        count = self.receive_into(memoryview(room))
        return None if count is None else bytes(memoryview(room)[:count])

    def receive_into(self, room: memoryview) -> int | None:
        """See `Wire`."""
        done, self._may_have_more = 0, False
        while done < len(room):
            try:
                done += self._channel.read_into(room[done:])
            except ssl.SSLWantReadError:
                if done or not self._channel.fill():
                    return done or None
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return done
        self._may_have_more = True
        return done

    def await_bytes(self, size: int) -> None:
        """See `Wire`. They are more while encrypted; some may be here, part of a record."""
        here = self._channel.incoming.pending + _RECORD
        self._plain.await_bytes(max(0, size - here))

    @property
    def buffered(self) -> bool:
        """See `Wire`."""
        return self._may_have_more


class Channel:
    """TLS beside a socket that does not block, and what is on its way between the two."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, name: str | None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, name is None, name)
        self._sock = sock
        self._unsent = memoryview(b"")

    def read_into(self, room: memoryview) -> int:
        """Decrypt some of what was taken in. Raises `ssl.SSLError`."""
        buffer: Any = room  # which typeshed has as a bytearray, and its number as bytes
        count: Any = self.tls.read(len(room), buffer)
        return int(count)

    def flush(self) -> bool:
        """Send what was encrypted; whether that is all of it. Raises `OSError`."""
        while self._unsent or self.outgoing.pending:
            self._unsent = self._unsent or memoryview(self.outgoing.read())
            try:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
            except BlockingIOError:
                return False
        return True

    def fill(self) -> bool:
        """Take in what has come, or its end; whether there was something. Raises `OSError`."""
        try:
            data = self._sock.recv(_READ)
        except BlockingIOError:
            return False
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()
        return True


def prepare(sock: socket.socket) -> None:
    """Send small messages at once, and notice a machine that is gone."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


async def secured(sock: socket.socket, tls: Tls | None, *, server: bool) -> Wire:
    """The wire over that socket, after the handshake. Raises `OSError`."""
    platform.send_at_once_to_neighbours(sock)
    if tls is None:
        return PlainWire(sock)
    channel = Channel(sock, _context(tls, server=server), None if server else TLS_NAME)
    try:
        while not _shook_hands(channel):
            await _flushed(channel, sock)
            if not channel.fill():
                await ready(sock)
        await _flushed(channel, sock)
        return TlsWire(sock, channel)
    except BaseException:
        sock.close()
        raise


def _shook_hands(channel: Channel) -> bool:
    """Whether the handshake is over. Raises `ssl.SSLError` if it failed, and tells the other."""
    try:
        channel.tls.do_handshake()
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLError:
        with contextlib.suppress(OSError):  # it may be gone
            channel.flush()
        raise
    return True


async def _flushed(channel: Channel, sock: socket.socket) -> None:
    while not channel.flush():
        await ready(sock, to_write=True)


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
