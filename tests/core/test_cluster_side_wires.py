"""Tunnels with side wires, with sockets in place of the processes."""

import contextlib
import os
import random
import select
import socket
import threading
import weakref
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import patience, wait_until
from tunnel_ends import (
    A,
    End,
    HeapBerth,
    Stranger,
    Way,
    connected,
    record,
    reset,
    share,
    wires_between,
)

from rllib.core.cluster.carriers import SIDES, Carrier
from rllib.core.cluster.shares import GRAIN, Share
from rllib.core.cluster.side_wires import _TURN_BYTES, APART_BYTES, Pier, SideWire
from rllib.core.cluster.wires import PlainWire, prepare
from rllib.core.native import wire
from rllib.core.native.arena import ALIGNMENT
from rllib.core.native.objects import BULKS

NUM_SIDES = SIDES
LARGE = APART_BYTES + 3 * GRAIN + ALIGNMENT


def value_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def test_values_of_any_size_come_whole_and_in_order(way: Way) -> None:
    sizes = [
        *(APART_BYTES - ALIGNMENT, APART_BYTES, APART_BYTES + ALIGNMENT, 64, LARGE, 4 * LARGE),
        *(APART_BYTES + GRAIN - ALIGNMENT, APART_BYTES + GRAIN, APART_BYTES + GRAIN + ALIGNMENT),
    ]
    values = [value_of(size) for size in sizes]
    for number, value in enumerate(values):
        way.near.send(number, value)
        way.near.near.sendall(wire.plain_reply_frame(number, b"behind"))
    found = way.far.frames(2 * len(sizes))
    assert [record(each).number for each in found[::2]] == list(range(len(sizes)))
    assert [each[-1] for each in found[1::2]] == [b"behind"] * len(sizes)
    assert way.far.quay.landed == values
    freed = [record(each) for each in way.near.frames(len(sizes))]
    assert freed == [wire.Freed([(BULKS, number)]) for number in range(len(sizes))]


def test_descriptors_are_closed_once_what_they_lead_to_is_sent(way: Way) -> None:
    for number in range(3):
        way.near.send(number, value_of(LARGE))
    way.near.frames(3)  # it has arrived
    wait_until(lambda: not values_open(), patience(10))


def values_open() -> list[str]:
    """Descriptors of values in this process."""
    found = list[str]()
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the listing
            found.append(str(each.readlink()))
    return [each for each in found if "memfd:value" in each]


def test_both_send_at_once(way: Way) -> None:
    value = value_of(LARGE)

    def send(end: End) -> None:
        for number in range(6):
            end.send(number, value)

    senders = [threading.Thread(target=send, args=(end,)) for end in (way.near, way.far)]
    for each in senders:
        each.start()
    for end in (way.near, way.far):
        wait_until(lambda end=end: len(end.quay.landed) == 6, patience(20))  # type: ignore[misc]
        end.frames(12)
    for each in senders:
        each.join()
    assert way.near.quay.landed == way.far.quay.landed == [value] * 6


def test_shares_wait_for_room(way: Way) -> None:
    quay = way.far.quay
    quay.has_room = False
    way.near.send(1, value_of(LARGE))
    way.near.near.sendall(wire.plain_reply_frame(1, b"after"))
    wait_until(lambda: len(quay.waiting) == 1, patience(10))
    assert not quay.landed
    quay.waiting.pop()()
    landed, after = way.far.frames(2)
    assert (record(landed).number, after[-1]) == (1, b"after")
    assert quay.landed == [value_of(LARGE)]


def test_who_gets_no_room_is_not_sent_to(way: Way) -> None:
    """What is on its way is what sockets hold, and a writer waits with the rest."""
    quay = way.far.quay
    quay.has_room = False
    for number in range(16):
        way.near.send(number, value_of(LARGE))
    frame = wire.plain_reply_frame(1, bytes(GRAIN))
    writer = threading.Thread(target=way.near.near.sendall, args=(frame * 16,))
    writer.start()
    wait_until(lambda: len(quay.waiting) == 1, patience(10))
    writer.join(0.1)
    assert writer.is_alive()
    quay.has_room = True
    quay.waiting.pop()()
    assert len(way.far.frames(32)) == 32
    writer.join()
    assert quay.landed == [value_of(LARGE)] * 16


def test_last_words_come_before_the_end(way: Way) -> None:
    for number in (1, 2):
        way.near.send(number, value_of(LARGE))
    way.near.near.sendall(wire.plain_reply_frame(1, b"last"))
    way.near.near.close()
    heard = b""
    while more := way.far.near.recv(1 << 16):
        heard += more
    assert heard.endswith(b"last")
    assert way.far.quay.landed == [value_of(LARGE)] * 2
    assert [each.wait_for_end() for each in (way.near, way.far)] == ["", ""]


