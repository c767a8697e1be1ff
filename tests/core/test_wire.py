"""Frames over sockets, whole or in pieces; and what is not a frame harms nobody."""

import itertools
import os
import random
import socket
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib.core.labels import parse
from rllib.core.native import wire
from rllib.core.native.connection import Connection, Frame

Pair = tuple[Connection, Connection]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = (Connection(sock) for sock in socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


def transfer(sender: Connection, receiver: Connection, count: int) -> list[Frame]:
    """Move frames until ``count`` have arrived, one side's turn after the other's."""
    frames: list[Frame] = []
    for _ in range(100_000):
        sender.resume()
        frames += receiver.receive()
        if len(frames) >= count:
            return frames
    raise AssertionError(f"{len(frames)} of {count} frames arrived")


def test_frames_arrive_as_sent(pair: Pair) -> None:
    sent = [
        wire.plain_call_frame(3, 7, 2, b"args"),
        wire.plain_reply_frame(2**40, b""),
        wire.error_frame(9, b"error"),
        wire.record_frame(wire.Hello(b"me")),
    ]
    for frame in sent:
        pair[0].send(frame)
    call, reply, error, record = transfer(*pair, 4)
    assert call == (wire.CALL, wire.PLAIN, 2, 3, 7, b"args")
    assert reply == (wire.REPLY, wire.PLAIN, 0, 0, 2**40, b"")
    assert error == (wire.REPLY, wire.PLAIN | wire.ERROR, 0, 0, 9, b"error")
    assert wire.read_record(record[-1]) == wire.Hello(b"me")


@pytest.mark.parametrize("size", [0, 1, 2**17 - 20, 2**17, 2**17 + 1, 5_000_000])
def test_frames_of_any_size_survive_partial_writes(pair: Pair, size: int) -> None:
    bodies = [random.Random(size + k).randbytes(size) for k in range(3)]
    for seq, body in enumerate(bodies):
        pair[0].send(wire.plain_reply_frame(seq, body))
    pair[0].flush()
    assert pair[0].blocked == (size > 100_000)
    frames = transfer(*pair, 3)
    assert [frame[-1] for frame in frames] == bodies
    assert pair[0].queued_bytes == 0


@given(st.lists(st.binary(max_size=50), max_size=8), st.integers(1, 40))
def test_the_cutting_of_a_stream_does_not_matter(bodies: list[bytes], step: int) -> None:
    raw, theirs = socket.socketpair()
    receiver = Connection(theirs)
    stream = b"".join(wire.plain_reply_frame(seq, body) for seq, body in enumerate(bodies))
    frames: list[Frame] = []
    for start in range(0, len(stream), step):
        raw.send(stream[start : start + step])
        frames += receiver.receive()
    assert [(frame[4], frame[5]) for frame in frames] == list(enumerate(bodies))
    raw.close()
    receiver.close()


def test_descriptors_come_with_their_frames(pair: Pair) -> None:
    files = [os.memfd_create(f"file-{number}") for number in range(5)]
    for number, file in enumerate(files):
        pair[0].send(wire.plain_reply_frame(number, b"before"))
        pair[0].send(wire.plain_reply_frame(number, b"x" * 100_000), file)
        os.close(file)
    transfer(*pair, 10)
    arrived = [pair[1].received_fds.popleft() for _ in range(5)]
    assert not pair[1].received_fds
    for number, file in enumerate(arrived):
        assert f"file-{number}" in os.readlink(f"/proc/self/fd/{file}")  # noqa: PTH115
        os.close(file)


def test_the_end_of_a_peer_is_an_end_of_file_after_what_it_said(pair: Pair) -> None:
    ours, theirs = pair
    theirs.send(wire.plain_reply_frame(1, b"last"))
    theirs.flush()
    theirs.close()
    assert [frame[-1] for frame in ours.receive()] == [b"last"]
    with pytest.raises(EOFError):
        ours.receive()
    ours.send(wire.plain_reply_frame(2, b"too late"), 0)
    ours.flush()
    assert ours.queued_bytes == 0
    ours.close()
    ours.send(wire.plain_reply_frame(3, b"later still"), 0)
    ours.flush()
    assert not ours.blocked


def test_a_frame_over_the_limit_is_refused_before_it_is_read(pair: Pair) -> None:
    header = wire.HEADER.pack(wire.MAX_PAYLOAD + 1, wire.CALL, 0, 0, 0, 0)
    pair[0].send(header)
    pair[0].flush()
    with pytest.raises(wire.WireError, match="limit"):
        pair[1].receive()


PAYLOAD = wire.Payload(
    b"body",
    [b"buffer"],
    wire.BlockAt(b"arena", 1, 64, [10, 20]),
    [wire.RefAt(b"owner", 5, wire.Payload(b"x"))],
)
RECORDS = [
    wire.Hello(b"me"),
    wire.Intern(1, "function", "f", b"code"),
    wire.Landed(1, 2, wire.BlockAt(b"arena", 1, 64, [10, 20])),
    wire.Fetch(1, 2),
    wire.FetchFor(1, b"owner", 2),
    wire.Elsewhere(1, b"process"),
    wire.Found(1, b"process", 2**21),
    wire.Keep(1, b"owner", 2, wire.Payload(b"x", [], wire.KeptAt(b"service", 3, 2**21))),
    wire.Stays(1, 3),
    wire.Claimed(3),
    wire.Wanted(3),
    wire.Released([(1, 2)]),
    wire.Freed([(0, 64)]),
    wire.RequestLease(1, wire.Needs({"CPU": 0.5}, environment="{}")),
    wire.PlaceActor(b"a", "C", b"shape", {}, wire.Needs({"CPU": 1.0})),
    wire.RequestLease(2, wire.Needs({}, labels=(parse({"zone": "!in(a,b)"}),))),
    wire.ActorFound(3, b"a", b"shape"),
    wire.Resources(1, {"CPU": 2.0}, {}, {"zone": "b"}),
    wire.AskResources(1, [(b"a", [1, 2])]),
    wire.AskAll(1, "tasks"),
    wire.Account(1, b"body"),
    wire.Survey(1, "objects"),
    wire.Surveyed(1, [b"a"]),
    wire.Told(1, b"a", b"body"),
    wire.LeaseGranted(1, b"w", wire.Assignment({"CPU": 1.0}, ["0"])),
    wire.ActorDied(b"a", "story", "unschedulable"),
    wire.AskNodes(1),
    wire.Printed("Cls", 7, "text"),
    wire.NodeTable(
        1, [wire.NodeRow("n", "host", "1.2.3.4:5", {"CPU": 1.0}, {"a": "b"}, "its host")]
    ),
    wire.GroupTable(
        1, [wire.GroupState(wire.CreateGroup(1, b"g", [{"CPU": 1.0}], "PACK"), "x", ["n"])]
    ),
    wire.Boot("/tmp", ["torch"]),
    wire.Exited(b"w", 9),
]


def read_one(data: bytes) -> list[wire.Payload]:
    return wire.read_payloads(data, 1)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_round_trip(record: msgspec.Struct) -> None:
    assert wire.read_record(wire.encode_record(record)) == record


SEGMENT, BULK, COMING = wire.SegmentAt(b"arena", 0, 4), wire.BulkAt(1, 64, [2]), wire.Coming(1, [2])


def test_frames_for_gateways_round_trip() -> None:
    size = wire.HEADER.size
    assert wire.read_segment(wire.segment_frame(SEGMENT)[size:]) == SEGMENT
    assert wire.read_bulk(wire.bulk_frame(BULK)[size:]) == BULK
    assert wire.read_coming(wire.coming_frame(COMING)[size:]) == COMING


def mutated(draw: random.Random, data: bytes) -> bytes:
    """``data`` with a few bytes flipped, cut out, doubled or made up."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(changed) + 1)
        match draw.randrange(4):
            case 0 if at < len(changed):
                changed[at] = draw.randrange(256)
            case 1:
                del changed[at : at + draw.randint(1, 8)]
            case 2:
                changed[at:at] = changed[at : at + draw.randint(1, 8)]
            case _:
                changed[at:at] = draw.randbytes(draw.randint(1, 8))
    return bytes(changed)


CANARY = b"cos\nsystem\n(S'touch /tmp/rllib-canary'\ntR."


def test_ten_thousand_malformed_messages_are_refused_or_read() -> None:
    """Nothing but `WireError` comes of them, and pickles inside stay opaque bytes."""
    draw = random.Random(1)
    readers: list[Any] = [wire.read_record, wire.read_payload, read_one]
    readers += [wire.read_segment, wire.read_bulk, wire.read_coming]
    good = [wire.encode_record(each) for each in (*RECORDS, PAYLOAD, SEGMENT, BULK, COMING)]
    good += [msgspec.msgpack.encode([PAYLOAD]), CANARY, b"\x80\x05" + CANARY]
    refused = 0
    for data, reader in zip(
        (mutated(draw, draw.choice(good)) for _ in range(10_000)),
        itertools.cycle(readers),
        strict=False,
    ):
        try:
            reader(data)
        except wire.WireError:
            refused += 1
    assert refused > 5_000
    assert not os.path.exists("/tmp/rllib-canary")  # noqa: PTH110


def test_deep_nesting_is_refused() -> None:
    bomb = b"\x91" * 1_000_000
    for reader in (wire.read_record, wire.read_payload, read_one):
        with pytest.raises(wire.WireError):
            reader(bomb)


def test_malformed_streams_end_a_connection_at_worst() -> None:
    draw = random.Random(2)
    frames = [wire.record_frame(record) for record in RECORDS]
    frames += [wire.plain_call_frame(1, 1, 1, CANARY), wire.reply_frame(1, [PAYLOAD])]
    for _ in range(2_000):
        raw, theirs = socket.socketpair()
        receiver = Connection(theirs)
        raw.send(mutated(draw, b"".join(draw.sample(frames, 3))))
        raw.close()
        try:
            while True:
                for frame in receiver.receive():
                    if frame[0] == wire.RECORD:
                        wire.read_record(frame[-1])
        except (EOFError, wire.WireError):
            receiver.close()


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_arbitrary_bytes(data: bytes) -> None:
    for reader in (wire.read_record, wire.read_payload, read_one):
        try:
            reader(data)
        except wire.WireError:
            continue
