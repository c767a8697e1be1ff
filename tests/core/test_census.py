"""Questions to all processes: each is asked once, and every answer is passed on."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rllib.core.native import wire
from rllib.core.native.census import Census
from rllib.core.native.instructions import Tell


def test_answers_are_passed_on_as_they_come() -> None:
    census = Census()
    asked = census.ask(b"a", wire.AskAll(7, "tasks"), {b"b", b"c"})
    assert asked == [
        Tell(b"a", wire.Surveyed(7, [b"b", b"c"])),
        Tell(b"b", wire.Survey(1, "tasks")),
        Tell(b"c", wire.Survey(1, "tasks")),
    ]
    assert census.account(b"c", wire.Account(1, b"x")) == [Tell(b"a", wire.Told(7, b"c", b"x"))]
    assert census.gone(b"b") == [Tell(b"a", wire.Told(7, b"b", b""))]
    assert len(census) == 0


def test_nobody_is_concerned() -> None:
    census = Census()
    assert census.ask(b"a", wire.AskAll(7, "tasks"), ()) == [Tell(b"a", wire.Surveyed(7, []))]
    assert len(census) == 0


def test_an_account_that_was_not_asked_for() -> None:
    census = Census()
    census.ask(b"a", wire.AskAll(7, "tasks"), {b"b"})
    for process, number in ((b"c", 1), (b"b", 2)):
        with pytest.raises(wire.WireError, match="was not asked"):
            census.account(process, wire.Account(number, b""))


class CensusMachine(RuleBasedStateMachine):
    """Whatever the order of questions, answers and deaths: the living hear of everybody once."""

    def __init__(self) -> None:
        super().__init__()
        self.census = Census()
        self.alive = {bytes([k]) for k in range(4)}
        self.unheard: set[tuple[bytes, int, bytes]] = set()
        self.to_answer: list[tuple[bytes, int]] = []
        self.seq = 0

    def perform(self, tells: list[Tell]) -> None:
        for tell in tells:
            assert tell.client in self.alive
            if isinstance(tell.message, wire.Survey):
                self.to_answer.append((tell.client, tell.message.survey))
            elif isinstance(tell.message, wire.Told):
                self.unheard.remove((tell.client, tell.message.seq, tell.message.process))

    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(sorted(self.alive)))
        self.seq += 1
        self.unheard |= {(client, self.seq, process) for process in self.alive}
        self.perform(self.census.ask(client, wire.AskAll(self.seq, "tasks"), self.alive))

    @precondition(lambda self: self.to_answer)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.to_answer))
        self.to_answer.remove(item)
        process, survey = item
        self.perform(self.census.account(process, wire.Account(survey, b"x")))

    @precondition(lambda self: len(self.alive) > 1)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        process = data.draw(st.sampled_from(sorted(self.alive)))
        self.alive.discard(process)
        self.unheard = {each for each in self.unheard if each[0] != process}
        self.to_answer = [each for each in self.to_answer if each[0] != process]
        self.perform(self.census.gone(process))

    @invariant()
    def nothing_is_kept_for_longer_than_needed(self) -> None:
        if not self.to_answer:
            assert not self.unheard
            assert len(self.census) == 0


TestCensus = CensusMachine.TestCase
