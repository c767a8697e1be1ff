"""Who gets a large value from whom, where a task finds most of its arguments, and how long results
are kept for others; no processes."""

from types import SimpleNamespace
from typing import Any

import pytest

from rllib.core.native import copies, wire
from rllib.core.native.copies import FANOUT, Copies, Spreading
from rllib.core.native.objects import KEPT, Stored
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


class FakePeer:
    """A peer that notes what it holds and hears."""

    def __init__(self) -> None:
        self.gone, self.remote = False, True
        self.held: dict[Any, Any] = {}
        self.heard: list[Any] = []
        self.conn = SimpleNamespace(send=lambda frame: self.heard.append(read(frame)))

    def hold(self, key: Any, what: Any) -> None:
        self.held[key] = what

    def let_go(self, key: Any) -> None:
        self.held.pop(key, None)


def read(frame: bytes) -> Any:
    return wire.read_record(frame[wire.HEADER.size :])


def test_a_result_is_kept_for_an_owner_who_has_not_heard_of_it_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr(copies.time, "monotonic", lambda: clock[0])
    owner, maker = FakePeer(), FakePeer()
    peers = SimpleNamespace(get=lambda _process: owner, flush=lambda _conn: None)
    values = SimpleNamespace(result=lambda _payload, _peer: Stored(b"", [], []))
    service = Copies(SimpleNamespace(values=values, peers=peers))  # type: ignore[arg-type]
    for number in range(3):
        service.keep(maker, wire.Keep(number, b"owner", number, wire.Payload(b"")))  # type: ignore[arg-type]
    claims = [each.claim for each in maker.heard]
    service.claimed(claims[0])
    service.expire()
    clock[0] = 10 * copies.UNCLAIMED_S
    service.expire()  # its maker lives, and is about to tell
    assert len(owner.held) == 3
    maker.gone = True
    service.expire()
    assert len(owner.held) == 3
    clock[0] += copies.UNCLAIMED_S
    service.expire()
    assert list(owner.held) == [(KEPT, claims[0])]
