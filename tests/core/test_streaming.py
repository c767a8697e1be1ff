"""Values in chunks, without any process."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib.core.native import streaming
from rllib.core.native.streaming import Sink, chunks
from rllib.core.native.wire import WireError


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 100))
def test_what_goes_out_in_chunks_arrives_whole(parts: list[bytes], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "CHUNK_BYTES", size)
        sink = Sink([len(part) for part in parts], None)
        for part in parts:
            for chunk in chunks(memoryview(part)):
                assert not sink.is_full
                sink.take(bytes(chunk))
    assert sink.is_full
    assert [bytes(part) for part in sink.parts()] == parts


def test_more_than_was_announced_is_refused() -> None:
    sink = Sink([3], None)
    with pytest.raises(WireError, match="more came"):
        sink.take(b"four")
    sink.take(b"abc")
    with pytest.raises(WireError, match="more came"):
        sink.take(b"d")
