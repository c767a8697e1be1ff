"""How values are cut into shares and put together, without any connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib.core.cluster.dock import Berth
from rllib.core.cluster.shares import (
    GRAIN,
    HEADER_BYTES,
    MOST_BYTES,
    Arrivals,
    Share,
    share_size,
)
from rllib.core.cluster.side_wires import Pier
from rllib.core.native.wire import WireError

sizes = st.one_of(
    st.integers(1, 200 * GRAIN),
    st.builds(lambda grains, more: grains * GRAIN + more, st.integers(1, 200), st.integers(-1, 1)),
)


def shares_of(size: int, wires: int) -> list[Share]:
    found, offset = list[Share](), 0
    while offset < size:
        found.append(Share(1, offset, share_size(size - offset, wires)))
        offset += found[-1].size
    return found


@given(sizes, st.integers(1, 8))
def test_shares_are_all_of_a_value_and_become_smaller(size: int, wires: int) -> None:
    found = shares_of(size, wires)
    assert sum(each.size for each in found) == size
    assert all(0 < each.size <= MOST_BYTES for each in found)
    assert [each.size for each in found] == sorted((each.size for each in found), reverse=True)
    assert not share_size(0, wires)


@given(sizes, st.integers(1, 8), st.randoms())
def test_a_value_is_there_when_all_shares_are_whatever_their_order(
    size: int,
    wires: int,
    chance: st.randoms,  # type: ignore[valid-type]
) -> None:
    found = shares_of(size, wires)
    chance.shuffle(found)  # type: ignore[attr-defined]
    arrivals = Arrivals(size)
    for each in found:
        arrivals.begin(Share.read(each.header()))
    chance.shuffle(found)  # type: ignore[attr-defined]
    assert [arrivals.came(each) for each in found] == [False] * (len(found) - 1) + [True]


@pytest.mark.parametrize(
    ("offset", "size", "reason"),
    [
        (0, 0, "not within"),
        (0, 4 * GRAIN + 65, "not within"),
        (4 * GRAIN, 65, "not within"),
        (5 * GRAIN, GRAIN, "not within"),
        (2**64 - GRAIN, 2**64 - 1, "not within"),
        (64, GRAIN, "where shares do"),
        (0, GRAIN + 64, "where shares do"),
        (0, GRAIN, "twice"),
        (GRAIN, 3 * GRAIN, "twice"),
        (0, 4 * GRAIN + 64, "twice"),
    ],
)
def test_a_share_that_cannot_be_is_refused(offset: int, size: int, reason: str) -> None:
    arrivals = Arrivals(4 * GRAIN + 64)
    arrivals.begin(Share(1, 0, GRAIN))
    arrivals.begin(Share(1, 3 * GRAIN, GRAIN))
    with pytest.raises(WireError, match=reason):
        arrivals.begin(Share(1, offset, size))
    arrivals.begin(Share(1, GRAIN, 2 * GRAIN))
    arrivals.begin(Share(1, 4 * GRAIN, 64))


def test_a_header_says_all_of_a_share() -> None:
    share = Share(3, 2**40, 2**50)
    assert Share.read(share.header()) == share
    assert len(share.header()) == HEADER_BYTES


def berth() -> Berth:
    return Berth(1, [2 * GRAIN], None)


def test_shares_wait_for_their_announcement_and_their_turn() -> None:
    pier, first, second = Pier(), berth(), berth()
    assert pier.begin(Share(1, 0, GRAIN)) is pier.begin(Share(2, 0, GRAIN)) is None
    pier.open(1, first)
    assert pier.begin(Share(1, 0, GRAIN)) is first
    assert pier.begin(Share(2, 0, GRAIN)) is None
    assert pier.begin(Share(1, GRAIN, GRAIN)) is first
    assert pier.came(Share(1, GRAIN, GRAIN)) is None
    assert pier.came(Share(1, 0, GRAIN)) is first
    assert pier.begin(Share(2, 0, GRAIN)) is None
    pier.open(2, second)
    assert pier.begin(Share(2, 0, GRAIN)) is second


def test_shares_of_no_value_are_refused() -> None:
    pier = Pier()
    with pytest.raises(WireError, match="value that is none"):
        pier.begin(Share(0, 0, GRAIN))
    pier.open(1, berth())
    pier.begin(Share(1, 0, 2 * GRAIN))
    pier.came(Share(1, 0, 2 * GRAIN))
    for serial in (0, 1, 2**63):
        with pytest.raises(WireError, match="value that is none"):
            pier.begin(Share(serial, 0, GRAIN))


def test_a_pier_that_is_shut_takes_nothing() -> None:
    pier = Pier()
    pier.open(1, berth())
    pier.shut()
    assert pier.begin(Share(1, 0, GRAIN)) is None
