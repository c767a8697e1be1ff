"""Free lists and arenas: no byte is given away twice, every byte comes back."""

import gc
import itertools
import mmap
import random
import threading
from collections.abc import Iterator

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rllib.core.native import arena as arena_module
from rllib.core.native.arena import PAGE, Arena, Block, FreeList, aligned
from rllib.core.native.copying import copy_into
from rllib.core.native.ledger import Assignments, Cells, Inherited, Ledger

SIZE = 1000


class FreeListMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.free = FreeList(SIZE)
        self.taken: dict[int, int] = {}

    @rule(size=st.integers(1, SIZE))
    def take(self, size: int) -> None:
        offset = self.free.take(size)
        if offset is None:
            assert all(gap < size for gap in self.gaps())
            return
        assert 0 <= offset <= SIZE - size
        for start, length in self.taken.items():
            assert offset + size <= start or start + length <= offset
        self.taken[offset] = size

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def give(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.taken)))
        self.free.give(offset, self.taken.pop(offset))

    def gaps(self) -> list[int]:
        """Lengths of the free ranges, from the taken ones alone."""
        ends = [0, *(start + size for start, size in sorted(self.taken.items()))]
        starts = [*sorted(self.taken), SIZE]
        return [start - end for end, start in zip(ends, starts, strict=True) if start > end]

    @invariant()
    def neighbours_are_merged_and_nothing_is_lost(self) -> None:
        assert self.free._sizes == self.gaps()
        assert self.free.free_bytes == SIZE - sum(self.taken.values())


TestFreeList = FreeListMachine.TestCase


def test_aligned() -> None:
    assert [aligned(n) for n in (0, 1, 63, 64, 65)] == [0, 64, 64, 64, 128]


CAPACITY = 32 * PAGE


class ArenasMachine(RuleBasedStateMachine):
    """Two processes that share a limit: blocks never overlap, the limit holds, all comes back."""

    def __init__(self) -> None:
        super().__init__()
        cells = Cells.private()
        rights = Assignments(cells)
        self.ledgers = [Ledger(cells, rights.assign(name), CAPACITY) for name in (b"a", b"b")]
        self.arenas = [Arena(b"me", ledger) for ledger in self.ledgers]
        self.held: list[list[Block]] = [[], []]
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(arena_module, "SEGMENT_BYTES", 16 * PAGE)

    @rule(which=st.integers(0, 1), size=st.integers(0, 6 * PAGE))
    def allocate(self, which: int, size: int) -> None:
        block = self.arenas[which].allocate(size)
        if block is None:
            own, other = (arena.statistics() for arena in (self.arenas[which], self.other(which)))
            assert own.used + other.used + other.warm + aligned(max(size, 1), PAGE) > CAPACITY
            return
        assert block.size >= size
        assert not any(overlap(block, held) for held in self.held[which])
        self.held[which].append(block)

    def other(self, which: int) -> Arena:
        return self.arenas[1 - which]

    @precondition(lambda self: any(self.held))
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        held = data.draw(st.sampled_from([held for held in self.held if held]))
        held.pop(data.draw(st.integers(0, len(held) - 1)))

    @rule(which=st.integers(0, 1), wanted=st.integers(1, CAPACITY))
    def trim(self, which: int, wanted: int) -> None:
        warm = self.arenas[which].statistics().warm
        assert self.arenas[which].trim(wanted) == min(aligned(wanted, PAGE), warm)

    @invariant()
    def what_is_counted_is_what_is_there(self) -> None:
        counted = 0
        for arena, held in zip(self.arenas, self.held, strict=True):
            facts = arena.statistics()
            assert facts.used == sum(block.size for block in held)
            counted += facts.used + facts.warm
        assert self.ledgers[0].total == counted <= CAPACITY

    def teardown(self) -> None:
        self.patch.undo()


def overlap(a: Block, b: Block) -> bool:
    same = a.segment is b.segment
    return same and a.offset < b.offset + b.size and b.offset < a.offset + a.size


TestArenas = ArenasMachine.TestCase


def allocate(arena: Arena, size: int) -> Block:
    block = arena.allocate(size)
    assert block is not None
    return block


def test_a_view_keeps_its_block_and_returns_it() -> None:
    arena = Arena(b"me", Ledger.private(10_000))
    block = allocate(arena, 100)
    view = block.segment.view(block.offset, 100, block)
    part = view[10:20]
    del block, view
    assert arena.statistics().used == PAGE
    with pytest.raises(TypeError):
        part[0] = 1
    del part
    gc.collect()
    assert arena.statistics().used == 0


def test_freed_memory_is_used_again() -> None:
    arena = Arena(b"me", Ledger.private(2**30))
    for _ in range(1000):
        allocate(arena, 2**20)
    assert arena.statistics() == (0, 2**20, 1)


def test_pieces_that_are_too_small_make_room_for_a_large_one() -> None:
    arena = Arena(b"me", Ledger.private(4 * PAGE))
    blocks = [allocate(arena, PAGE) for _ in range(4)]
    del blocks[::2]
    assert arena.allocate(2 * PAGE) is not None
    assert arena.statistics().used == 2 * PAGE  # the large one was not kept


def test_what_is_read_of_the_dead_counts_where_it_is_read() -> None:
    cells = Cells.private()
    rights = Assignments(cells)
    reader, dead = (Ledger(cells, rights.assign(name), CAPACITY) for name in (b"r", b"d"))
    inherited = Inherited(reader)
    assert dead.reserve(10)
    inherited.received(b"d", 3)
    inherited.received(b"d", 2)
    inherited.returned(b"d", 2)
    rights.gone(b"d")
    inherited.died(b"d")
    assert reader.total == 3
    inherited.returned(b"d", 3)
    assert reader.total == 0
    inherited.died(b"x")
    assert reader.total == 0


def test_cells_are_used_again() -> None:
    cells = Cells.private()
    rights = Assignments(cells)
    assert [rights.assign(bytes([k])) for k in range(3)] == [1, 2, 3]
    rights.gone(bytes([1]))
    assert rights.assign(b"x") == 2
    rights.gone(b"unknown")
    assert rights.assign(b"y") == 4


@pytest.mark.parametrize("source", [bytes, bytearray], ids=["read-only", "writable"])
@pytest.mark.parametrize("size", [4 * 2**20, 9 * 2**20 + 13], ids=["one thread", "several"])
def test_large_parts_are_copied_to_their_place(source: type, size: int) -> None:
    part = memoryview(source(random.Random(0).randbytes(size)))
    with mmap.mmap(-1, part.nbytes + 2 * PAGE) as target:
        copy_into(target, PAGE, part)
        assert target[PAGE:-PAGE] == bytes(part)
        assert not any(target[:PAGE])
        assert not any(target[-PAGE:])


def test_other_threads_run_while_a_large_part_is_copied() -> None:
    part = memoryview(bytes(128 * 2**20))
    ticks, stop = itertools.count(), threading.Event()

    def count() -> None:
        while not stop.is_set():
            next(ticks)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        with mmap.mmap(-1, part.nbytes) as target:
            progress = [_ticks_while_copying(ticks, target, part) for _ in range(5)]
    finally:
        stop.set()
        thread.join()
    assert max(progress) > 1000  # holding the interpreter's lock it would not get on at all


def _ticks_while_copying(ticks: Iterator[int], target: mmap.mmap, part: memoryview) -> int:
    before = next(ticks)
    copy_into(target, 0, part)
    return next(ticks) - before
