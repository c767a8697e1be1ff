"""Side wires that come, late or not at all: who may use them when, and when more are dug."""

import asyncio
import errno
import os
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from patience import patience, wait_until
from tunnel_ends import (
    End,
    Stranger,
    Way,
    connected,
    record,
    reset,
    share,
    wires_between,
)

from rllib.core.cluster import tunnels
from rllib.core.cluster.carriers import SIDES, Carriers
from rllib.core.cluster.credentials import Credentials
from rllib.core.cluster.gateway import Gateway
from rllib.core.cluster.shares import GRAIN
from rllib.core.cluster.side_wires import APART_BYTES, GOODBYE, HELLO, IDLE_S, Events, SideWires
from rllib.core.cluster.tunnels import Opened, Tunnels
from rllib.core.cluster.wires import PlainWire, prepare
from rllib.core.native import wire
from rllib.core.native.wire import HEADER

NUM_SIDES = SIDES


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def alone() -> Iterator[Stranger]:
    """A stranger at the other end of a tunnel that has no side wires yet."""
    made = Stranger(sides=0)
    yield made
    made.close()


def let_in(stranger: Stranger) -> socket.socket:
    """One more side wire, which the stranger has dug and said nothing by."""
    with stranger.end.lock:
        assert stranger.end.tunnel.may_widen()
    return added(stranger)


def added(stranger: Stranger) -> socket.socket:
    theirs, ours = connected()
    prepare(ours)
    theirs.settimeout(patience(10))
    with stranger.end.lock:
        stranger.end.tunnel.add_side(PlainWire(ours), awaits_hello=True)
    stranger.sides.append(theirs)
    return theirs


def announced(stranger: Stranger) -> wire.Coming:
    """What is said next of a value that comes."""
    header = read(stranger.main, HEADER.size)
    return wire.read_coming(read(stranger.main, HEADER.unpack(header)[0]))


def read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        assert more
        data += more
    return data


def is_met(stranger: Stranger) -> bool:
    with stranger.end.lock:
        return len(stranger.end.tunnel.sides._ready) == len(stranger.sides)


# -- who has dug it may not be there ---------------------------------------------------------------


def test_nothing_is_sent_by_a_side_wire_before_a_hello(alone: Stranger) -> None:
    side = let_in(alone)
    alone.end.send(1, bytes(APART_BYTES))
    assert announced(alone).serial == 0
    assert read(alone.main, APART_BYTES) == bytes(APART_BYTES)
    side.sendall(HELLO)
    wait_until(lambda: is_met(alone), patience(10))
    alone.end.send(2, bytes(APART_BYTES))
    assert announced(alone).serial == 1
    assert side.recv(1)


def test_a_side_wire_that_nobody_waited_for_does_no_harm(alone: Stranger) -> None:
    first, second = let_in(alone), let_in(alone)
    first.sendall(HELLO)
    wait_until(lambda: len(alone.end.tunnel.sides._ready) == 1, patience(10))
    alone.announce(5, 2 * GRAIN, 1)
    first.sendall(share(1, 0, GRAIN))
    reset(second)
    wait_until(lambda: len(alone.end.tunnel.sides._wires) == 1, patience(10))
    first.sendall(share(1, GRAIN, GRAIN))
    assert record(alone.end.frames(1)[0]).number == 5
    assert not alone.end.reasons


def test_shares_come_from_who_was_let_in_before_his_wire_is_there(alone: Stranger) -> None:
    with alone.end.lock:
        assert alone.end.tunnel.may_widen()
    alone.announce(5, GRAIN, 1)
    wait_until(lambda: alone.end.tunnel._filling is not None, patience(10))
    added(alone).sendall(HELLO + share(1, 0, GRAIN))
    assert record(alone.end.frames(1)[0]).number == 5


def test_who_says_something_else_is_no_digger(alone: Stranger) -> None:
    let_in(alone).sendall(b"GET /")
    wait_until(lambda: not alone.end.tunnel.sides._wires, patience(10))
    assert not alone.end.reasons


def test_a_side_wire_that_has_ended_makes_room_for_another(alone: Stranger) -> None:
    for _ in range(2 * SIDES):
        let_in(alone).close()
        wait_until(lambda: not alone.end.tunnel.sides._wires, patience(10))


