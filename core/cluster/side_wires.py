"""Further connections of a tunnel, by which large values go in shares, straight from where they lie
to where they will lie, several at a time.

::

    Tunnel --Cargo--> SideWire ===[number, offset, size] bytes=== SideWire --> Pier --> Tunnel
       |      '-----> SideWire ===[number, offset, size] bytes=== SideWire ----'         |
       '=============================== COMING, frames =================================='

The order of things is that of the tunnel's own connection alone, which says what comes apart, and
where nothing is passed on before that has landed. A share that is earlier than its announcement
waits, and with it all that is behind it on its wire.

Who has dug a side wire says hello by it, and is not sent to before: until then it may have given
up waiting for it, and nobody would receive what was sent. Side wires that had nothing to carry for
a while go: the one gateway says goodbye, and sends nothing more by them; the other one does the
same when it has sent what it was about to. One that ends without that may have lost something.

A side wire belongs to a thread of its own (`carriers`). It holds on to the berth that it receives
into and to the descriptor that it sends from until it is done with them, or has heard that its
tunnel has ended: so nobody writes to memory that somebody else has by then. `Cargo` and `Pier` are
known to all these threads, and have locks under which nothing else is locked, or waited for.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from rllib.core.cluster.carriers import SIDES, Carrier, Carriers
from rllib.core.cluster.dock import Berth
from rllib.core.cluster.shares import HEADER_BYTES, Arrivals, Share, share_size
from rllib.core.cluster.wires import Wire
from rllib.core.native.reactor import READ, WRITE
from rllib.core.native.wire import WireError

APART_BYTES = 1 << 22
"""Values of this size go in shares. For those of half of it there is little in it."""
_READ_BYTES = 1 << 22
_TURN_BYTES = 1 << 22
"""So much is carried before others have their turn."""
_MOST_AHEAD = 1 << 16
"""More values than there can be on their way: sockets do not hold so many shares."""
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 64.0
"""Between two times of digging; each one that fails doubles it."""

IDLE_S = 60.0
"""Side wires that have carried nothing for so long are let go of: others may need descriptors."""

HELLO = b"+"
"""What comes first from who has dug a side wire."""
GOODBYE = Share(0, 0, 0)
"""What comes last, as if it were a share of a value."""


class Cargo:
    """A value on its way out; the descriptor is closed when nobody sends from it any more."""

    def __init__(self, serial: int, fd: int, offset: int, size: int) -> None:
        self.fd = fd
        self.serial = serial
        self._start = offset
        self._size = size
        self._taken = 0
        self._lock = threading.Lock()

    def take(self, wires: int) -> Share | None:
        """The next share, for one of so many wires; none where all were taken."""
        with self._lock:
            size = share_size(self._size - self._taken, wires)
            share = Share(self.serial, self._taken, size)
            self._taken += size
        return share if size else None

    def ends_with(self, share: Share) -> bool:
        """Whether that is the last one."""
        return share.offset + share.size == self._size

    def place(self, share: Share) -> int:
        """Where that one begins, behind the descriptor."""
        return self._start + share.offset

    def __del__(self) -> None:
        os.close(self.fd)


class Pier:
    """Where shares come in, those of one value at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._serial = 0
        self._berth: Berth | None = None
        self._arrivals = Arrivals(0)
        self._is_shut = False

    def open(self, serial: int, berth: Berth) -> None:
        """Shares of that value may come."""
        with self._lock:
            self._serial, self._berth = serial, berth
            self._arrivals = Arrivals(berth.size)

    def shut(self) -> None:
        """Nobody wants what comes from now on."""
        with self._lock:
            self._berth = None
            self._is_shut = True

    def begin(self, share: Share) -> Berth | None:
        """Where it belongs; none if that is not known yet. Raises `WireError` for one of no value,
        and for those that `Arrivals` does not take."""
        with self._lock:
            ahead = share.serial - self._serial
            if self._is_shut or 0 < ahead <= _MOST_AHEAD:
                return None
            if ahead or self._berth is None:
                raise WireError("a share of a value that is none")
            self._arrivals.begin(share)
            return self._berth

    def came(self, share: Share) -> Berth | None:
        """All of a share that has begun; the berth if it is full now."""
        with self._lock:
            if not self._arrivals.came(share):
                return None
            berth, self._berth = self._berth, None
            return berth


class _Leaving:
    """A share that is being sent."""

    def __init__(self, share: Share, cargo: Cargo | None) -> None:
        self.cargo = cargo
        self.header = memoryview(share.header())
        self.at = cargo.place(share) if cargo else 0
        self.left = share.size

    @property
    def is_sent(self) -> bool:
        return not (self.header or self.left)


