"""Two processes on two nodes that talk to each other, as one of their gateways sees it.

::

    process --Unix socket--> Tunnel ===wire=== the other gateway's Tunnel --Unix socket--> process

Frames go through unread, in order, but for those of large values: their bytes go from where they
lie on the one node to where they will lie on the other, see `rllib.core.native.wire.bulk`; those of
the largest by further wires beside this one (`side_wires`), for which the frames wait. It ends when
one of the processes does: so all that holds for two processes with a Unix socket between them
holds for these. Who does not read is not sent to, up to the process that writes.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rllib.core.cluster.carriers import Carriers
from rllib.core.cluster.dock import Berth, Dock, Landing
from rllib.core.cluster.side_wires import APART_BYTES, Cargo, Events, SideWires
from rllib.core.cluster.walker import Bulk, Item, Notice, Walker
from rllib.core.cluster.wires import Wire
from rllib.core.native import wire
from rllib.core.native.connection import receive, send_with
from rllib.core.native.objects import BULKS
from rllib.core.native.peers import PeerGoneError
from rllib.core.native.reactor import HANG_UP, READ, WRITE
from rllib.core.native.spillfiles import stored_size

_NEAR_READ = 1 << 18
"""More than a Unix socket ever holds."""
_FAR_READ = 1 << 16
_BULK_READ = 1 << 22
_TURN_BYTES = 1 << 22
"""So much is read before others have their turn."""
_FROM_NEAR = frozenset((wire.BULK, wire.CLAIMED))
_FROM_FAR = frozenset((wire.COMING, wire.ARRIVED))


class Shipment:
    """A value on its way out; the descriptor is closed when all of it is sent."""

    def __init__(self, fd: int, bulk: wire.BulkAt) -> None:
        self.fd = fd
        self.bulk = bulk
        self.offset = bulk.offset
        self.left = stored_size(bulk.sizes)
        self.is_announced = False

    def advance(self, count: int) -> bool:
        """So many were sent; whether that was the last of it."""
        self.offset += count
        self.left -= count
        if not self.left:
            self.close()
        return not self.left

    def close(self) -> None:
        """Let go of where it lies."""
        os.close(self.fd)


class Letter(NamedTuple):
    """Bytes for the process here, and descriptors that go with the first of them."""

    data: memoryview
    fds: tuple[int, ...] = ()
    claim: int = 0
    """Of the landing of which it tells."""


class Ends(NamedTuple):
    """Who is at the ends of a tunnel."""

    near: bytes
    """The process here."""
    far: bytes
    """The key of the other node."""


class Tunnel:
    """See the module's text. All runs under the lock of the main carrier.

    ``ended`` is called once, with the reason where the way broke though both may live; ``widen``,
    where there is one, when side wires would have something to carry, see `SideWires.wish`.
    """

    def __init__(
        self,
        carriers: Carriers,
        near: socket.socket,
        far: Wire,
        ends: Ends,
        dock: Dock,
        ended: Callable[[Tunnel, str], None],
        widen: Callable[[Tunnel], None] | None = None,
    ) -> None:
        self.ends = ends
        self.sides = SideWires(carriers, Events(self._taken, self._filled, self._broken))
        self._reactor = carriers.main.reactor
        self._lock = carriers.main.lock
        self._near = near
        self._far = far
        self._dock = dock
        self._ended = ended
        self._widen = widen
        self._near_is_open = self._far_is_open = True
        self._output_ended = False
        self._far_hung_up = False
        self._closed = False
        self._to_far: deque[memoryview | Shipment | Cargo] = deque()
        self._to_near: deque[Letter] = deque()
        self._untold: set[int] = set()  # claims in letters that nobody will read
        self._from_near = Walker(_FROM_NEAR)
        self._from_far = Walker(_FROM_FAR)
        self._fds: deque[int] = deque()
        self._items: Iterator[Item] = iter(())  # what was read from afar and is not looked at yet
        self._berth: Berth | None = None  # of the value that comes just now
        self._filling: Berth | None = None  # of the one that comes by side wires just now
        self._seeks_berth = False
        self._shown: set[int] = set()  # segments that the process here has
        self._masks: dict[int, int] = {}

    def start(self) -> None:
        """Carry."""
        self._do(self._read_far)  # some of it may lie in the buffers of TLS

    def cut(self, reason: str) -> None:
        """End it, because the way broke."""
        if not self._closed:
            self._close(reason)

    def may_widen(self) -> bool:
        """Whether there may be one more side wire; then it is counted. Raises `OSError`, see
        `SideWires.promise`."""
        return not self._closed and self.sides.promise()

    def add_side(self, wire: Wire, *, awaits_hello: bool = False) -> None:
        """One that there may be, see `SideWires.add`. Closes it where it comes too late."""
        if self._closed:
            wire.close()
        else:
            self.sides.add(wire, awaits_hello=awaits_hello)

    # -- events --------------------------------------------------------------------------------

    def _on_near(self, mask: int) -> None:
        if mask & WRITE:
            self._do(self._pour_near)
            if self._far.buffered and not self._closed:  # of which no event tells
                self._do(self._read_far)
        if mask & ~WRITE and not self._closed:
            self._do(self._read_near)

    def _on_far(self, mask: int) -> None:
        if mask & WRITE:
            self._do(self._pour_far)
        if mask & ~WRITE and not self._closed:
            self._do(self._read_far if self._may_read_far else self._fail_if_broken)

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (OSError, wire.WireError) as error:
            self._close(f"{type(error).__name__}: {error}")
            return
        self._settle()

    def _settle(self) -> None:
        """After every event: end what has ended, and wait for what is possible next."""
        if not self._near_is_open and not self._to_far and not self._output_ended:
            self._output_ended = True
            if self._far_is_open:
                self._far.end_output()
        if not self._far_is_open and not (self._near_is_open and self._to_near):
            self._close("")
            return
        self._watch_both()

    def _watch_both(self) -> None:
        near = far = 0
        if self._near_is_open:
            may_read = self._far_is_open and not self._to_far
            near = (READ if may_read else 0) | (WRITE if self._to_near else 0)
        if self._far_is_open:
            far = self._events_to_read_far | (WRITE if self._may_pour_far else 0)
            self._far.await_bytes(self._from_far.raw if self._near_is_open else 0)
        self._watch(self._near.fileno(), near, self._on_near)
        self._watch(self._far.fd, far, self._on_far)

    @property
    def _events_to_read_far(self) -> int:
        if self._may_read_far:
            return READ
        return HANG_UP if self._waits_for_value and not self._far_hung_up else 0

    @property
    def _may_read_far(self) -> bool:
        """For what follows there is room, or nobody who would read it."""
        return not self._near_is_open or not (self._to_near or self._waits_for_value)

    @property
    def _waits_for_value(self) -> bool:
        return self._seeks_berth or self._filling is not None

    @property
    def _may_pour_far(self) -> bool:
        return bool(self._to_far) and not isinstance(self._to_far[0], Cargo)

    def _watch(self, fd: int, mask: int, handler: Callable[[int], None]) -> None:
        known = self._masks.get(fd, 0)
        if known == mask:
            return
        self._masks[fd] = mask
        if not mask:  # else its hang-up would be reported for ever
            self._reactor.unregister(fd)
        elif known:
            self._reactor.modify(fd, mask)
        else:
            self._reactor.register(fd, handler, mask)

    # -- from the process here -----------------------------------------------------------------

    def _read_near(self) -> None:
        try:
            data = receive(self._near, _NEAR_READ, self._fds)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end_near()
            return
        for item in self._from_near.feed(data):
            if isinstance(item, Notice):
                self._on_near_notice(item)
            elif isinstance(item, memoryview):
                self._to_far.append(item)
        self._pour_far()

    def _on_near_notice(self, notice: Notice) -> None:
        if notice.kind == wire.CLAIMED:
            self._dock.claimed(notice.number)
            return
        bulk = wire.read_bulk(notice.payload)
        if not self._fds:
            raise wire.WireError("a value was announced without its descriptor")
        self._send_bulk(bulk, self._fds.popleft())

    def _send_bulk(self, bulk: wire.BulkAt, fd: int) -> None:
        self._to_far.append(Shipment(fd, bulk))
        self._widen_for(stored_size(bulk.sizes))

    def _widen_for(self, size: int) -> None:
        if size >= APART_BYTES and self._widen is not None and self.sides.wish():
            self._widen(self)

    def _pour_far(self) -> None:
        """Write what the network takes."""
        while self._to_far and self._far_is_open:
            item = self._to_far[0]
            if isinstance(item, Cargo):
                if self.sides.is_loaded(item):
                    return
            elif isinstance(item, Shipment):
                if not item.is_announced:
                    self._announce(item)
                    continue
                if not self._ship(item):
                    return
            else:
                sent = self._far.send(item)
                if sent is None:
                    return
                if sent < len(item):
                    self._to_far[0] = item[sent:]
                    continue
            self._to_far.popleft()

    def _announce(self, shipment: Shipment) -> None:
        """Say that it comes, now that its turn has come, and how; it may be on side wires before
        that is sent."""
        bulk = shipment.bulk
        cargo = self.sides.load(bulk.number, shipment.fd, shipment.offset, shipment.left)
        coming = wire.Coming(bulk.number, bulk.sizes, cargo.serial if cargo else 0)
        shipment.is_announced = True
        self._to_far[0] = cargo or shipment
        self._to_far.appendleft(memoryview(wire.coming_frame(coming)))

    def _ship(self, shipment: Shipment) -> bool:
        """Send some of it; whether all of it is sent."""
        while True:
            sent = self._far.send_file(shipment.fd, shipment.offset, shipment.left)
            if sent is None:
                return False
            if not sent:
                raise OSError("a value is shorter than was announced")
            if shipment.advance(sent):
                return True

    def _taken(self, cargo: Cargo) -> None:
        """The side wires have the last of it in hand, and are glad of more."""
        if self._to_far and self._to_far[0] is cargo:
            self._do(self._pour_far)

    def _end_near(self) -> None:
        """The process here has ended: what it wrote goes out, what comes for it is for nobody."""
        self._near_is_open = False
        self._drop_letters()
        self._items = iter(())
        self._berth = self._filling = None
        self.sides.shut()

    # -- from afar -----------------------------------------------------------------------------

    def _fail_if_broken(self) -> None:
        """What is not read is heard of only when it breaks, or where a system tells of its end."""
        self._far.fail_if_broken()
        self._far_hung_up = True

    def _read_far(self) -> None:
        done = 0
        while self._may_read_far:
            count = self._read_far_once()
            if count is None or not self._far_is_open:
                return
            done += count
            if done >= _TURN_BYTES and not self._far.buffered:
                return

    def _read_far_once(self) -> int | None:
        """Bytes that one read brought."""
        berth = self._berth
        if berth is not None and self._from_far.raw and self._near_is_open:
            room = berth.room(_BULK_READ)
            count = self._far.receive_into(room)
            if count:
                berth.done += count
                self._from_far.raw -= count
                self._land_if_full(berth)
        else:
            data = self._far.receive(_FAR_READ)
            count = None if data is None else len(data)
            if data and self._near_is_open:
                self._items = self._from_far.feed(data)
                self._take_items()
        if count == 0:
            self._far_is_open = False
            self._drop_output()
        return count

    def _take_items(self) -> None:
        for item in self._items:
            if isinstance(item, Bulk):
                assert self._berth is not None
                self._berth.take(item.data)
                self._land_if_full(self._berth)
            elif isinstance(item, memoryview):
                self._to_near.append(Letter(item))
            else:
                self._on_far_notice(item)
                if self._waits_for_value:
                    return  # the rest of the items follows when it is there, or room for it
        self._pour_near()

    def _on_far_notice(self, notice: Notice) -> None:
        if notice.kind == wire.ARRIVED:
            self.sides.arrived(notice.number)
            freed = wire.Freed([(BULKS, notice.number)])
            self._to_near.append(Letter(memoryview(wire.record_frame(freed))))
            return
        coming = wire.read_coming(notice.payload)
        size = stored_size(coming.sizes)
        if coming.serial:
            self.sides.announced(coming.serial)
        else:
            self._from_far.raw = size
        self._widen_for(size)
        is_apart = coming.serial > 0
        berth = self._dock.berth(coming)
        if berth is None:
            self._seeks_berth = True
            self._dock.find_berth(coming, lambda berth: self._found_berth(berth, is_apart=is_apart))
        else:
            self._receive_into(berth, is_apart=is_apart)

    def _receive_into(self, berth: Berth, *, is_apart: bool) -> None:
        if is_apart:
            self._filling = berth
            self.sides.receive(berth)
        else:
            self._berth = berth

    def _found_berth(self, berth: Berth, *, is_apart: bool) -> None:
        """Called in another thread."""
        with self._lock:
            self._seeks_berth = False
            if self._near_is_open and not self._closed:
                self._receive_into(berth, is_apart=is_apart)
                if is_apart:
                    self._settle()
                else:
                    self._go_on()
            elif not self._closed:
                self._settle()

    def _filled(self, berth: Berth) -> None:
        """The side wires have brought all of it."""
        if berth is self._filling:
            self._filling = None
            self._do(lambda: self._land(berth))
            self._go_on()

    def _go_on(self) -> None:
        """With what has come behind a value."""
        for work in (self._take_items, self._read_far):
            if not self._closed:
                self._do(work)

    def _land_if_full(self, berth: Berth) -> None:
        if berth.is_full:
            self._berth = None
            self._land(berth)

    def _land(self, berth: Berth) -> None:
        try:
            landing = self._dock.land(berth, self.ends.near, self)
        except PeerGoneError:
            self._end_near()
            return
        self._to_far.append(memoryview(wire.notice_frame(wire.ARRIVED, berth.number)))
        self._show_segment(landing)
        landed = wire.Landed(berth.number, landing.claim, landing.at)
        self._to_near.append(Letter(memoryview(wire.record_frame(landed)), (), landing.claim))
        self._pour_near()
        self._pour_far()

    def _show_segment(self, landing: Landing) -> None:
        segment = landing.segment
        if segment is None or segment.arena == self.ends.near or segment.number in self._shown:
            return
        self._shown.add(segment.number)
        frame = wire.segment_frame(wire.SegmentAt(segment.arena, segment.number, segment.size))
        self._to_near.append(Letter(memoryview(frame), (segment.fd,)))

    def _pour_near(self) -> None:
        """Write what the process here takes."""
        try:
            while self._to_near:
                data, fds, claim = self._to_near[0]
                sent = send_with(self._near, data, fds) if fds else self._near.send(data)
                if sent < len(data):
                    self._to_near[0] = Letter(data[sent:], (), claim)
                else:
                    self._to_near.popleft()
        except BlockingIOError:
            pass
        except OSError:  # it has ended, and may have left something to read
            self._drop_letters()

    def _drop_letters(self) -> None:
        self._untold.update(letter.claim for letter in self._to_near if letter.claim)
        self._to_near.clear()

    # -- ends ----------------------------------------------------------------------------------

    def _broken(self, reason: str) -> None:
        """A side wire is lost, and with it what it carried; or the other end has closed all, which
        is heard by the tunnel's own connection as well, and what it said before that."""
        if not self._closed and not self._waits_for_value:
            self._do(self._read_far)
        if not self._closed:
            self._close(reason if self._near_is_open else "")  # else the other has ended it

    def _drop_output(self) -> None:
        for item in self._to_far:
            if isinstance(item, Shipment):
                item.close()
        self._to_far.clear()

    def _close(self, reason: str) -> None:
        self._closed = True
        for fd in self._masks:
            self._watch(fd, 0, self._on_near)
        self._drop_output()
        self._items = iter(())
        self._berth = self._filling = None
        while self._fds:
            os.close(self._fds.popleft())
        self._near.close()
        if reason:
            self._far.abort()
        self._far.close()
        self.sides.close()
        self._drop_letters()
        self._dock.withdraw(self, self._untold)
        self._ended(self, reason)
