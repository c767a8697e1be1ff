"""Two gateways' ends of a tunnel, with sockets in place of the processes."""

import os
import socket
import threading

import pytest
from patience import patience, wait_until
from tunnel_ends import Way, record

from rllib.core.cluster.dock import Dock, Landing
from rllib.core.cluster.tunnel import Letter
from rllib.core.native import wire
from rllib.core.native.arena import ALIGNMENT
from rllib.core.native.objects import BULKS

MIB = 2**20


def test_values_of_any_size_come_whole_one_after_the_other(way: Way) -> None:
    sizes = [MIB, 1, 16_384, 16_385, 100_001, 3 * MIB + 7, 65_536, 2] * 3
    values = [os.urandom(-(-size // ALIGNMENT) * ALIGNMENT) for size in sizes]
    for number, value in enumerate(values):
        way.near.send(number, value)
        way.far.frames(1)  # nothing follows that would wake somebody for the rest of it
    assert way.far.quay.landed == values


def test_frames_and_values_come_in_order_and_the_sender_hears_of_it(way: Way) -> None:
    value = os.urandom(3 * MIB // ALIGNMENT * ALIGNMENT)
    way.near.near.sendall(wire.plain_reply_frame(1, b"before"))
    way.near.send(7, value)
    way.near.near.sendall(wire.plain_reply_frame(2, b"after"))
    before, landed, after = way.far.frames(3)
    assert (before[-1], after[-1]) == (b"before", b"after")
    assert record(landed) == wire.Landed(7, 1, None)
    assert way.far.quay.landed == [value]
    assert record(way.near.frames(1)[0]) == wire.Freed([(BULKS, 7)])
    way.far.near.sendall(wire.notice_frame(wire.CLAIMED, 1))
    wait_until(lambda: way.far.quay.claims == [1], patience(10))


def test_who_does_not_read_is_not_sent_to(way: Way) -> None:
    """All that fits on the way is what the kernel keeps; nothing is lost of the rest."""
    sender = way.near.near
    sender.setblocking(False)
    piece = wire.plain_reply_frame(1, bytes(MIB))
    stream, written = piece * 64, 0
    idle = threading.Event()
    for _ in range(20):  # until for a while nothing more goes
        try:
            written += sender.send(stream[written:])
        except BlockingIOError:
            idle.wait(0.01)
    assert written < 48 * MIB
    sender.setblocking(True)
    writer = threading.Thread(target=sender.sendall, args=(stream[written:],))
    writer.start()
    read = 0
    while read < len(stream):
        read += len(way.far.near.recv(1 << 20))
    writer.join()
    assert read == len(stream)


def test_without_room_nothing_more_is_read_until_there_is_some(way: Way) -> None:
    quay = way.far.quay
    quay.has_room = False
    value = os.urandom(MIB)
    way.near.send(1, value)
    way.near.near.sendall(wire.plain_reply_frame(1, b"after"))
    wait_until(lambda: len(quay.waiting) == 1, patience(10))
    assert not quay.landed
    quay.waiting.pop()()
    landed, after = way.far.frames(2)
    assert record(landed).number == 1
    assert after[-1] == b"after"
    assert quay.landed == [value]


def test_last_words_come_before_the_end(way: Way) -> None:
    way.near.send(1, bytes(MIB))
    way.near.near.sendall(wire.plain_reply_frame(1, b"last"))
    way.near.near.close()
    heard = b""
    while more := way.far.near.recv(1 << 16):
        heard += more
    assert heard.endswith(b"last")
    assert [each.wait_for_end() for each in (way.near, way.far)] == ["", ""]
    assert [each.quay.withdrawn for each in (way.near, way.far)] == [[set()], [set()]]


def test_last_words_are_read_also_of_one_that_was_being_written_to(way: Way) -> None:
    with way.near.lock, way.far.lock:  # so that the tunnel finds both at the same time
        way.far.near.sendall(wire.plain_reply_frame(1, bytes(1000)))
        way.near.near.sendall(wire.plain_reply_frame(1, b"last"))
        way.near.near.close()
    assert way.far.near.recv(1 << 16, socket.MSG_WAITALL)[wire.HEADER.size :] == b"last"


def test_what_a_process_was_told_of_stays_its_own_when_the_way_breaks(way: Way) -> None:
    """It has not said yet that it knows of it, and cannot any more."""
    way.near.send(1, bytes(MIB))
    way.near.frames(1)  # it has arrived
    with way.far.lock:
        way.far.tunnel.cut("its node is gone")
    assert way.far.quay.withdrawn == [set()]
    assert record(way.far.frames(1)[0]) == wire.Landed(1, 1, None)


def test_what_a_process_was_not_told_of_is_withdrawn_when_the_way_breaks(way: Way) -> None:
    with way.far.lock:
        way.far.tunnel._to_near.append(Letter(memoryview(b"told"), (), 5))
        way.far.tunnel.cut("its node is gone")
    assert way.far.quay.withdrawn == [{5}]


def test_what_a_process_was_told_of_stays_its_own_when_it_closes_its_end_first(way: Way) -> None:
    """It may live, and have heard of the other's death by another way; what it has read is its."""
    way.near.send(1, bytes(MIB))
    way.near.frames(1)
    way.far.near.close()
    way.far.wait_for_end()
    assert way.far.quay.withdrawn == [set()]


@pytest.mark.parametrize("ends", ["_end_near", "_pour_near"])
def test_what_could_not_be_told_to_a_process_that_has_closed_its_end_is_withdrawn(
    way: Way, ends: str
) -> None:
    with way.far.lock:
        way.far.near.close()
        way.far.tunnel._to_near.append(Letter(memoryview(b"told"), (), 5))
        getattr(way.far.tunnel, ends)()
        way.far.tunnel.cut("its node is gone")
    assert way.far.quay.withdrawn == [{5}]


class Landings:
    """In place of a runtime: what was taken back."""

    def __init__(self) -> None:
        self.me, self.lock, self.places, self.peers = b"me", threading.Lock(), self, self
        self.undocked: list[object] = []

    def undock(self, key: object, _peer: object) -> None:
        self.undocked.append(key)

    def known(self, _process: bytes) -> object:
        return self


@pytest.mark.parametrize(("untold", "undocked"), [({2, 9}, [2]), (set(), [])])
def test_landings_are_taken_back_of_which_nobody_was_told(
    untold: set[int], undocked: list[int]
) -> None:
    runtime, by = Landings(), object()
    dock = Dock(runtime, lambda: False)  # type: ignore[arg-type]
    for claim in (1, 2, 3):
        landing = Landing(claim, None, None, b"process", (claim, 0), by if claim < 3 else None)
        dock._unclaimed[claim] = landing
    dock.withdraw(by, untold)
    assert runtime.undocked == [(claim, 0) for claim in undocked]
    assert list(dock._unclaimed) == [3]
    dock.close()


def test_an_absurd_announcement_ends_the_way(way: Way) -> None:
    way.near.near.sendall(wire.HEADER.pack(2**31, wire.CALL, 0, 0, 0, 0))
    assert way.far.near.recv(1) == b""
    assert "over the limit" in way.near.wait_for_end() + way.far.wait_for_end()
