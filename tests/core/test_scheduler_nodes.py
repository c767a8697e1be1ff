"""The scheduler with several nodes: events in, instructions out."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rllib.core.labels import parse
from rllib.core.native import wire
from rllib.core.native.instructions import Start, Stop, Tell, Warn
from rllib.core.native.scheduler import Scheduler
from rllib.core.native.sites import KEY_BYTES, Site, key_of
from tests.scheduler_books import assert_nobody_waits_in_vain, shares


def key(name: str) -> bytes:
    return name.encode().ljust(KEY_BYTES, b".")


class Books:
    """A scheduler with nodes ``a`` (its own), ``b``, ``c``, ... of so many CPUs each."""

    def __init__(self, **cpus: float) -> None:
        self.count: Counter[str] = Counter()
        first, *others = cpus
        ids = self.ids(first)
        self.scheduler = Scheduler({"CPU": cpus[first]}, ids, first, key=key(first))
        for name in others:
            self.join(name, cpus[name])

    def ids(self, name: str) -> Any:
        def new_id() -> bytes:
            self.count[name] += 1
            return key(name) + f"w{self.count[name]}".encode()

        return new_id

    def join(self, name: str, cpus: float, **labels: str) -> list[Any]:
        out = self.scheduler.out
        site = Site(name, key(name), {"CPU": cpus}, self.ids(name), out, labels=labels)
        return self.scheduler.node_joined(site)

    def ask(self, *messages: Any, client: bytes = key("a") + b"driver") -> list[Any]:
        """What comes of messages of a client when every worker that is started is ready at once."""
        agenda = [each for message in messages for each in self.scheduler.handle(client, message)]
        found = []
        while agenda:
            instruction = agenda.pop(0)
            found.append(instruction)
            if isinstance(instruction, Start):
                worker = instruction.worker
                agenda += self.scheduler.handle(worker, wire.WorkerReady(worker))
        return found

    def free(self) -> dict[str, float]:
        return {site.node: site.pool.free["CPU"] / 10_000 for site in self.scheduler.sites}


def lease(number: int, cpus: float = 1.0, **needs: Any) -> wire.RequestLease:
    return wire.RequestLease(number, wire.Needs({"CPU": cpus}, **needs))


def actor(name: str, restarts: int = 0, **needs: Any) -> wire.PlaceActor:
    held = needs.pop("resources", {"CPU": 1.0})
    wanted = wire.Needs(held, **needs)
    return wire.PlaceActor(name.encode(), "Cls", b"", held, wanted, max_restarts=restarts)


def group(*bundles: float, strategy: str = "PACK", labels: Any = ()) -> wire.CreateGroup:
    amounts = [{"CPU": cpus} for cpus in bundles]
    return wire.CreateGroup(1, b"g", amounts, strategy, "", "space", labels)


def places(instructions: list[Any]) -> list[str]:
    """The nodes of the workers that were given, in order."""
    told = [each.message for each in instructions if isinstance(each, Tell)]
    given = [m for m in told if isinstance(m, (wire.LeaseGranted, wire.ActorPlaced))]
    return [key_of(each.worker).rstrip(b".").decode() for each in given]


def test_the_own_node_is_filled_first_then_the_next() -> None:
    books = Books(a=1, b=2, c=2)
    assert places(books.ask(*(lease(number) for number in range(5)))) == ["a", "b", "b", "c", "c"]
    assert books.free() == {"a": 0, "b": 0, "c": 0}


def test_a_client_of_another_node_gets_what_is_there() -> None:
    books = Books(a=1, b=2)
    found = books.ask(lease(1), lease(2), lease(3), client=key("b") + b"w")
    assert places(found) == ["b", "b", "a"]


def test_spread_takes_the_node_that_is_least_in_use() -> None:
    books = Books(a=2, b=2, c=2)
    found = books.ask(*(actor(f"x{n}", spread=True) for n in range(6)))
    assert Counter(places(found)) == {"a": 2, "b": 2, "c": 2}
    assert sorted(places(found)[:3]) == ["a", "b", "c"]


def test_actors_that_hold_nothing_spread_by_cores() -> None:
    books = Books(a=1, b=3)
    found = [books.ask(actor(f"x{n}", spread=True, resources={})) for n in range(8)]
    there = Counter(place for each in found for place in places(each))
    assert there == {"a": 2, "b": 6}


def test_a_task_runs_near_its_arguments_if_there_is_room() -> None:
    books = Books(a=2, b=1, c=2)
    found = books.ask(lease(1, near=key("b")), lease(2, near=key("b")))
    assert places(found) == ["b", "a"]


def test_affinity_hard_and_soft() -> None:
    books = Books(a=2, b=1)
    assert places(books.ask(lease(1, node="b"), lease(2, node="b"))) == ["b"]
    assert places(books.ask(lease(3, node="b", soft=True))) == ["a"]
    told = books.ask(lease(4, node="nowhere"))[0]
    assert told.message.fate == "unschedulable"


def test_what_is_too_large_waits_for_a_node_that_joins() -> None:
    books = Books(a=1)
    (warning,) = books.ask(lease(1, 4.0))
    assert isinstance(warning, Warn)
    (start,) = books.join("b", 4)
    assert key_of(start.worker) == key("b")
    assert places(books.scheduler.handle(start.worker, wire.WorkerReady(start.worker))) == ["b"]


def test_labels_choose_a_node() -> None:
    books = Books(a=1)
    books.join("b", 1, zone="north")
    wanted = (parse({"zone": "north"}),)
    assert places(books.ask(lease(1, labels=wanted))) == ["b"]


def test_actors_of_a_node_that_is_gone_restart_elsewhere_or_die() -> None:
    books = Books(a=1, b=2)
    near = {"near": key("b")}
    books.ask(actor("again", restarts=1, **near), actor("once", **near))
    found = books.scheduler.node_down(key("b"), "node b is gone", ())
    kinds = [type(each.message) for each in found if isinstance(each, Tell)]
    assert kinds == [wire.ActorRestarting, wire.ActorDied]
    (start,) = [each for each in found if isinstance(each, Start)]
    assert key_of(start.worker) == key("a")
    assert places(books.scheduler.handle(start.worker, wire.WorkerReady(start.worker))) == ["a"]
    assert books.free() == {"a": 0}


def test_what_a_lost_driver_had_ends_everywhere() -> None:
    books = Books(a=2, b=2)
    driver = key("b") + b"driver"
    books.ask(actor("x"), lease(1), client=driver)
    found = books.scheduler.node_down(key("b"), "node b is gone", [driver])
    assert not [each for each in found if isinstance(each, Stop)]  # both had been on that node
    books = Books(a=2, b=1)
    books.ask(actor("x"), lease(1), client=driver)
    found = books.scheduler.node_down(key("b"), "node b is gone", [driver])
    assert [type(each) for each in found].count(Stop) == 1


def test_a_node_that_is_not_heard_of_gets_nothing_new() -> None:
    books = Books(a=1, b=1)
    books.ask(lease(1))
    site = books.scheduler.sites.named("b")
    assert site is not None
    books.scheduler.node_silent(site.key)
    assert places(books.ask(lease(2))) == []
    (start,) = books.scheduler.node_heard(site.key)
    assert key_of(start.worker) == key("b")


def test_what_waits_for_a_node_that_is_not_heard_of_is_not_said_to_wait_for_ever() -> None:
    books = Books(a=1, b=4)
    books.scheduler.node_silent(key("b"))
    assert books.ask(lease(1, 2.0)) == []
    assert books.ask(group(2, strategy="STRICT_PACK")) == []
    starts = books.scheduler.node_heard(key("b"))
    assert [key_of(start.worker) for start in starts] == [key("b")]
    assert books.free()["b"] == 0  # the group has its bundle as well


@pytest.mark.parametrize(
    ("strategy", "bundles", "nodes"),
    [
        ("PACK", [1, 1], "bb"),
        ("PACK", [1, 1, 1], "abb"),
        ("STRICT_PACK", [1, 1], "bb"),
        ("STRICT_PACK", [1, 1, 1], ""),
        ("SPREAD", [1, 1, 1], "abc"),
        ("SPREAD", [1, 1, 1, 1], "abcb"),
        ("STRICT_SPREAD", [1, 1, 1], "abc"),
        ("STRICT_SPREAD", [1, 1, 1, 1], ""),
    ],
)
def test_strategies_of_placement_groups(strategy: str, bundles: list[float], nodes: str) -> None:
    books = Books(a=1, b=2, c=1)
    books.ask(group(*bundles, strategy=strategy))
    (told,) = books.ask(wire.AskGroups(2))
    assert "".join(told.message.groups[0].nodes) == nodes
    assert sum(books.free().values()) == 4 - len(nodes)


def test_lost_bundles_are_reserved_elsewhere_and_the_others_stay() -> None:
    books = Books(a=1, b=1, c=1)
    books.ask(group(1, 1, strategy="STRICT_SPREAD"))
    books.scheduler.node_down(key("b"), "node b is gone", ())
    (told,) = books.ask(wire.AskGroups(2))
    assert told.message.groups[0].nodes == ["a", "c"]
    books.scheduler.node_down(key("c"), "node c is gone", ())
    (told,) = books.ask(wire.AskGroups(3))
    assert told.message.groups[0].state == "PENDING"
    books.join("d", 1)
    (told,) = books.ask(wire.AskGroups(4))
    assert told.message.groups[0].nodes == ["a", "d"]
    books.ask(wire.RemoveGroup(b"g"))
    assert books.free() == {"a": 1, "d": 1}


def test_resources_of_all_nodes_are_told_together() -> None:
    books = Books(a=1, b=2)
    books.ask(lease(1))
    (told,) = books.ask(wire.AskResources(2, []))
    assert (told.message.total, told.message.free) == ({"CPU": 3.0}, {"CPU": 2.0})
    (told,) = books.ask(wire.AskNodes(3))
    assert [(row.node, row.total) for row in told.message.nodes] == [
        ("a", {"CPU": 1.0}),
        ("b", {"CPU": 2.0}),
    ]


def test_what_waits_for_a_node_that_is_gone_is_refused() -> None:
    books = Books(a=2, b=1)
    books.ask(lease(1, node="b"))
    waiting = lease(2, node="b"), actor("x", node="b"), lease(3, node="b", soft=True)
    assert places(books.ask(*waiting)) == ["a"]
    found = books.scheduler.node_down(key("b"), "node b is gone", ())
    assert not [each for each in found if isinstance(each, Warn)]
    refused = [each.message for each in found if getattr(each.message, "fate", "")]
    assert [type(each) for each in refused] == [wire.LeaseLost, wire.ActorDied]
    assert {each.fate for each in refused} == {"unschedulable"}
    assert "may run only on node b, which is not there" in refused[0].reason


class RandomNodes(RuleBasedStateMachine):
    """Nodes come and go, in any order with everything else: each node's amounts are conserved, and
    nobody waits for a node that is not there."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books(a=2, b=1)
        self.count = 0
        self.starting: list[bytes] = []
        self.waiting: dict[int | bytes, wire.Needs] = {}
        self.leases: dict[int, bytes] = {}

    def perform(self, instructions: list[Any]) -> None:
        for instruction in instructions:
            match instruction:
                case Start(worker):
                    self.starting.append(worker)
                case Tell(message=wire.LeaseGranted(number, worker)):
                    del self.waiting[number]
                    self.leases[number] = worker
                case Tell(message=wire.LeaseLost(number)):
                    self.waiting.pop(number, None)
                    self.leases.pop(number, None)
                case Tell(message=wire.ActorPlaced(name)):
                    del self.waiting[name]
                case Tell(message=wire.ActorDied(name)):
                    self.waiting.pop(name, None)

    def handle(self, message: Any, client: bytes = key("a") + b"driver") -> None:
        self.perform(self.books.scheduler.handle(client, message))

    needs = st.fixed_dictionaries(
        {},
        optional={
            "node": st.sampled_from("abc"),
            "soft": st.booleans(),
            "spread": st.booleans(),
            "near": st.sampled_from("abc").map(key),
            "environment": st.sampled_from(["", "e"]),
        },
    )

    @rule(cpus=st.sampled_from([0.0, 1.0, 2.0]), needs=needs)
    def lease(self, cpus: float, needs: dict[str, Any]) -> None:
        self.count += 1
        wanted = lease(self.count, cpus, **needs)
        self.waiting[self.count] = wanted.needs
        self.handle(wanted)

    @rule(needs=needs)
    def actor(self, needs: dict[str, Any]) -> None:
        self.count += 1
        wanted = actor(f"x{self.count}", **needs)
        self.waiting[wanted.actor] = wanted.needs
        self.handle(wanted)

    @precondition(lambda self: self.starting)
    @rule(data=st.data())
    def ready(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(self.starting))
        self.starting.remove(worker)
        self.handle(wire.WorkerReady(worker), worker)

    @precondition(lambda self: self.leases or self.waiting)
    @rule(data=st.data(), spoiled=st.booleans())
    def give_back(self, data: st.DataObject, spoiled: bool) -> None:
        numbers = [each for each in (*self.leases, *self.waiting) if isinstance(each, int)]
        if numbers:
            number = data.draw(st.sampled_from(numbers))
            self.leases.pop(number, None)
            self.waiting.pop(number, None)
            self.handle(wire.ReturnLease(number, spoiled))

    @rule(name=st.sampled_from("bc"), cpus=st.sampled_from([1, 2]))
    def join(self, name: str, cpus: float) -> None:
        if self.books.scheduler.sites.named(name) is None:
            self.perform(self.books.join(name, cpus))

    @rule(name=st.sampled_from("bc"))
    def leave(self, name: str) -> None:
        self.starting = [each for each in self.starting if key_of(each) != key(name)]
        gone = {n for n, worker in self.leases.items() if key_of(worker) == key(name)}
        self.perform(self.books.scheduler.node_down(key(name), "gone", ()))
        assert not gone & self.leases.keys()

    @rule(name=st.sampled_from("bc"), heard=st.booleans())
    def fall_silent(self, name: str, heard: bool) -> None:
        scheduler = self.books.scheduler
        if heard:
            self.perform(scheduler.node_heard(key(name)))
        else:
            self.perform(scheduler.node_silent(key(name)))

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        assert_nobody_waits_in_vain(self.books.scheduler)

    @invariant()
    def nobody_waits_for_a_node_that_is_gone(self) -> None:
        there = {site.node for site in self.books.scheduler.sites}
        hard = {needs.node for needs in self.waiting.values() if needs.node and not needs.soft}
        assert hard <= there

    @invariant()
    def amounts_are_conserved(self) -> None:
        for site in self.books.scheduler.sites:
            mine = [each for each in shares(self.books.scheduler) if each.pool is site.pool]
            held = [share.amounts["CPU"] for share in mine]
            assert site.pool.free["CPU"] + sum(held) == site.pool.total["CPU"]
            assert site.pool.free["CPU"] >= 0


TestRandomNodes = RandomNodes.TestCase
TestRandomNodes.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
