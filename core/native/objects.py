"""References and who holds them: the bookkeeping of ownership, without any I/O.

The process that makes a reference owns the object. Inside a process the interpreter's reference
count does the counting, since there is one `NativeRef` instance per object and process. Across
processes the owner counts how often it, or somebody on its behalf, has sent the reference to each
borrower; a borrower that loses interest returns exactly as many as it received. The owner keeps
an object alive while any count is open::

    owner --ref--> B --ref--> C      B tells the owner Lent(to=C) before it lets go of its own
    C --Released(n)--> owner         n = how often C received it, by whatever way
    B dies                           all counts of B fall
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from rllib.core.native.arena import Block, Segment, aligned
from rllib.core.native.spillfiles import FileRegion
from rllib.core.object_ref import ObjectRef
from rllib.core.serialization import unpack

Drop = tuple[bytes, int, int]


class Handed(NamedTuple):
    """What was handed over: the arena, segment and offset of a block, and its size.

    Five things besides blocks are handed over and freed in the same way, under segment numbers
    that no arena has: `FILES`, a file of that number; `MOVED`, the old place of a value that its
    owner has moved, under the number of the move; `BULKS`, a value that the gateway sends to
    another node, under the number of that; `KEPT`, a value that a node service keeps for its owner
    on another node, under the number of the claim; and `LOANS`, a block of somebody else's arena
    that was handed on by who reads it himself, under the number of the loan.
    """

    arena: bytes
    segment: int
    offset: int
    size: int


class HandedBlock:
    """A block of somebody else's arena that was handed to this process; freed when let go of."""

    __slots__ = ("_freed", "_handed")

    def __init__(self, handed: Handed, freed: Callable[[Handed], None]) -> None:
        self._handed = handed
        self._freed = freed

    def __del__(self) -> None:
        self._freed(self._handed)


FILES = -1
MOVED = -2
BULKS = -3
KEPT = -4
LOANS = -5


@dataclass(slots=True)
class Shown:
    """To whom the owner of an object has told where in memory its value lies."""

    number: int
    to: set[bytes]


@dataclass(slots=True, eq=False)
class Region:
    """Where the large parts of a value lie, and what must stay alive for them to stay there.

    Views hold it, so that its reference count tells whether there are any.
    """

    segment: Segment
    offset: int
    sizes: list[int]
    hold: Block | HandedBlock | None
    touched: bool = False
    """Whether it was read since `Shelf` last looked."""
    shown: Shown | None = None

    def parts(self, keep: Any) -> list[memoryview]:
        """Read-only views of the parts, each of which keeps ``keep`` alive."""
        self.touched = True
        starts = [0]
        for size in self.sizes:
            starts.append(starts[-1] + aligned(size))
        whole = self.segment.view(self.offset, starts[-1], keep)
        return [
            whole[start : start + size] for start, size in zip(starts, self.sizes, strict=False)
        ]


@dataclass(slots=True, eq=False, weakref_slot=True)
class Stored:
    """A serialised value at rest. With an empty ``body`` the stream is the region's first part."""

    body: bytes
    buffers: list[bytes]
    refs: list[Any]
    region: Region | FileRegion | None = None
    """May change from memory to file at any moment, while the runtime's lock is held or not."""

    def load(self, keep: Any) -> Any:
        """The value; arrays in it are views of shared memory that keep ``keep`` alive.

        Raises `FileLostError` for a value that was spilled and is lost.
        """
        region = self.region
        if region is None:
            return unpack(self.body, self.buffers, self.refs)
        parts = region.parts((region, keep))
        if self.body:
            return unpack(self.body, parts, self.refs)
        return unpack(parts[0], parts[1:], self.refs)

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        parts = () if self.region is None else self.region.sizes
        return len(self.body) + sum(map(len, self.buffers)) + sum(parts)

    @property
    def is_plain(self) -> bool:
        """Whether the stream alone is the whole value."""
        return self.region is None and not self.buffers and not self.refs


Outcome = Stored | Exception


@dataclass(slots=True, eq=False, weakref_slot=True)
class Away:
    """Where a value lies that exists, and has not come to this process."""

    at: bytes
    """A process on its node; of an own object, the node service that keeps it."""
    size: int
    """In bytes."""
    claim: int = 0
    """Of an own object: the number under which it is kept there."""
    hold: HandedBlock | None = None
    wanted: bool = False
    """Whether somebody here waits for it."""
    coming: bool = False
    """Whether the node service was asked for it."""


WANTED = Away(b"", 0)
"""In the place of one, as long as there is no value: it is to come as soon as it exists."""