def test_threads_of_side_wires_are_there_before_they_are_promised(
    alone: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched, alone.end.lock:
        patched.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(OSError, match="thread"):
            alone.end.tunnel.may_widen()
    let_in(alone)
    let_in(alone)


# -- what waits for its turn -----------------------------------------------------------------------


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    made = Stranger()
    yield made
    made.close()


def test_a_value_whose_turn_comes_when_all_side_wires_have_ended_goes_without_them(
    stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = wire.plain_reply_frame(1, b"before")
    with monkeypatch.context() as full:
        full.setattr(stranger.end.tunnel._far, "send", lambda _data: None)
        with stranger.end.lock:  # so that they are read at once
            stranger.end.near.sendall(before)
            stranger.end.send(1, bytes(APART_BYTES))
        wait_until(lambda: len(stranger.end.tunnel._to_far) >= 2, patience(10))
        for each in stranger.sides:
            each.close()
        wait_until(lambda: not stranger.end.tunnel.sides._wires, patience(10))
    assert read(stranger.main, len(before)) == before
    assert announced(stranger).serial == 0
    assert read(stranger.main, APART_BYTES) == bytes(APART_BYTES)
    assert not stranger.end.reasons


# -- when some are dug -----------------------------------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sides(clock: Clock) -> Iterator[SideWires]:
    carriers = Carriers()
    nobody: Any = None
    yield SideWires(carriers, Events(nobody, nobody, nobody), clock)
    carriers.stop()


def test_side_wires_are_wished_for_once_there_is_something_to_carry(alone: Stranger) -> None:
    alone.announce(4, APART_BYTES - 64, 0)
    alone.main.sendall(bytes(APART_BYTES - 64))
    alone.end.frames(1)
    assert alone.end.wished == 0
    for number in (5, 6):
        alone.announce(number, APART_BYTES, 0)
        alone.main.sendall(bytes(APART_BYTES))
    alone.end.frames(2)
    assert alone.end.wished == 1


def test_failed_digging_is_tried_again_after_longer_and_longer_pauses(
    sides: SideWires, clock: Clock
) -> None:
    waited = list[float]()
    for _ in range(9):
        began = clock.now
        while not sides.wish():
            clock.now += 0.5
        assert not sides.wish()  # somebody is at it
        sides.done()
        waited.append(clock.now - began)
    assert waited == [0, 1, 2, 4, 8, 16, 32, 64, 64]


def test_what_was_promised_to_a_digger_that_failed_is_free_again(
    sides: SideWires, clock: Clock
) -> None:
    for _ in range(3):
        clock.now += 100
        assert sides.wish()
        assert [sides.promise() for _ in range(SIDES + 1)] == [True] * SIDES + [False]
        sides.done()


class Knocks:
    """Tunnels without a network: how often somebody knocked, and what he got."""

    def __init__(self, answers: list[Any]) -> None:
        nobody: Any = None
        dock: Any = SimpleNamespace(close=lambda: None)
        self.count = 0
        self._answers = answers
        self.tunnels = Tunnels(Path(), None, nobody, nobody, dock, nobody, nobody)
        self.tunnels._knock = self._knock  # type: ignore[method-assign]

    async def _knock(self, *_: object) -> Opened | None:
        self.count += 1
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if answer is None else Opened(answer, "1")

    def dig(self, end: End) -> None:
        """As when its tunnel has wished for side wires."""
        self.tunnels._lock = end.lock
        asyncio.run(self.tunnels._dig_sides(end.tunnel, "1", ""))


def test_without_descriptors_side_wires_are_dug_later(alone: Stranger) -> None:
    theirs, ours = zip(*(connected() for _ in range(SIDES)), strict=True)
    alone.sides.extend(theirs)
    for each in ours:
        prepare(each)
    knocks = Knocks([OSError(errno.EMFILE, ""), *map(PlainWire, ours)])
    clock = alone.end.tunnel.sides._clock = Clock()
    for count in (1, 1 + SIDES):
        clock.now += 100
        assert alone.end.tunnel.sides.wish()
        knocks.dig(alone.end)
        assert knocks.count == count
    assert [each.recv(1) for each in theirs] == [HELLO] * SIDES
    assert not alone.end.tunnel.sides.wish()
    knocks.tunnels.close()


def test_where_the_tunnel_is_gone_nobody_knocks_again_at_once(alone: Stranger) -> None:
    knocks = Knocks([None])
    assert alone.end.tunnel.sides.wish()
    knocks.dig(alone.end)
    assert knocks.count == 1
    assert not alone.end.tunnel.sides.wish()
    knocks.tunnels.close()


# -- when they go ----------------------------------------------------------------------------------


def rest(end: End) -> None:
    """As when it has carried nothing for long enough, as far as it knows."""
    with end.lock:
        now = end.tunnel.sides._used + IDLE_S
        end.tunnel.sides._clock = lambda: now
        end.tunnel.sides.rest()


def has_none(end: End) -> bool:
    with end.lock:
        return not end.tunnel.sides._wires


def test_side_wires_that_carry_nothing_go_and_come_again(way: Way) -> None:
    value = os.urandom(APART_BYTES)
    way.near.send(1, value)
    way.far.frames(1)
    way.near.frames(1)
    rest(way.far)
    wait_until(lambda: has_none(way.near) and has_none(way.far), patience(10))
    assert way.near.wished == 0
    way.near.send(2, value)
    way.far.frames(1)
    assert way.near.wished == 1
    widen(way)
    way.near.send(3, value)
    way.far.frames(1)
    assert way.far.quay.landed == [value] * 3
    assert way.far.tunnel.sides._received == 2  # in shares
    assert way.near.reasons == way.far.reasons == []


def widen(way: Way) -> None:
    """Have as many side wires as there may be; who sends by one knows that the other may, too."""
    ends = (way.near, way.far)
    for wires in iter(lambda: wires_between(None), None):
        if not all(may_widen(end) for end in ends):
            for side in wires:
                side.close()
            return
        for end, side in zip(ends, wires, strict=True):
            with end.lock:
                end.tunnel.add_side(side)


def may_widen(end: End) -> bool:
    with end.lock:
        return end.tunnel.may_widen()


def test_side_wires_stay_while_they_are_used(way: Way) -> None:
    way.far.quay.has_room = False
    way.near.send(1, bytes(APART_BYTES))
    wait_until(lambda: len(way.far.quay.waiting) == 1, patience(10))
    rest(way.near)
    rest(way.far)
    way.far.quay.waiting.pop()()
    way.far.frames(1)
    way.near.frames(1)
    with way.near.lock, way.far.lock:
        now = way.near.tunnel.sides._used + IDLE_S - 1
        way.near.tunnel.sides._clock = lambda: now
        way.near.tunnel.sides.rest()
        assert len(way.near.tunnel.sides._ready) == SIDES


def test_what_is_sent_by_side_wires_that_are_let_go_of_arrives(way: Way) -> None:
    """The one end lets go of them when the other one has just begun to send."""
    value = os.urandom(3 * APART_BYTES)
    with way.far.lock:  # it hears of the value later
        way.near.send(1, value)
        wait_until(lambda: way.near.tunnel.sides._sent == 1, patience(10))
        rest(way.far)
    way.far.frames(1)
    assert way.far.quay.landed == [value]
    way.near.frames(1)
    wait_until(lambda: has_none(way.near) and has_none(way.far), patience(10))
    assert way.near.reasons == way.far.reasons == []


def test_side_wires_come_and_go_while_both_send() -> None:
    way, value = Way(None, SIDES), os.urandom(APART_BYTES)
    chance, count = random.Random(1), 60

    def send(end: End) -> None:
        for number in range(count):
            end.send(number, value)

    ends = (way.near, way.far)
    threads = [threading.Thread(target=send, args=(end,)) for end in ends]
    threads += [threading.Thread(target=end.frames, args=(2 * count,)) for end in ends]
    for each in threads:
        each.start()
    while any(each.is_alive() for each in threads):
        end = chance.choice(ends)
        with end.lock:
            sides = end.tunnel.sides
            sides._not_arrived, kept = set(), sides._not_arrived  # it is bolder than it may be
            sides._clock = lambda sides=sides: sides._used + IDLE_S
            sides.rest()
            sides._not_arrived = kept
        if all(map(has_none, ends)):
            widen(way)
    for each in threads:
        each.join()
    assert way.near.quay.landed == way.far.quay.landed == [value] * count
    assert way.near.reasons == way.far.reasons == []
    way.close()


def test_side_wires_that_go_amid_a_value_end_the_tunnel(stranger: Stranger) -> None:
    stranger.announce(5, 2 * GRAIN, 1)
    stranger.sides[0].sendall(share(1, 0, GRAIN))
    for each in stranger.sides:
        each.sendall(GOODBYE.header())
    assert "amid a value" in stranger.end.wait_for_end()


def test_tunnels_are_looked_after(monkeypatch: pytest.MonkeyPatch) -> None:
    knocks, rested = Knocks([]), list[int]()
    monkeypatch.setattr(tunnels, "IDLE_S", 0.0)
    sides = SimpleNamespace(rest=lambda: rested.append(1))
    tunnel: Any = SimpleNamespace(sides=sides, cut=lambda _reason: None)
    knocks.tunnels._tunnels = [tunnel]  # type: ignore[assignment]

    async def until_twice() -> None:
        tending = asyncio.ensure_future(knocks.tunnels.tend())
        while len(rested) < 2:
            await asyncio.sleep(0)
        tending.cancel()

    asyncio.run(until_twice())
    knocks.tunnels.close()


# -- when a tunnel or its gateway has ended --------------------------------------------------------


def test_for_a_tunnel_that_has_ended_nobody_digs(alone: Stranger) -> None:
    knocks = Knocks([])
    with alone.end.lock:
        alone.end.tunnel.cut("its node is gone")
    knocks.dig(alone.end)
    assert not knocks.count
    knocks.tunnels.close()


def test_what_a_tunnel_wishes_for_while_its_gateway_stops_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody: Any = SimpleNamespace(broken=None)
    dock: Any = SimpleNamespace(close=lambda: None)
    gateway = Gateway(tmp_path, bytes(16), Credentials("x" * 43, None), nobody, dock)
    gateway.start("127.0.0.1", 0)
    ended = list[bool]()

    async def dig() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    close = gateway._tunnels.close

    def wish_and_close() -> None:
        gateway._loop.call_soon_threadsafe(gateway._loop.create_task, dig())
        close()

    monkeypatch.setattr(gateway._tunnels, "close", wish_and_close)
    gateway.stop()
    assert ended == [True]
