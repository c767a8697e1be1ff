"""Free lists and arenas: no byte is given away twice, every byte comes back."""

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rllib.core.exceptions import ObjectStoreFullError
from rllib.core.native import arena as arena_module
from rllib.core.native.arena import ALIGNMENT, Arena, Block, FreeList, aligned

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


CAPACITY = 32 * ALIGNMENT


@given(st.lists(st.tuples(st.integers(0, 5 * ALIGNMENT), st.booleans()), max_size=60))
def test_blocks_of_an_arena_never_overlap_and_all_memory_returns(
    requests: list[tuple[int, bool]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arena_module, "SEGMENT_BYTES", 16 * ALIGNMENT)
        arena = Arena(b"me", CAPACITY)
        held: list[Block] = []
        for size, release in requests:
            if release and held:
                held.pop(size % len(held))
            else:
                allocate(arena, held, size)
        assert arena.statistics().used == sum(block.size for block in held)
        held.clear()
        assert arena.statistics().used == 0


def allocate(arena: Arena, held: list[Block], size: int) -> None:
    """Add a block to ``held``, or see that there is truly no room."""
    try:
        block = arena.allocate(size)
    except ObjectStoreFullError:
        assert sum(block.size for block in held) + aligned(max(size, 1)) > CAPACITY
        return
    assert block.size >= size
    assert block.offset % ALIGNMENT == 0
    assert not any(
        overlap(block, other) for other in held if other.segment.number == block.segment.number
    )
    held.append(block)


def overlap(a: Block, b: Block) -> bool:
    return a.offset < b.offset + b.size and b.offset < a.offset + a.size


def test_a_view_keeps_its_block_and_returns_it() -> None:
    arena = Arena(b"me", capacity=10_000)
    block = arena.allocate(100)
    view = block.segment.view(block.offset, 100, block)
    part = view[10:20]
    del block, view
    assert arena.statistics().used == 128
    with pytest.raises(TypeError):
        part[0] = 1
    del part
    gc.collect()
    assert arena.statistics().used == 0


def test_a_full_arena_names_the_numbers_and_works_again() -> None:
    arena = Arena(b"me", capacity=256)
    block = arena.allocate(200)
    with pytest.raises(ObjectStoreFullError, match="128 bytes do not fit: 256 of 256"):
        arena.allocate(100)
    del block
    arena.allocate(256)


def test_freed_memory_is_used_again() -> None:
    arena = Arena(b"me", capacity=2**30)
    for _ in range(1000):
        arena.allocate(2**20)
    assert arena.statistics().segments == 1