class OnceKnown:
    """A callback that does not need the value, but that there is one."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback = callback

    def __call__(self) -> None:
        """Run it."""
        self._callback()


class NativeRef(ObjectRef[Any]):
    """A reference with its value, its error, or neither yet; of a value that is away, it may know
    where."""

    __slots__ = ("away", "on_ready", "outcome")

    failures: ClassVar[int] = 0
    """Errors that references of this process were given; so that waiting for many is cheap."""

    def __init__(self, owner: bytes, number: int) -> None:
        super().__init__(owner, number)
        self.outcome: Outcome | None = None
        self.away: Away | None = None
        self.on_ready: list[Callable[[], object]] | None = None

    @property
    def is_away(self) -> bool:
        """Whether its value exists and has not come."""
        return self.outcome is None and self.away is not None and self.away is not WANTED

    @property
    def is_known(self) -> bool:
        """Whether its value or error exists, here or elsewhere."""
        return self.outcome is not None or self.is_away

    def known_size(self) -> int:
        """Bytes of its value; 0 where they are not known."""
        if isinstance(self.outcome, Stored):
            return self.outcome.size
        return 0 if self.away is None else self.away.size

    def resolve(self, outcome: Outcome) -> None:
        """Give it its value or error, once."""
        self.outcome = outcome
        if isinstance(outcome, Exception):
            NativeRef.failures += 1
        waiting, self.on_ready = self.on_ready, None
        for callback in waiting or ():
            callback()

    def when_ready(self, callback: Callable[[], object]) -> None:
        """Run ``callback`` once the outcome is there, at once if it is."""
        if self.outcome is not None:
            callback()
        elif self.on_ready is None:
            self.on_ready = [callback]
        else:
            self.on_ready.append(callback)

    def when_known(self, callback: Callable[[], object]) -> None:
        """Run ``callback`` once there is an outcome, here or elsewhere; at once if there is."""
        if self.is_away:
            callback()
        else:
            self.when_ready(OnceKnown(callback))

    def found(self, away: Away) -> None:
        """Its value exists, on another node."""
        self.away = away
        waiting, self.on_ready = self.on_ready or [], None
        known = [each for each in waiting if isinstance(each, OnceKnown)]
        self.on_ready = [each for each in waiting if not isinstance(each, OnceKnown)] or None
        for callback in known:
            callback()


class SiblingRef(NativeRef):
    """One of several results of a call. ``first`` is the number of the first of them."""

    __slots__ = ("_first",)

    def __init__(self, owner: bytes, number: int, first: int) -> None:
        super().__init__(owner, number)
        self._first = first

    def _call_number(self) -> int:
        return self._first


class LifeRef(NativeRef):
    """The reference that every handle of an actor carries; its end is the end of the actor."""

    __slots__ = ("_actor", "_ended")

    def __init__(
        self, owner: bytes, number: int, actor: bytes, ended: Callable[[bytes], None]
    ) -> None:
        super().__init__(owner, number)
        self._actor = actor
        self._ended = ended

    def __del__(self) -> None:
        self._ended(self._actor)


class BorrowedRef(NativeRef):
    """A reference of another process's object."""

    __slots__ = ("_dropped", "fetching", "first", "looking", "received", "size")

    def __init__(self, owner: bytes, number: int, dropped: Callable[[Drop], None]) -> None:
        super().__init__(owner, number)
        self.received = 0
        self.fetching = False
        """Whether its owner, or the node service, was asked for the value."""
        self.looking = False
        """Whether its owner was asked where the value is."""
        self.first = number
        """The number of the first of the results of its call."""
        self.size = 0
        """Bytes of its value, as far as its sender knew."""
        self._dropped = dropped

    def known_size(self) -> int:
        """As its sender knew it, if it has not come."""
        return super().known_size() or self.size

    def _call_number(self) -> int:
        return self.first

    def __del__(self) -> None:
        self._dropped((self._owner, self._number, self.received))


@dataclass(slots=True)
class _Lending:
    ref: NativeRef
    counts: dict[bytes, int]


