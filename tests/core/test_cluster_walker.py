"""What a gateway finds in the frames that it carries, without any process."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib.core.cluster.walker import MAX_NOTICE, Bulk, Notice, Walker
from rllib.core.native import wire

KINDS = frozenset((wire.COMING, wire.ARRIVED))
Sent = tuple[int, int, bytes, bytes]
"""Kind, number, payload, and the bytes outside of frames that follow."""


def frame(kind: int, number: int, payload: bytes) -> bytes:
    return wire.HEADER.pack(len(payload), kind, 0, 0, 0, number) + payload


sent = st.lists(
    st.tuples(
        st.sampled_from((wire.CALL, wire.RECORD, wire.COMING, wire.ARRIVED)),
        st.integers(0, 2**63),
        st.binary(max_size=60),
        st.binary(max_size=60),
    ),
    max_size=8,
)


@given(sent, st.lists(st.integers(1, 50), min_size=1))
def test_frames_for_others_and_bytes_go_through_in_order(said: list[Sent], cuts: list[int]) -> None:
    stream, expected = b"", [b"", b""]
    notices, follows = [], []
    for kind, number, payload, raw in said:
        stream += frame(kind, number, payload)
        if kind not in KINDS:
            expected[0] += frame(kind, number, payload)
            continue
        notices.append(Notice(kind, number, payload))
        follows.append(raw if kind == wire.COMING else b"")
        stream += follows[-1]
        expected[1] += follows[-1]
    walker, passed, heard = Walker(KINDS), [b"", b""], []
    for number in range(len(stream) + 1):
        piece, stream = stream[: cuts[number % len(cuts)]], stream[cuts[number % len(cuts)] :]
        for item in walker.feed(piece):
            if isinstance(item, Notice):
                heard.append(item)
                walker.raw = len(follows[len(heard) - 1])
            else:
                is_bulk = isinstance(item, Bulk)
                passed[is_bulk] += bytes(item.data if isinstance(item, Bulk) else item)
    assert heard == notices
    assert passed == expected


@pytest.mark.parametrize(
    ("kind", "size"), [(wire.CALL, wire.MAX_PAYLOAD), (wire.COMING, MAX_NOTICE)]
)
def test_frames_that_are_too_long_are_refused(kind: int, size: int) -> None:
    header = wire.HEADER.pack(size, kind, 0, 0, 0, 0)
    assert b"".join(bytes(each) for each in Walker(KINDS).feed(header)) in (header, b"")
    with pytest.raises(wire.WireError, match="over the limit"):
        list(Walker(KINDS).feed(wire.HEADER.pack(size + 1, kind, 0, 0, 0, 0)))
