"""Who holds what, under every order of events: no object that is held is freed, none is kept."""

from collections import defaultdict, deque
from itertools import chain
from typing import Any

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
        self.to_owner: deque[tuple[str, int, Any]] = deque()
        self.inboxes: dict[bytes, deque[int]] = defaultdict(deque)
        self.alive = True
        self.buried = False
        """The owner has read the end of it."""

    def report(self) -> None:
        while self.reports.dropped:
            owner, number, count = self.reports.dropped.popleft()
            self.borrowings.forget(owner, number)
            self.to_owner.append(("released", number, count))


class Ownership(RuleBasedStateMachine):
    """An owner and three borrowers; messages arrive in order per pair, else in any order.

    A process that dies takes along what it has not said. What it has said still arrives, and its
    end comes after that. The news that a reference was passed on is said before the reference is.
    """

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
        if self.processes[to].buried:
            return
        self.lendings.lend(self.own[number], to)
        if self.processes[to].alive:  # else its end is on the way
            self.processes[to].inboxes[OWNER].append(number)

    @precondition(lambda self: self.own)
    @rule(data=st.data())
    def owner_lets_go(self, data: st.DataObject) -> None:
        del self.own[data.draw(st.sampled_from(sorted(self.own)))]

    @rule(who=st.sampled_from(PEERS), sender=st.sampled_from([OWNER, *PEERS]))
    def arrive(self, who: bytes, sender: bytes) -> None:
        process = self.processes[who]
        if process.alive and process.inboxes[sender]:
            number = process.inboxes[sender].popleft()
            process.held.append(process.borrowings.receive(OWNER, number))

    @rule(who=st.sampled_from(PEERS))
    def die(self, who: bytes) -> None:
        process = self.processes[who]
        if process.alive:
            process.alive = False
            process.to_owner.append(("end", 0, None))
            process.held.clear()
            process.inboxes.clear()

    @rule(giver=st.sampled_from(PEERS), to=st.sampled_from(PEERS), data=st.data())
    def pass_on(self, giver: bytes, to: bytes, data: st.DataObject) -> None:
        process = self.processes[giver]
        if giver == to or not process.held or not self.processes[to].alive:
            return
        # By index: hypothesis keeps what it samples from until the collector comes.
        ref = process.held[data.draw(st.integers(0, len(process.held) - 1))]
        process.report()
        process.to_owner.append(("lent", ref._number, to))
        self.processes[to].inboxes[giver].append(ref._number)

    @rule(who=st.sampled_from(PEERS), data=st.data())
    def let_go(self, who: bytes, data: st.DataObject) -> None:
        held = self.processes[who].held
        if held:
            held.pop(data.draw(st.integers(0, len(held) - 1)))

    @rule(who=st.sampled_from(PEERS))
    def report(self, who: bytes) -> None:
        if self.processes[who].alive:
            self.processes[who].report()

    @rule(who=st.sampled_from(PEERS))
    def owner_reads(self, who: bytes) -> None:
        process = self.processes[who]
        if process.to_owner:
            kind, number, detail = process.to_owner.popleft()
            if kind == "released":
                self.lendings.returned(number, detail, who)
            elif kind == "end":
                process.buried = True
                self.lendings.drop_process(who)
            elif not self.processes[detail].buried:  # else there is no connection to it any more
                self.lendings.passed_on(number, detail)

    @invariant()
    def what_somebody_holds_the_owner_keeps(self) -> None:
        for process in self.processes.values():
            on_their_way = chain.from_iterable(process.inboxes.values())
            for number in (*on_their_way, *(ref._number for ref in process.held)):
                assert self.lendings.find(number) is not None

    def teardown(self) -> None:
        """When all have let go or died and all is said, nothing is kept: also if the end of one
        is heard of before what others have said of it."""
        self.die(PEERS[-1])
        for who, process in self.processes.items():
            for sender, inbox in list(process.inboxes.items()):
                while inbox:
                    self.arrive(who, sender)
            process.held.clear()
        for who, process in reversed(self.processes.items()):
            self.report(who)
            while process.to_owner:
                self.owner_reads(who)
            assert not (process.alive and process.borrowings._refs)
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


def test_references_are_known_by_their_owner_until_the_last_is_gone() -> None:
    borrowings = Borrowings(lambda _drop: None)
    mine = [borrowings.receive(OWNER, number) for number in (1, 2)]
    other = borrowings.receive(b"another owner", 1)
    assert borrowings.of(OWNER) == mine
    assert borrowings.of(b"another owner") == [other]
    assert borrowings.of(b"nobody") == []
    del mine
    borrowings.forget(OWNER, 1)
    borrowings.forget(b"another owner", 1)
    assert borrowings.of(b"another owner") == [other]  # it is still there, so it is not forgotten
    borrowings.forget(OWNER, 2)
    assert list(borrowings._refs) == [b"another owner"]