class Lendings:
    """Owner's side: which of my objects are held by which other process."""

    def __init__(self) -> None:
        self._lent: dict[int, _Lending] = {}
        self._exposed: weakref.WeakValueDictionary[int, NativeRef] = weakref.WeakValueDictionary()
        self.discover: Callable[[int], NativeRef | None] = _nothing_of
        """Finds objects that are there without anybody having made a reference of them."""

    def expose(self, ref: NativeRef) -> None:
        """``ref`` can be found by its number, as long as somebody holds it."""
        self._exposed[ref._number] = ref

    def lend(self, ref: NativeRef, to: bytes) -> None:
        """``ref`` goes to process ``to`` once more."""
        lending = self._lent.get(ref._number)
        if lending is None:
            lending = self._lent[ref._number] = _Lending(ref, {})
        self._add(ref._number, lending, to, 1)

    def passed_on(self, number: int, to: bytes) -> None:
        """A borrower has sent object ``number`` to ``to``, or ``to`` has it from code."""
        ref = self.find(number)
        if ref is not None:
            self.lend(ref, to)

    def returned(self, number: int, count: int, by: bytes) -> None:
        """Process ``by`` gives back ``count`` receipts. It may be ahead of the news of them."""
        lending = self._lent.get(number)
        if lending is not None:
            self._add(number, lending, by, -count)

    def _add(self, number: int, lending: _Lending, process: bytes, change: int) -> None:
        count = lending.counts.get(process, 0) + change
        if count:
            lending.counts[process] = count
        else:
            lending.counts.pop(process, None)
            if not lending.counts:
                del self._lent[number]

    def drop_process(self, process: bytes) -> None:
        """``process`` died: whatever it held, it holds no longer."""
        for number, lending in list(self._lent.items()):
            if lending.counts.pop(process, 0) and not lending.counts:
                del self._lent[number]

    def find(self, number: int) -> NativeRef | None:
        """My object of that number, if somebody else holds it, or code names it."""
        lending = self._lent.get(number)
        if lending is not None:
            return lending.ref
        ref = self._exposed.get(number)
        return self.discover(number) if ref is None else ref

    def __len__(self) -> int:
        return len(self._lent)


_NO_REFS: dict[int, weakref.ref[BorrowedRef]] = {}


class Borrowings:
    """Borrower's side: the one instance in this process of each foreign reference."""

    def __init__(self, dropped: Callable[[Drop], None]) -> None:
        self._refs: dict[bytes, dict[int, weakref.ref[BorrowedRef]]] = {}
        """By owner, so that the death of one costs nothing for the references of the others."""
        self._dropped = dropped

    def receive(self, owner: bytes, number: int) -> BorrowedRef:
        """The instance for a reference that has just arrived."""
        ref = self.find(owner, number)
        if ref is None:
            ref = BorrowedRef(owner, number, self._dropped)
            self._refs.setdefault(owner, {})[number] = weakref.ref(ref)
        ref.received += 1
        return ref

    def find(self, owner: bytes, number: int) -> BorrowedRef | None:
        """The instance, if there is one."""
        known = self._refs.get(owner, _NO_REFS).get(number)
        return known() if known is not None else None

    def of(self, owner: bytes) -> list[BorrowedRef]:
        """All references of that owner's objects."""
        known = [known() for known in list(self._refs.get(owner, _NO_REFS).values())]
        return [ref for ref in known if ref is not None]

    def forget(self, owner: bytes, number: int) -> None:
        """Its last instance is gone, unless a new one has arrived since."""
        numbers = self._refs.get(owner, _NO_REFS)
        known = numbers.get(number)
        if known is not None and known() is None:
            del numbers[number]
            if not numbers:
                del self._refs[owner]


class Reports:
    """What finalisers report. They run anywhere, at any time, so they only append and nudge."""

    def __init__(self, nudge: Callable[[], None]) -> None:
        self._nudge = nudge
        self.quiet = False
        """Set for a moment by who is about to pass reports on anyway."""
        self.dropped: deque[Drop] = deque()
        self.freed: deque[Handed] = deque()
        self.ended: deque[bytes] = deque()
        self.streams: deque[Any] = deque()

    def ref_dropped(self, drop: Drop) -> None:
        """A borrowed reference is gone from this process."""
        self.dropped.append(drop)
        if not self.quiet:
            self._nudge()

    def block_freed(self, handed: Handed) -> None:
        """A handed block is not read here any more."""
        self.freed.append(handed)
        if not self.quiet:
            self._nudge()

    def actor_ended(self, actor: bytes) -> None:
        """The last handle of an own actor is gone everywhere."""
        self.ended.append(actor)
        self._nudge()

    def stream_dropped(self, call: Any) -> None:
        """Nobody takes the results of a streaming call any more."""
        self.streams.append(call)
        self._nudge()

    def close(self) -> None:
        """Nobody reads them any more: what outlives the runtime is not to keep it in memory."""
        self._nudge = _nothing


def _nothing() -> None:
    pass


def _nothing_of(_number: int) -> None:
    pass
