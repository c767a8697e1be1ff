"""Two gateways' ends of a tunnel, with sockets in place of the processes."""

import asyncio
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from patience import patience, wait_until

from rllib.core.cluster.carriers import SIDES, Carriers
from rllib.core.cluster.credentials import Tls
from rllib.core.cluster.dock import Berth, Landing
from rllib.core.cluster.shares import Share
from rllib.core.cluster.tunnel import Ends, Tunnel
from rllib.core.cluster.wires import PlainWire, Wire, prepare, secured
from rllib.core.native import wire
from rllib.core.native.connection import Connection, Frame

A, B = b"a" * 16, b"b" * 16


class HeapBerth(Berth):
    """In ordinary memory."""

    def __init__(self, coming: wire.Coming) -> None:
        super().__init__(coming.number, coming.sizes, None)
        self.bytes = bytearray(self.size)
        self._view = memoryview(self.bytes)


class Quay:
    """In place of `Dock`."""

    def __init__(self) -> None:
        self.has_room = True
        self.waiting: list[Callable[[], None]] = []
        self.landed: list[bytes] = []
        self.claims: list[int] = []
        self.withdrawn: list[set[int]] = []

    def berth(self, coming: wire.Coming) -> HeapBerth | None:
        return HeapBerth(coming) if self.has_room else None

    def find_berth(self, coming: wire.Coming, found: Callable[[Berth], None]) -> None:
        self.waiting.append(lambda: found(HeapBerth(coming)))

    def land(self, berth: HeapBerth, process: bytes, by: object) -> Landing:
        self.landed.append(bytes(berth.bytes))
        return Landing(len(self.landed), None, None, process, None, by)

    def claimed(self, claim: int) -> None:
        self.claims.append(claim)

    def withdraw(self, _by: object, untold: set[int]) -> None:
        self.withdrawn.append(untold)


class End:
    """One tunnel and the end of its process, ``near``."""

    def __init__(self, process: bytes, far: Wire, sides: list[Wire]) -> None:
        self.carriers = Carriers()
        self.lock = self.carriers.main.lock
        self.quay = Quay()
        self.reasons: list[str] = []
        """Why it has ended, once it has."""
        self.wished = 0
        self.near, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        inner.setblocking(False)
        self.near.settimeout(patience(10))
        with self.lock:
            self.tunnel = Tunnel(
                *(self.carriers, inner, far, Ends(process, b"key")),
                self.quay,  # type: ignore[arg-type]
                lambda _tunnel, reason: self.reasons.append(reason),
                self._wish,
            )
            self.tunnel.start()
            for each in sides:
                assert self.tunnel.may_widen()
                self.tunnel.add_side(each)

    def _wish(self, _tunnel: Tunnel) -> None:
        self.wished += 1

    def send(self, number: int, data: bytes) -> None:
        """As the process does that sends a value."""
        fd = os.memfd_create("value") if hasattr(os, "memfd_create") else pytest.skip("no memfd")
        os.pwrite(fd, b"somebody else's" + data, 0)
        bulk = wire.BulkAt(number, len(b"somebody else's"), [len(data)])
        socket.send_fds(self.near, [wire.bulk_frame(bulk)], [fd])
        os.close(fd)

    def frames(self, count: int) -> list[Frame]:
        """The next frames that come."""
        conn, found = Connection(self.near.dup()), list[Frame]()
        wait_until(lambda: len(found.__iadd__(conn.receive())) >= count, patience(10))
        conn.close()
        self.near.setblocking(True)  # which is of both
        return found

    def wait_for_end(self) -> str:
        """Why the tunnel has ended."""
        wait_until(lambda: len(self.reasons) == 1, patience(10))
        return self.reasons[0]

    def close(self) -> None:
        """As when the process has ended."""
        self.near.close()
        self.wait_for_end()
        self.carriers.stop()


class Way:
    """Two ends, and between them a connection and so many side wires."""

    def __init__(self, tls: Tls | None, sides: int = 0) -> None:
        pairs = [wires_between(tls) for _ in range(1 + sides)]
        self.near, self.far = (
            End(process, wires[0], list(wires[1:]))
            for process, wires in zip((A, B), zip(*pairs, strict=True), strict=True)
        )

    def close(self) -> None:
        """As when both processes have ended."""
        closing = threading.Thread(target=self.near.close)
        closing.start()
        self.far.close()
        closing.join()


class Stranger:
    """In place of the other gateway: bare sockets."""

    def __init__(self, sides: int = SIDES) -> None:
        pairs = [connected() for _ in range(1 + sides)]
        for _theirs, ours in pairs:
            prepare(ours)
        far, *others = (PlainWire(ours) for _theirs, ours in pairs)
        self.end = End(A, far, list(others))
        self.main, *self.sides = (theirs for theirs, _ours in pairs)
        for each in (self.main, *self.sides):
            each.settimeout(patience(10))

    def announce(self, number: int, size: int, serial: int) -> None:
        self.main.sendall(wire.coming_frame(wire.Coming(number, [size], serial)))

    def close(self) -> None:
        for each in (self.main, *self.sides):
            each.close()
        self.end.close()


def connected() -> tuple[socket.socket, socket.socket]:
    """Over TCP; what is written into the first one comes out in pieces."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        left = socket.create_connection(listener.getsockname())
        right, _address = listener.accept()
    left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    return left, right


def wires_between(tls: Tls | None) -> list[Wire]:
    """The two ends of a connection."""

    async def both(left: socket.socket, right: socket.socket) -> list[Wire]:
        for each in (left, right):
            prepare(each)
        ends = secured(left, tls, server=False), secured(right, tls, server=True)
        return list(await asyncio.gather(*ends))

    return asyncio.run(both(*connected()))


def certificate_in(folder: Path) -> Tls | None:
    """Of both ends; None where nobody can make one."""
    if shutil.which("openssl") is None:
        return None
    key, cert = str(folder / "key"), str(folder / "cert")
    order = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "
        f"/CN=rllib -addext subjectAltName=DNS:rllib -keyout {key} -out {cert}"
    )
    subprocess.run(order.split(), check=True, capture_output=True)
    return Tls(cert, key, cert)


@contextmanager
def opened(kind: str, certificate: Tls | None, num_sides: int = 0) -> Iterator[Way]:
    """A way that is "plain" or speaks "tls", for as long as the context lasts."""
    if kind == "tls" and certificate is None:
        pytest.skip("certificates are made by openssl")
    made = Way(certificate if kind == "tls" else None, num_sides)
    yield made
    made.close()


def record(frame: Frame) -> Any:
    """What is in a frame of a record."""
    return wire.read_record(frame[-1])


def share(serial: int, offset: int, size: int) -> bytes:
    """A share of zeros."""
    return Share(serial, offset, size).header() + bytes(size)


def reset(sock: socket.socket) -> None:
    """Close it, and have the other end see that as an error."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