def test_a_receiver_that_ends_amid_a_value_ends_all_without_a_reason(way: Way) -> None:
    way.far.quay.has_room = False
    for number in range(8):
        way.near.send(number, value_of(LARGE))
    wait_until(lambda: len(way.far.quay.waiting) == 1, patience(10))
    way.far.near.close()
    assert [each.wait_for_end() for each in (way.near, way.far)] == ["", ""]
    way.far.quay.waiting.pop()()
    assert not way.far.quay.landed


def test_a_sender_that_is_being_sent_to_ends_without_a_reason(way: Way) -> None:
    """Though what comes for it breaks off amid a share."""
    way.near.quay.has_room = False
    for number in range(8):
        way.far.send(number, value_of(LARGE))
    wait_until(lambda: len(way.near.quay.waiting) == 1, patience(10))
    way.near.quay.waiting.pop()()
    way.near.near.close()
    assert [each.wait_for_end() for each in (way.near, way.far)] == ["", ""]


def test_a_node_that_is_gone_ends_all(way: Way) -> None:
    way.far.quay.has_room = False
    way.near.send(1, value_of(LARGE))
    wait_until(lambda: len(way.far.quay.waiting) == 1, patience(10))
    with way.near.lock:
        way.near.tunnel.cut("its node is gone")
    assert way.near.wait_for_end() == "its node is gone"
    way.far.quay.waiting.pop()()
    way.far.wait_for_end()
    assert not way.far.quay.landed


def test_there_are_no_more_than_there_may_be(way: Way) -> None:
    for end in (way.near, way.far):
        with end.lock:
            assert not end.tunnel.may_widen()


def test_values_go_through_alone_until_there_are_side_wires() -> None:
    way = Way(None)
    sender = threading.Thread(
        target=lambda: [way.near.send(number, value_of(LARGE)) for number in range(12)]
    )
    sender.start()
    for _ in range(SIDES):
        for end, side in zip((way.near, way.far), wires_between(None), strict=True):
            with end.lock:
                assert end.tunnel.may_widen()
                end.tunnel.add_side(side)
    assert len(way.far.frames(12)) == 12
    sender.join()
    assert way.far.quay.landed == [value_of(LARGE)] * 12
    way.close()


def test_a_side_wire_that_comes_too_late_is_closed() -> None:
    way = Way(None)
    left, right = wires_between(None)
    with way.near.lock:
        assert way.near.tunnel.may_widen()
    way.close()
    with way.near.lock:
        assert not way.near.tunnel.may_widen()
        way.near.tunnel.add_side(left)
    assert left.sock.fileno() == -1
    right.close()


