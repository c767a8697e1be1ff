"""Who holds what, under every order of events: no object that is held is freed, none is kept."""

import gc
from collections import defaultdict, deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rllib.core.native.objects import Borrowings, Lendings, NativeRef, Reports

OWNER, PEERS = b"owner", [b"a", b"b", b"c"]


class Process:
    """A borrower: what it holds, and what it has yet to say to the owner (in order)."""

    def __init__(self) -> None:
        self.reports = Reports(lambda: None)
        self.borrowings = Borrowings(self.reports.ref_dropped)
        self.held: list[object] = []
        self.to_owner: deque[tuple[str, int, object]] = deque()
        self.inbox: deque[int] = deque()

    def report(self) -> None:
        while self.reports.dropped:
            owner, number, count = self.reports.dropped.popleft()
            self.borrowings.forget(owner, number)
            self.to_owner.append(("released", number, count))


class Ownership(RuleBasedStateMachine):
    """An owner and three borrowers; messages arrive in order per pair, else in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.lendings = Lendings()
        self.own: dict[int, NativeRef] = {}
        self.count = 0
        self.processes = {name: Process() for name in PEERS}

    @rule()
    def make(self) -> None:
        self.count += 1
        self.own[self.count] = NativeRef(OWNER, self.count)

    @precondition(lambda self: self.own)
    @rule(to=st.sampled_from(PEERS), data=st.data())
    def lend(self, to: bytes, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.own)))
        self.lendings.lend(self.own[number], to)
        self.processes[to].inbox.append(number)

    @precondition(lambda self: self.own)
    @rule(data=st.data())
    def owner_lets_go(self, data: st.DataObject) -> None:
        del self.own[data.draw(st.sampled_from(sorted(self.own)))]

    @rule(who=st.sampled_from(PEERS))
    def arrive(self, who: bytes) -> None:
        process = self.processes[who]
        if process.inbox:
            process.held.append(process.borrowings.receive(OWNER, process.inbox.popleft()))

    @rule(giver=st.sampled_from(PEERS), to=st.sampled_from(PEERS), data=st.data())
    def pass_on(self, giver: bytes, to: bytes, data: st.DataObject) -> None:
        process = self.processes[giver]
        if giver == to or not process.held:
            return
        ref = data.draw(st.sampled_from(process.held))
        process.report()
        process.to_owner.append(("lent", ref._number, to))
        self.processes[to].inbox.append(ref._number)

    @rule(who=st.sampled_from(PEERS), data=st.data())
    def let_go(self, who: bytes, data: st.DataObject) -> None:
        held = self.processes[who].held
        if held:
            held.pop(data.draw(st.integers(0, len(held) - 1)))

    @rule(who=st.sampled_from(PEERS))
    def report(self, who: bytes) -> None:
        self.processes[who].report()

    @rule(who=st.sampled_from(PEERS))
    def owner_reads(self, who: bytes) -> None:
        process = self.processes[who]
        if process.to_owner:
            kind, number, detail = process.to_owner.popleft()
            if kind == "released":
                self.lendings.returned(number, detail, who)
            else:
                self.lendings.passed_on(number, detail)

    @invariant()
    def what_somebody_holds_the_owner_keeps(self) -> None:
        for process in self.processes.values():
            for number in (*process.inbox, *(ref._number for ref in process.held)):
                assert self.lendings.find(number) is not None

    def teardown(self) -> None:
        """When all have let go and all is said, nothing is kept."""
        for who, process in self.processes.items():
            while process.inbox:
                self.arrive(who)
            process.held.clear()
        gc.collect()
        for who, process in self.processes.items():
            process.report()
            while process.to_owner:
                self.owner_reads(who)
            assert not process.borrowings._refs
        assert len(self.lendings) == 0


Ownership.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestOwnership = Ownership.TestCase


def test_the_death_of_a_borrower_ends_its_holdings() -> None:
    lendings = Lendings()
    first, second = NativeRef(OWNER, 1), NativeRef(OWNER, 2)
    for ref in (first, first, second):
        lendings.lend(ref, b"a")
    lendings.lend(second, b"b")
    lendings.drop_process(b"a")
    assert lendings.find(1) is None
    assert lendings.find(2) is second
    lendings.returned(2, 1, b"b")
    assert len(lendings) == 0


def test_news_of_an_unknown_object_changes_nothing() -> None:
    lendings = Lendings()
    lendings.returned(7, 1, b"a")
    lendings.passed_on(7, b"a")
    assert len(lendings) == 0


def test_a_process_has_one_instance_of_a_reference() -> None:
    counts: dict[int, int] = defaultdict(int)
    borrowings = Borrowings(lambda drop: counts.__setitem__(drop[1], counts[drop[1]] + drop[2]))
    first = borrowings.receive(OWNER, 1)
    assert borrowings.receive(OWNER, 1) is first
    del first
    assert counts == {1: 2}
