"""Two gateways' ends of a tunnel, with sockets in place of the processes."""

import asyncio
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import patience, wait_until

from rllib.core.cluster.credentials import Tls
from rllib.core.cluster.dock import Berth, Landing
from rllib.core.cluster.tunnel import Ends, Tunnel
from rllib.core.cluster.wires import Wire, prepare, secured
from rllib.core.native import wire
from rllib.core.native.arena import ALIGNMENT
from rllib.core.native.connection import Connection, Frame
from rllib.core.native.objects import BULKS
from rllib.core.native.reactor import Reactor

MIB = 2**20
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
        self.withdrawn: list[object] = []

    def berth(self, coming: wire.Coming) -> HeapBerth | None:
        return HeapBerth(coming) if self.has_room else None

    def find_berth(self, coming: wire.Coming, found: Callable[[Berth], None]) -> None:
        self.waiting.append(lambda: found(HeapBerth(coming)))

    def land(self, berth: HeapBerth, process: bytes, by: object) -> Landing:
        self.landed.append(bytes(berth.bytes))
        return Landing(len(self.landed), None, None, process, None, by)

    def claimed(self, claim: int) -> None:
        self.claims.append(claim)

    def withdraw(self, by: object) -> None:
        self.withdrawn.append(by)


class Way:
    """Two tunnels with the ends of their processes, ``near`` and ``far``."""

    def __init__(self, tls: Tls | None) -> None:
        self.lock = threading.RLock()
        self.reactor = Reactor(self.lock, lambda: None)
        self.quays = Quay(), Quay()
        self.ends: list[tuple[Tunnel, str]] = []
        self.sockets: list[socket.socket] = []
        with socket.create_server(("127.0.0.1", 0)) as listener:
            left = socket.create_connection(listener.getsockname())
            right, _address = listener.accept()
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)  # so all comes in pieces
        wires = asyncio.run(both_secured(left, right, tls))
        for far, quay, process in zip(wires, self.quays, (A, B), strict=True):
            near, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            inner.setblocking(False)
            near.settimeout(patience(10))
            self.sockets.append(near)
            with self.lock:
                Tunnel(
                    *(self.reactor, self.lock, inner, far, Ends(process, b"key")),
                    quay,  # type: ignore[arg-type]
                    lambda tunnel, reason: self.ends.append((tunnel, reason)),
                ).start()
        self.near, self.far = self.sockets

    def close(self) -> None:
        for each in self.sockets:
            each.close()
        wait_until(lambda: len(self.ends) == 2, patience(10))
        self.reactor.stop()


async def both_secured(left: socket.socket, right: socket.socket, tls: Tls | None) -> list[Wire]:
    for each in (left, right):
        prepare(each)
    ends = secured(left, tls, server=False), secured(right, tls, server=True)
    return list(await asyncio.gather(*ends))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Tls | None:
    """Of both ends; None where nobody can make one."""
    if shutil.which("openssl") is None:
        return None
    folder: Path = tmp_path_factory.mktemp("tls")
    key, cert = str(folder / "key"), str(folder / "cert")
    order = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "
        f"/CN=rllib -addext subjectAltName=DNS:rllib -keyout {key} -out {cert}"
    )
    subprocess.run(order.split(), check=True, capture_output=True)
    return Tls(cert, key, cert)


@pytest.fixture(params=["plain", "tls"])
def way(request: pytest.FixtureRequest, certificate: Tls | None) -> Iterator[Way]:
    if request.param == "tls" and certificate is None:
        pytest.skip("certificates are made by openssl")
    made = Way(certificate if request.param == "tls" else None)
    yield made
    made.close()


def frames(sock: socket.socket, count: int) -> list[Frame]:
    """The next frames that come."""
    conn, found = Connection(sock.dup()), list[Frame]()
    wait_until(lambda: len(found.__iadd__(conn.receive())) >= count, patience(10))
    conn.close()
    sock.setblocking(True)  # which is of both
    return found


def send_bulk(sock: socket.socket, number: int, data: bytes) -> None:
    fd = os.memfd_create("value") if hasattr(os, "memfd_create") else pytest.skip("no memfd")
    os.pwrite(fd, b"somebody else's" + data, 0)
    bulk = wire.BulkAt(number, len(b"somebody else's"), [len(data)])
    socket.send_fds(sock, [wire.bulk_frame(bulk)], [fd])
    os.close(fd)