def test_others_have_their_turn_amid_a_large_value(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much of it is there already, also in the buffers of TLS."""
    turns = defaultdict[SideWire, list[int]](list)
    read, read_some = SideWire._read, SideWire._read_some

    def turn(side: SideWire) -> None:
        turns[side].append(0)
        read(side)

    def some(side: SideWire) -> int | None:
        count = read_some(side)
        turns[side][-1] += count or 0
        return count

    monkeypatch.setattr(SideWire, "_read", turn)
    monkeypatch.setattr(SideWire, "_read_some", some)
    way.near.send(1, value_of(8 * APART_BYTES))
    way.far.frames(1)
    counts = [count for each in turns.values() for count in each]
    assert sum(counts) > 8 * APART_BYTES
    assert max(counts) < 2 * _TURN_BYTES


# -- what somebody else may do ---------------------------------------------------------------------


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    made = Stranger()
    yield made
    made.close()


def test_shares_come_early_in_pieces_and_in_any_order(stranger: Stranger) -> None:
    value = value_of(3 * GRAIN + 64)
    cuts = [(3 * GRAIN, 64), (0, GRAIN), (GRAIN, 2 * GRAIN)]
    stream = b"".join(
        Share(1, at, size).header() + value[at : at + size] for at, size in cuts
    ) + share(2, 0, 64)
    first = threading.Thread(target=stranger.sides[0].sendall, args=(stream[:1000],))
    first.start()
    first.join()
    stranger.announce(5, len(value), 1)
    stranger.sides[0].sendall(stream[1000:])
    stranger.announce(6, 64, 2)
    found = [record(each) for each in stranger.end.frames(2)]
    assert [each.number for each in found] == [5, 6]
    assert stranger.end.quay.landed == [value, bytes(64)]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([(1, 0, LARGE + 64)], "not within"),
        ([(1, 64 * GRAIN, GRAIN)], "not within"),
        ([(1, 2**64 - GRAIN, GRAIN)], "not within"),
        ([(1, 0, 0)], "not within"),
        ([(1, 64, GRAIN)], "where shares do"),
        ([(0, 0, GRAIN)], "value that is none"),
        ([(2**50, 0, GRAIN)], "value that is none"),
    ],
)
def test_hostile_headers_end_the_tunnel(
    stranger: Stranger, headers: list[tuple[int, int, int]], reason: str
) -> None:
    stranger.announce(5, LARGE, 1)
    for each in headers:
        stranger.sides[0].sendall(Share(*each).header())
    assert reason in stranger.end.wait_for_end()
    assert not stranger.end.quay.landed
    with contextlib.suppress(ConnectionResetError):
        assert stranger.sides[1].recv(1) == b""


def test_a_share_that_came_already_ends_the_tunnel(stranger: Stranger) -> None:
    stranger.announce(5, 3 * GRAIN, 1)
    stranger.sides[0].sendall(share(1, 0, 2 * GRAIN) + Share(1, GRAIN, GRAIN).header())
    assert "came twice" in stranger.end.wait_for_end()


def test_two_wires_cannot_bring_the_same(stranger: Stranger) -> None:
    stranger.announce(5, 3 * GRAIN, 1)
    for each in stranger.sides:
        each.sendall(Share(1, 0, GRAIN).header())
    assert "came twice" in stranger.end.wait_for_end()


@pytest.mark.parametrize("serials", [[2], [1, 1], [1, 3]])
def test_announcements_out_of_order_end_the_tunnel(stranger: Stranger, serials: list[int]) -> None:
    stranger.sides[0].sendall(share(1, 0, 64))
    for serial in serials:
        stranger.announce(5, 64, serial)
    assert "in shares that cannot" in stranger.end.wait_for_end()


def test_without_side_wires_nothing_comes_by_them() -> None:
    theirs, ours = connected()
    prepare(ours)
    end = End(A, PlainWire(ours), [])
    theirs.sendall(wire.coming_frame(wire.Coming(5, [GRAIN], 1)))
    assert "in shares that cannot" in end.wait_for_end()
    theirs.close()
    end.close()


def test_a_side_wire_that_breaks_amid_a_share_ends_the_tunnel(stranger: Stranger) -> None:
    stranger.announce(5, 2 * GRAIN, 1)
    stranger.sides[1].sendall(share(1, 0, GRAIN))
    stranger.sides[0].sendall(share(1, GRAIN, GRAIN)[:-1])
    stranger.sides[0].close()
    assert "a side wire ended" in stranger.end.wait_for_end()
    assert stranger.end.near.recv(1) == b""
    assert not stranger.end.quay.landed
    with pytest.raises(ConnectionResetError):  # the other end sees that the way broke
        stranger.main.recv(1)


def test_an_early_share_whose_wire_breaks_ends_the_tunnel(
    stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, seen = Pier.begin, list[Share]()
    monkeypatch.setattr(
        Pier, "begin", lambda pier, share: (begin(pier, share), seen.append(share))[0]
    )
    stranger.sides[0].sendall(Share(1, 0, GRAIN).header())
    wait_until(lambda: len(seen) == 1, patience(10))
    reset(stranger.sides[0])
    stranger.announce(5, GRAIN, 1)
    stranger.end.wait_for_end()
    with pytest.raises(ConnectionResetError):
        stranger.main.recv(1)


def test_an_idle_side_wire_may_end(stranger: Stranger) -> None:
    stranger.sides[0].close()
    wait_until(lambda: len(stranger.end.tunnel.sides._wires) == SIDES - 1, patience(10))
    stranger.announce(5, GRAIN, 1)
    stranger.sides[1].sendall(share(1, 0, GRAIN))
    assert record(stranger.end.frames(1)[0]).number == 5
    assert not stranger.end.reasons


def test_a_side_wire_that_breaks_under_the_sender_ends_the_tunnel(stranger: Stranger) -> None:
    stranger.end.send(1, bytes(16 * APART_BYTES))
    for each in stranger.sides:
        assert each.recv(1 << 16)
    stranger.sides[0].close()
    assert stranger.end.wait_for_end()
    assert stranger.end.near.recv(1) == b""


def test_memory_is_kept_until_nobody_writes_to_it(
    stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A berth lives as long as a side wire may be receiving into it."""
    berths = list[weakref.ref[HeapBerth]]()
    make = stranger.end.quay.berth

    def berth(coming: wire.Coming) -> HeapBerth | None:
        made = make(coming)
        assert made is not None
        berths.append(weakref.ref(made))
        return made

    monkeypatch.setattr(stranger.end.quay, "berth", berth)
    stranger.announce(5, 4 * GRAIN, 1)
    stranger.sides[0].sendall(share(1, 0, GRAIN) + share(1, GRAIN, GRAIN)[:-1])
    wait_until(lambda: len(berths) == 1, patience(10))
    with stranger.end.carriers.sides()[0].lock:  # as while it is in the kernel
        with stranger.end.lock:
            stranger.end.tunnel.cut("its node is gone")
        assert berths[0]() is not None
    wait_until(lambda: berths[0]() is None, patience(10))


def test_values_are_as_long_as_announced(stranger: Stranger) -> None:
    fd = os.memfd_create("value") if hasattr(os, "memfd_create") else pytest.skip("no memfd")
    os.truncate(fd, APART_BYTES)
    bulk = wire.BulkAt(1, 0, [2 * APART_BYTES])
    socket.send_fds(stranger.end.near, [wire.bulk_frame(bulk)], [fd])
    os.close(fd)
    drains = [threading.Thread(target=_drain, args=(each,)) for each in stranger.sides]
    for each in drains:
        each.start()
    assert "shorter than was announced" in stranger.end.wait_for_end()
    for each in drains:
        each.join()


def _drain(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while sock.recv(1 << 20):
            pass


def test_a_value_whose_shares_stop_coming_ends_the_tunnel(stranger: Stranger) -> None:
    """Also where the wires end between two shares."""
    stranger.announce(5, 2 * GRAIN, 1)
    stranger.sides[0].sendall(share(1, 0, GRAIN))
    reset(stranger.sides[1])
    wait_until(lambda: stranger.end.reasons, patience(10))
    assert stranger.end.reasons[0]


def test_a_tunnel_whose_own_connection_breaks_amid_a_value_ends_at_once(
    stranger: Stranger,
) -> None:
    """Though nothing is read from it then, and side wires are there still."""
    stranger.announce(5, 2 * GRAIN, 1)
    stranger.sides[0].sendall(share(1, 0, GRAIN))
    wait_until(lambda: stranger.end.tunnel._filling is not None, patience(10))
    reset(stranger.main)
    assert stranger.end.wait_for_end()
    assert stranger.end.near.recv(1) == b""


def test_a_tunnel_whose_own_connection_breaks_while_room_is_looked_for_ends_at_once(
    stranger: Stranger,
) -> None:
    stranger.end.quay.has_room = False
    stranger.announce(5, 2 * GRAIN, 1)
    wait_until(lambda: len(stranger.end.quay.waiting) == 1, patience(10))
    reset(stranger.main)
    assert stranger.end.wait_for_end()
    stranger.end.quay.waiting.pop()()


def test_who_says_nothing_more_amid_a_value_may_bring_the_rest_of_it(stranger: Stranger) -> None:
    stranger.announce(5, 2 * GRAIN, 1)
    stranger.sides[0].sendall(share(1, 0, GRAIN))
    stranger.main.shutdown(socket.SHUT_WR)
    stranger.sides[1].sendall(share(1, GRAIN, GRAIN))
    assert record(stranger.end.frames(1)[0]).number == 5
    assert stranger.end.wait_for_end() == ""


def test_another_end_that_closes_all_amid_a_value_ends_the_tunnel(stranger: Stranger) -> None:
    stranger.announce(5, 2 * GRAIN, 1)
    stranger.sides[0].sendall(share(1, 0, GRAIN))
    for each in (stranger.main, *stranger.sides):
        each.close()
    wait_until(lambda: stranger.end.reasons, patience(10))


def test_what_was_sent_and_has_not_arrived_is_lost_with_its_wire(stranger: Stranger) -> None:
    stranger.end.send(1, bytes(APART_BYTES))
    read, most = 0, APART_BYTES - 50_000  # the rest is in buffers of the system
    while read < most:
        for each in select.select(stranger.sides, [], [], patience(10))[0]:
            read += len(each.recv(min(1 << 16, max(1, most - read))))
    for each in stranger.sides:
        reset(each)
    wait_until(lambda: stranger.end.reasons, patience(10))
    assert stranger.end.reasons[0]


def test_a_value_for_wires_that_have_just_ended_ends_the_tunnel(stranger: Stranger) -> None:
    with stranger.end.lock:  # their end is heard of later than the value
        for each in stranger.sides:
            each.close()
        wires = list(stranger.end.tunnel.sides._wires)
        wait_until(lambda: all(each._closed for each in wires), patience(10))
        stranger.end.send(1, bytes(APART_BYTES))
        stranger.end.tunnel._do(stranger.end.tunnel._read_near)
    wait_until(lambda: stranger.end.reasons, patience(10))


def test_an_errand_that_fails_holds_up_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    carrier, done = Carrier(), threading.Event()
    with carrier.lock:
        carrier.post(lambda: 1 // 0)  # type: ignore[arg-type,return-value]
        carrier.post(done.set)
    assert done.wait(patience(10))
    carrier.stop()
    assert "ZeroDivisionError" in capsys.readouterr().err
