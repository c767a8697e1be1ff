"""Requests for room: everybody else is asked once, and the answer comes when all have answered."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rllib.core.native import wire
from rllib.core.native.scheduler import Tell
from rllib.core.native.storekeeper import Rounds


def test_a_round() -> None:
    rounds = Rounds()
    asked = rounds.need(b"a", wire.NeedRoom(7, 100), {b"b", b"c"})
    assert asked == [Tell(b"b", wire.MakeRoom(1, 100)), Tell(b"c", wire.MakeRoom(1, 100))]
    assert rounds.made(b"c", wire.RoomMade(1, 30)) == []
    assert rounds.made(b"b", wire.RoomMade(1, 12)) == [Tell(b"a", wire.RoomMade(7, 42))]
    assert len(rounds) == 0


def test_nobody_else_is_there() -> None:
    assert Rounds().need(b"a", wire.NeedRoom(7, 1), set()) == [Tell(b"a", wire.RoomMade(7, 0))]


def test_an_answer_that_was_not_asked_for() -> None:
    rounds = Rounds()
    rounds.need(b"a", wire.NeedRoom(7, 1), {b"b"})
    for client, number in ((b"c", 1), (b"b", 2)):
        with pytest.raises(wire.WireError, match="was not asked"):
            rounds.made(client, wire.RoomMade(number, 1))


class RoundsMachine(RuleBasedStateMachine):
    """Whatever the order of questions, answers and deaths: the living hear exactly once."""

    def __init__(self) -> None:
        super().__init__()
        self.rounds = Rounds()
        self.alive = {bytes([k]) for k in range(5)}
        self.unanswered: set[tuple[bytes, int]] = set()
        self.to_make: list[tuple[bytes, int]] = []
        self.seq = 0

    def perform(self, tells: list[Tell]) -> None:
        for tell in tells:
            assert tell.client in self.alive
            if isinstance(tell.message, wire.MakeRoom):
                self.to_make.append((tell.client, tell.message.seq))
            else:
                self.unanswered.remove((tell.client, tell.message.seq))

    @rule(data=st.data())
    def need(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(sorted(self.alive)))
        self.seq += 1
        self.unanswered.add((client, self.seq))
        self.perform(self.rounds.need(client, wire.NeedRoom(self.seq, 1), self.alive - {client}))

    @precondition(lambda self: self.to_make)
    @rule(data=st.data())
    def made(self, data: st.DataObject) -> None:
        client, number = data.draw(st.sampled_from(self.to_make))
        self.to_make.remove((client, number))
        self.perform(self.rounds.made(client, wire.RoomMade(number, 1)))

    @precondition(lambda self: len(self.alive) > 1)  # the node itself is a client that stays
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(sorted(self.alive)))
        self.alive.discard(client)
        self.unanswered = {item for item in self.unanswered if item[0] != client}
        self.to_make = [item for item in self.to_make if item[0] != client]
        self.perform(self.rounds.gone(client))

    @invariant()
    def who_waits_waits_for_somebody(self) -> None:
        if not self.to_make:
            assert not self.unanswered
            assert len(self.rounds) == 0


TestRounds = RoundsMachine.TestCase