def record(frame: Frame) -> Any:
    return wire.read_record(frame[-1])


def test_values_of_any_size_come_whole_one_after_the_other(way: Way) -> None:
    sizes = [MIB, 1, 16_384, 16_385, 100_001, 3 * MIB + 7, 65_536, 2] * 3
    values = [os.urandom(-(-size // ALIGNMENT) * ALIGNMENT) for size in sizes]
    for number, value in enumerate(values):
        send_bulk(way.near, number, value)
        frames(way.far, 1)  # nothing follows that would wake somebody for the rest of it
    assert way.quays[1].landed == values


def test_frames_and_values_come_in_order_and_the_sender_hears_of_it(way: Way) -> None:
    value = os.urandom(3 * MIB // ALIGNMENT * ALIGNMENT)
    way.near.sendall(wire.plain_reply_frame(1, b"before"))
    send_bulk(way.near, 7, value)
    way.near.sendall(wire.plain_reply_frame(2, b"after"))
    before, landed, after = frames(way.far, 3)
    assert (before[-1], after[-1]) == (b"before", b"after")
    assert record(landed) == wire.Landed(7, 1, None)
    assert way.quays[1].landed == [value]
    assert record(frames(way.near, 1)[0]) == wire.Freed([(BULKS, 7)])
    way.far.sendall(wire.notice_frame(wire.CLAIMED, 1))
    wait_until(lambda: way.quays[1].claims == [1], patience(10))


def test_who_does_not_read_is_not_sent_to(way: Way) -> None:
    """All that fits on the way is what the kernel keeps; nothing is lost of the rest."""
    way.near.setblocking(False)
    piece = wire.plain_reply_frame(1, bytes(MIB))
    stream, written = piece * 64, 0
    idle = threading.Event()
    for _ in range(20):  # until for a while nothing more goes
        try:
            written += way.near.send(stream[written:])
        except BlockingIOError:
            idle.wait(0.01)
    assert written < 48 * MIB
    way.near.setblocking(True)
    writer = threading.Thread(target=way.near.sendall, args=(stream[written:],))
    writer.start()
    read = 0
    while read < len(stream):
        read += len(way.far.recv(1 << 20))
    writer.join()
    assert read == len(stream)


def test_without_room_nothing_more_is_read_until_there_is_some(way: Way) -> None:
    quay = way.quays[1]
    quay.has_room = False
    value = os.urandom(MIB)
    send_bulk(way.near, 1, value)
    way.near.sendall(wire.plain_reply_frame(1, b"after"))
    wait_until(lambda: len(quay.waiting) == 1, patience(10))
    assert not quay.landed
    quay.waiting.pop()()
    landed, after = frames(way.far, 2)
    assert record(landed).number == 1
    assert after[-1] == b"after"
    assert quay.landed == [value]


def test_last_words_come_before_the_end(way: Way) -> None:
    send_bulk(way.near, 1, bytes(MIB))
    way.near.sendall(wire.plain_reply_frame(1, b"last"))
    way.near.close()
    heard = b""
    while more := way.far.recv(1 << 16):
        heard += more
    assert heard.endswith(b"last")
    wait_until(lambda: len(way.ends) == 2, patience(10))
    assert [reason for _tunnel, reason in way.ends] == ["", ""]
    assert [quay.withdrawn for quay in way.quays] != [[], []]  # what nobody has claimed


def test_last_words_are_read_also_of_one_that_was_being_written_to(way: Way) -> None:
    with way.lock:  # so that the tunnel finds both at the same time
        way.far.sendall(wire.plain_reply_frame(1, bytes(1000)))
        way.near.sendall(wire.plain_reply_frame(1, b"last"))
        way.near.close()
    assert way.far.recv(1 << 16, socket.MSG_WAITALL)[wire.HEADER.size :] == b"last"


def test_an_absurd_announcement_ends_the_way(way: Way) -> None:
    way.near.sendall(wire.HEADER.pack(2**31, wire.CALL, 0, 0, 0, 0))
    assert way.far.recv(1) == b""
    wait_until(lambda: len(way.ends) == 2, patience(10))
    assert any("over the limit" in reason for _tunnel, reason in way.ends)