class _Coming:
    """A share that is being received."""

    def __init__(self, berth: Berth, share: Share) -> None:
        self.berth = berth
        self.share = share
        self.at = share.offset
        self.left = share.size


class Events(NamedTuple):
    """What a tunnel hears, in its own thread; also after it has ended."""

    taken: Callable[[Cargo], None]
    """The last share of it is being sent."""
    filled: Callable[[Berth], None]
    """All shares are there."""
    broken: Callable[[str], None]
    """What was on its way is lost; why."""


class SideWire:
    """One connection. Runs in its carrier's thread, and closes there."""

    def __init__(
        self, wire: Wire, carrier: Carrier, pier: Pier, group: SideWires, *, awaits_hello: bool
    ) -> None:
        self.carrier = carrier
        self._wire = wire
        self._awaits_hello = awaits_hello
        self._pier = pier
        self._group = group
        self._mask = 0
        self._head = b""
        self._coming: _Coming | None = None
        self._is_early = False  # the share whose header was read
        self._cargo: Cargo | None = None
        self._leaving: _Leaving | None = None
        self._is_parting = False  # nothing more will be loaded
        self._said_goodbye = self._heard_goodbye = False
        self._closed = False

    # -- from the tunnel's thread --------------------------------------------------------------

    def start(self) -> None:
        """Carry; some of it may lie in the buffers of TLS."""
        self.carrier.post(lambda: self._do(self._read))

    def send(self, cargo: Cargo) -> None:
        """Send shares of it, as long as there are some; after what was to be sent before."""
        self.carrier.post(lambda: self._load(cargo))

    def look(self) -> None:
        """The pier is open now."""
        self.carrier.post(lambda: self._do(self._read_early))

    def part(self) -> None:
        """Say goodbye when what was to be sent before is sent, and end when it was heard."""
        self.carrier.post(lambda: self._do(self._part))

    def close(self) -> None:
        """End it at once."""
        self.carrier.post(self._close)

    # -- events --------------------------------------------------------------------------------

    def _on_event(self, mask: int) -> None:
        if mask & WRITE:
            self._do(self._pour)
        if mask & ~WRITE:
            self._do(self._read_or_fail)

    def _do(self, work: Callable[[], None]) -> None:
        if self._closed:
            return
        try:
            work()
            self._settle()
        except (OSError, WireError) as error:
            carries = self._leaving and self._leaving.cargo  # which a goodbye does not
            is_busy = bool(self._head or self._coming or self._cargo or carries)
            self._close()
            self._group.lost(self, f"{type(error).__name__}: {error}", is_busy=is_busy)

    def _settle(self) -> None:
        """After every event: end what has ended, and wait for what is possible next."""
        if self._said_goodbye and self._heard_goodbye and not self._leaving:
            self._close()
            self._group.ended(self)
        else:
            self._watch()

    def _watch(self) -> None:
        mask = (READ if self._may_read else 0) | (WRITE if self._leaving or self._cargo else 0)
        if mask == self._mask:
            return
        reactor, fd = self.carrier.reactor, self._wire.fd
        if not mask:
            reactor.unregister(fd)
        elif self._mask:
            reactor.modify(fd, mask)
        else:
            reactor.register(fd, self._on_event, mask)
        self._mask = mask

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.carrier.reactor.unregister(self._wire.fd)
        self._wire.close()
        self._coming = self._leaving = self._cargo = None

    # -- out -----------------------------------------------------------------------------------

    def _load(self, cargo: Cargo) -> None:
        if not self._closed:
            self._cargo = cargo  # all of the one before was taken
            self._do(self._pour)

    def _part(self) -> None:
        self._is_parting = True
        self._pour()

    def _pour(self) -> None:
        """Write what the network takes."""
        done = 0
        while done < _TURN_BYTES and (leaving := self._leaving or self._take()):
            sent = self._send_some(leaving)
            if sent is None:
                return
            done += sent
            if leaving.is_sent:
                self._leaving = None

    def _take(self) -> _Leaving | None:
        cargo = self._cargo
        share = cargo.take(SIDES) if cargo else None
        if cargo and share:
            if cargo.ends_with(share):
                self._group.taken(cargo)
            self._leaving = _Leaving(share, cargo)
        else:
            self._cargo = None
            if self._is_parting and not self._said_goodbye:
                self._said_goodbye = True
                self._leaving = _Leaving(GOODBYE, None)
        return self._leaving

    def _send_some(self, leaving: _Leaving) -> int | None:
        if leaving.header:
            sent = self._wire.send(leaving.header)
            if sent is not None:
                leaving.header = leaving.header[sent:]
            return sent
        assert leaving.cargo is not None
        sent = self._wire.send_file(leaving.cargo.fd, leaving.at, leaving.left)
        if sent == 0:
            raise OSError("a value is shorter than was announced")
        if sent is not None:
            leaving.at += sent
            leaving.left -= sent
        return sent

    # -- in ------------------------------------------------------------------------------------

    def _read_or_fail(self) -> None:
        if self._is_early:  # of one that is not read nothing is heard but that it broke
            self._wire.fail_if_broken()
        self._read()

    def _read_early(self) -> None:
        if self._is_early:
            self._begin()
            self._read()

    def _read(self) -> None:
        done = 0
        while self._may_read and (done < _TURN_BYTES or self._wire.buffered):
            count = self._read_some()
            if count is None:
                return
            if not count:
                raise ConnectionError("a side wire ended")
            done += count

    @property
    def _may_read(self) -> bool:
        return not (self._is_early or self._heard_goodbye)

    def _read_some(self) -> int | None:
        if self._awaits_hello:
            return self._read_hello()
        coming = self._coming
        if coming is None:
            data = self._wire.receive(HEADER_BYTES - len(self._head))
            if data:
                self._head += data
                if len(self._head) == HEADER_BYTES:
                    self._begin()
            return None if data is None else len(data)
        room = coming.berth.part(coming.at, min(coming.left, _READ_BYTES))
        count = self._wire.receive_into(room)
        if count:
            coming.at += count
            coming.left -= count
            self._wire.await_bytes(coming.left)
            if not coming.left:
                self._coming = None
                self._came(coming.share)
        return count

    def _read_hello(self) -> int | None:
        data = self._wire.receive(len(HELLO))
        if not data:
            return None if data is None else 0
        if data != HELLO:
            raise WireError("a side wire begins without a hello")
        self._awaits_hello = False
        self._group.met(self)
        return len(data)

    def _begin(self) -> None:
        share = Share.read(self._head)
        if share == GOODBYE:
            self._head = b""
            self._heard_goodbye = True
            self._group.parting(self)
            return
        berth = self._pier.begin(share)
        self._is_early = berth is None
        if berth is not None:
            self._head = b""
            self._coming = _Coming(berth, share)
            self._wire.await_bytes(share.size)

    def _came(self, share: Share) -> None:
        berth = self._pier.came(share)
        if berth is not None:
            self._group.filled(berth)


