"""Who gets a large value from whom, and where a task finds most of its arguments; no processes."""

import pytest

from rllib.core.native.copies import FANOUT, Spreading
from rllib.core.native.objects import Stored
from rllib.core.native.sites import nearest


def test_nodes_get_a_value_as_in_a_heap() -> None:
    spreading, value = Spreading(), Stored(b"", [], [])
    nodes = [bytes([number]) for number in range(50)]
    sources = {node: spreading.source(value, node) for node in nodes}
    sent = list(sources.values())
    assert sent.count(b"") == FANOUT
    assert max(sent.count(node) for node in nodes) <= FANOUT
    for place, node in enumerate(nodes):
        assert sources[node] in (b"", *nodes[:place])  # so nobody waits for himself
        steps = 1
        while sources[node]:
            node, steps = sources[node], steps + 1
        assert FANOUT ** (steps - 1) <= place + FANOUT - 1  # the depth is a logarithm


def test_a_node_that_asks_again_is_sent_to_the_same_one_and_values_do_not_mix() -> None:
    spreading, value, other = Spreading(), Stored(b"", [], []), Stored(b"", [], [])
    first = [spreading.source(value, bytes([number])) for number in range(5)]
    assert [spreading.source(value, bytes([number])) for number in range(5)] == first
    assert spreading.source(other, bytes([4])) == b""
    del value
    assert len(spreading._asked) == 1


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ([], b""),
        ([(b"a", 10)], b"a"),
        ([(b"home", 10), (b"a", 10)], b""),
        ([(b"home", 10), (b"a", 6), (b"a", 5)], b"a"),
        ([(b"a", 1), (b"a", 1), (b"b", 3)], b"b"),
        ([(b"a", 0), (b"b", 0), (b"b", 0)], b"b"),
    ],
)
def test_most_bytes_decide(values: list[tuple[bytes, int]], where: bytes) -> None:
    assert nearest(values, b"home") == where