class SideWires:
    """Those of one tunnel, at most `SIDES`. What is said to it is said under the lock of the
    carrier of tunnels, but for what side wires say. ``clock`` tells seconds."""

    def __init__(
        self, carriers: Carriers, events: Events, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._carriers = carriers
        self._events = events
        self._clock = clock
        self._pier = Pier()
        self._wires: list[SideWire] = []
        self._ready: list[SideWire] = []
        """Those by which something may be sent."""
        self._unmet: set[SideWire] = set()
        """Those at whose other end there may be nobody."""
        self._promised = 0
        self._is_wished = False
        self._pause_s = _FIRST_PAUSE_S
        self._resting_until = 0.0
        self._sent = self._received = 0
        self._loaded: Cargo | None = None
        self._not_arrived: set[int] = set()
        self._is_awaited = False  # a value that was announced, and has not landed
        self._used = clock()

    # -- how many there are --------------------------------------------------------------------

    def wish(self) -> bool:
        """Whether to dig some, now that there is something to carry: there are too few, nobody is
        at it, and the last time was not just now. Who is told so says when it is `done`."""
        if self._is_wished or self._are_all or self._clock() < self._resting_until:
            return False
        self._is_wished = True
        return True

    def done(self) -> None:
        """No more are dug until there is a new wish."""
        self._promised = 0
        self._is_wished = False
        self._resting_until = self._clock() + self._pause_s
        longer_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._pause_s = _FIRST_PAUSE_S if self._are_all else longer_s

    @property
    def _are_all(self) -> bool:
        return self._promised + len(self._wires) >= SIDES

    def promise(self) -> bool:
        """Whether there may be one more; then it is counted. Raises `OSError` where its thread
        cannot begin."""
        if self._are_all:
            return False
        self._carriers.sides()
        self._promised += 1
        return True

    def forgo(self) -> None:
        """One that was promised will not come."""
        self._promised -= 1

    def add(self, wire: Wire, *, awaits_hello: bool = False) -> None:
        """One that was promised. Who has not dug it awaits a hello."""
        self._promised -= 1
        carrier = min(self._carriers.sides(), key=[each.carrier for each in self._wires].count)
        side = SideWire(wire, carrier, self._pier, self, awaits_hello=awaits_hello)
        self._wires.append(side)
        if awaits_hello:
            self._unmet.add(side)
        else:
            self._make_ready(side)
        side.start()

    def rest(self) -> None:
        """Let go of all, if they have carried nothing for `IDLE_S`."""
        is_busy = self._is_awaited or self._loaded or self._not_arrived
        if not is_busy and self._ready and self._clock() - self._used >= IDLE_S:
            for each in self._ready:
                each.part()
            self._ready.clear()

    def close(self) -> None:
        """End all, soon."""
        self._pier.shut()
        self._loaded = None
        for each in self._wires:
            each.close()
        for known in (self._wires, self._ready, self._unmet):
            known.clear()

    # -- out -----------------------------------------------------------------------------------

    def load(self, number: int, fd: int, offset: int, size: int) -> Cargo | None:
        """Send it, when all of the one before was taken; it is to be announced next. None where it
        does not go in shares, and the descriptor stays the caller's."""
        if size < APART_BYTES or not self._ready:
            return None
        self._used = self._clock()
        self._sent += 1
        self._not_arrived.add(number)
        cargo = self._loaded = Cargo(self._sent, fd, offset, size)
        for each in self._ready:
            each.send(cargo)
        return cargo

    def is_loaded(self, cargo: Cargo) -> bool:
        """Whether some of it is still to be taken."""
        return cargo is self._loaded

    def arrived(self, number: int) -> None:
        """All of a value is there; perhaps of one that went by side wires."""
        if number in self._not_arrived:
            self._not_arrived.remove(number)
            self._used = self._clock()

    # -- in ------------------------------------------------------------------------------------

    def announced(self, serial: int) -> None:
        """A value comes in shares. Raises `WireError` if it cannot."""
        self._received += 1
        may_come = self._promised or self._wires  # who is let in may be quicker than his wire
        if not may_come or serial != self._received:
            raise WireError("a value comes in shares that cannot")
        self._is_awaited = True

    def receive(self, berth: Berth) -> None:
        """There is room for the one that was announced last."""
        self._pier.open(self._received, berth)
        for each in self._wires:
            each.look()

    def shut(self) -> None:
        """Nobody wants any more what comes."""
        self._pier.shut()
        self._is_awaited = False

    # -- from side wires -----------------------------------------------------------------------

    def met(self, side: SideWire) -> None:
        """There was a hello."""
        self._carriers.main.post(lambda: self._meet(side))

    def parting(self, side: SideWire) -> None:
        """Nothing more comes by it."""
        self._carriers.main.post(lambda: self._part(side))

    def ended(self, side: SideWire) -> None:
        """All that went by it is there."""
        self._carriers.main.post(lambda: self._end(side))

    def taken(self, cargo: Cargo) -> None:
        """See `Events`."""
        self._carriers.main.post(lambda: self._forget(cargo))

    def filled(self, berth: Berth) -> None:
        """See `Events`."""
        self._carriers.main.post(lambda: self._fill(berth))

    def lost(self, side: SideWire, reason: str, *, is_busy: bool) -> None:
        """It has ended, why, and whether there was something on its way."""
        self._carriers.main.post(lambda: self._lose(side, reason, is_busy=is_busy))

    def _meet(self, side: SideWire) -> None:
        if side in self._unmet:
            self._unmet.remove(side)
            self._make_ready(side)

    def _make_ready(self, side: SideWire) -> None:
        self._used = self._clock()
        self._ready.append(side)

    def _part(self, side: SideWire) -> None:
        if side in self._ready:
            self._ready.remove(side)
        side.part()

    def _end(self, side: SideWire) -> None:
        if side not in self._wires:
            return
        self._remove(side)
        if self._is_awaited and not (self._wires or self._promised):
            self._events.broken("its side wires ended amid a value")

    def _remove(self, side: SideWire) -> None:
        self._wires.remove(side)
        self._unmet.discard(side)
        if side in self._ready:
            self._ready.remove(side)

    def _forget(self, cargo: Cargo) -> None:
        self._loaded = None  # its descriptor is closed with the last of its shares
        self._events.taken(cargo)

    def _fill(self, berth: Berth) -> None:
        self._is_awaited = False
        self._used = self._clock()
        self._events.filled(berth)

    def _lose(self, side: SideWire, reason: str, *, is_busy: bool) -> None:
        """The tunnel can do without it, unless it was to carry something or has carried what may
        not have arrived: what a wire has taken from here can be lost on its way."""
        if side not in self._wires:
            return
        is_unmet = side in self._unmet
        self._remove(side)
        if is_unmet:  # nothing was carried
            return
        if is_busy or self._loaded or self._not_arrived or self._is_awaited:
            self._events.broken(reason)
