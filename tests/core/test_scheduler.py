"""The scheduler without processes: events in, instructions out."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rllib.core.labels import NODE_ID, parse
from rllib.core.native import wire
from rllib.core.native.amounts import UNIT, Pool, Share, units
from rllib.core.native.groups import Bundle
from rllib.core.native.instructions import Start, Stop, Tell, Warn
from rllib.core.native.scheduler import Scheduler
from rllib.core.native.workforce import MAX_START_FAILURES
from tests.scheduler_books import assert_nobody_waits_in_vain, shares

DRIVER = b"driver"


def scheduler(**total: float) -> Scheduler:
    """With workers that are called w1, w2, ..."""
    count = 0

    def new_id() -> bytes:
        nonlocal count
        count += 1
        return f"w{count}".encode()

    return Scheduler({"CPU": 2.0, **total}, new_id)


def place(
    actor: str = "a",
    cpus: float = 1.0,
    held: float = 0.0,
    called: str = "",
    restarts: int = 0,
    **needs: Any,
) -> Any:
    resources = {"CPU": held} if held else {}
    wanted = wire.Needs({"CPU": cpus}, **needs)
    name = actor.encode()
    return wire.PlaceActor(name, "Cls", b"shape", resources, wanted, called, "space", 9, restarts)


def lease(number: int, resources: Mapping[str, float], **needs: Any) -> Any:
    return wire.RequestLease(number, wire.Needs(dict(resources), **needs))


def granted(number: int, worker: bytes, **assignment: Any) -> Any:
    given = {"resources": {"CPU": 1.0}, **assignment}
    return wire.LeaseGranted(number, worker, wire.Assignment(**given))


def placed(actor: bytes, worker: bytes, *, may_restart: bool = False, **assignment: Any) -> Any:
    given = {"resources": {}, "actor": actor, "namespace": "space", **assignment}
    return wire.ActorPlaced(actor, worker, wire.Assignment(**given), may_restart)


def ready(worker: str) -> Any:
    return wire.WorkerReady(worker.encode())


def test_a_lease_starts_a_worker_and_is_granted_when_it_is_ready() -> None:
    node = scheduler()
    assert node.handle(DRIVER, lease(1, {"CPU": 1.0})) == [Start(b"w1")]
    assert node.handle(b"w1", ready("w1")) == [Tell(DRIVER, granted(1, b"w1"))]
    assert node.handle(DRIVER, wire.ReturnLease(1)) == []
    assert node.handle(DRIVER, lease(2, {"CPU": 1.0})) == [Tell(DRIVER, granted(2, b"w1"))]


def test_what_does_not_fit_waits_and_leases_are_asked_back() -> None:
    node = scheduler()
    node.handle(DRIVER, lease(1, {"CPU": 2.0}))
    node.handle(b"w1", ready("w1"))
    assert node.handle(DRIVER, lease(3, {"CPU": 2.0})) == []  # no news to itself
    node.handle(DRIVER, wire.ReturnLease(3))
    assert node.handle(DRIVER, lease(2, {"CPU": 1.0})) == [Tell(DRIVER, wire.LeasesWanted([1]))]
    assert node.handle(DRIVER, wire.ReturnLease(1)) == [Tell(DRIVER, granted(2, b"w1"))]


@pytest.mark.parametrize(
    "other",
    [{"node": "else", "soft": True}, {"bundle": 0}, {"captures": True}],
)
def test_leases_of_another_place_are_asked_back(other: dict[str, Any]) -> None:
    """Their client cannot use them for what waits."""
    node = scheduler(CPU=1.0)
    node.handle(DRIVER, lease(1, {"CPU": 1.0}, **other))
    node.handle(b"w1", ready("w1"))
    assert node.handle(DRIVER, lease(2, {"CPU": 1.0})) == [Tell(DRIVER, wire.LeasesWanted([1]))]


def test_what_never_fits_is_warned_about_once() -> None:
    node = scheduler()
    (warning,) = node.handle(DRIVER, lease(1, {"CPU": 3.0}))
    assert isinstance(warning, Warn)
    assert "needs {'CPU': 3.0}" in warning.text
    assert node.handle(DRIVER, lease(2, {"CPU": 3.0})) == []  # the next task of that kind
    assert node.handle(DRIVER, wire.AskResources(1)) == [
        Tell(DRIVER, wire.Resources(1, {"CPU": 2.0}, {"CPU": 2.0}, {NODE_ID: ""}))
    ]


def test_labels_that_are_not_there_are_warned_about_once() -> None:
    node = scheduler()
    wanted = (parse({"zone": "in(a,b)"}), parse({"tier": "!gold", "zone": "c"}))
    (warning,) = node.handle(DRIVER, lease(1, {"CPU": 1.0}, labels=wanted))
    assert isinstance(warning, Warn)
    assert "'zone' 'a' or 'b', or else 'tier' not 'gold' and 'zone' 'c'" in warning.text
    assert node.handle(DRIVER, lease(2, {"CPU": 1.0}, labels=wanted)) == []
    assert node.handle(DRIVER, lease(3, {"CPU": 1.0})) == [Start(b"w1")]
    assert node.handle(DRIVER, wire.ReturnLease(1)) == []


def test_a_lease_of_a_node_with_other_labels_is_refused() -> None:
    node = Scheduler({"CPU": 1.0}, lambda: b"w", "here", labels={"zone": "b"})
    wanted = {"node": "here", "labels": (parse({"zone": "!b"}),)}
    (lost,) = node.handle(DRIVER, lease(1, {"CPU": 1.0}, **wanted))
    assert lost.message.fate == "unschedulable"
    assert node.handle(DRIVER, lease(2, {"CPU": 1.0}, labels=(parse({"zone": "b"}),)))


def test_a_group_whose_labels_are_not_there_is_warned_about_once() -> None:
    node = scheduler()
    order = wire.CreateGroup(1, b"g", [{"CPU": 1}], "PACK", labels=(parse({"zone": "a"}),))
    (warning,) = node.handle(DRIVER, order)
    assert isinstance(warning, Warn)
    assert "'zone' 'a'" in warning.text
    assert node.handle(DRIVER, wire.WatchGroup(1, b"g")) == []


def test_what_idle_leases_hold_counts_as_free() -> None:
    node = scheduler(GPU=1.0)
    node.handle(DRIVER, lease(1, {"CPU": 1.0, "GPU": 1.0}))
    node.handle(b"w1", ready("w1"))
    node.handle(DRIVER, wire.CreateGroup(2, b"g", [{"CPU": 1.0}], "PACK"))
    node.handle(DRIVER, lease(2, {"CPU": 1.0}, group=b"g"))
    node.handle(b"w2", ready("w2"))
    assert node.lessees == {DRIVER}
    total = {"CPU": 2.0, "GPU": 1.0}
    for idle, free in (
        ([], {"CPU": 0.0, "GPU": 0.0}),
        ([(DRIVER, [1, 2, 77]), (b"gone", [1])], {"CPU": 1.0, "GPU": 1.0}),  # the bundle is taken
    ):
        answer = wire.Resources(1, total, free, node.home.labels)
        assert node.handle(DRIVER, wire.AskResources(1, idle)) == [Tell(DRIVER, answer)]


def test_a_waiting_task_lends_its_cpu() -> None:
    node = scheduler(CPU=1.0)
    node.handle(DRIVER, lease(1, {"CPU": 1.0}))
    node.handle(b"w1", ready("w1"))
    assert node.handle(b"w1", lease(1, {"CPU": 1.0})) == [Tell(DRIVER, wire.LeasesWanted([1]))]
    assert node.handle(b"w1", wire.Blocked(True)) == [Start(b"w2")]
    assert node.handle(b"w2", ready("w2")) == [Tell(b"w1", granted(1, b"w2"))]
    node.handle(b"w1", wire.Blocked(False))
    assert node.home.pool.free == units({"CPU": -1.0})
    node.handle(b"w1", wire.ReturnLease(1))
    assert node.home.pool.free == units({"CPU": 0.0})


def test_leases_that_wait_are_not_asked_back() -> None:
    """They have lent what they have; a client that is asked for one looks no further."""
    node = scheduler(CPU=1.0)
    node.handle(DRIVER, lease(1, {"CPU": 1.0}))
    node.handle(b"w1", ready("w1"))
    node.handle(b"w1", wire.Blocked(True))
    node.handle(DRIVER, lease(2, {"CPU": 1.0}))
    node.handle(b"w2", ready("w2"))
    assert node.handle(b"w1", lease(1, {"CPU": 1.0})) == [Tell(DRIVER, wire.LeasesWanted([2]))]
    assert node.handle(DRIVER, wire.ReturnLease(2)) == [Tell(b"w1", granted(1, b"w2"))]


def test_an_actor_holds_its_placement_until_it_is_built() -> None:
    node = scheduler()
    assert node.handle(DRIVER, place(held=0.5)) == [Start(b"w1")]
    told = Tell(DRIVER, placed(b"a", b"w1", resources={"CPU": 0.5}))  # what it is to keep
    assert node.handle(b"w1", ready("w1")) == [told]
    assert node.home.pool.free == units({"CPU": 1.0})
    assert node.handle(b"w1", wire.ActorBuilt()) == []
    assert node.home.pool.free == units({"CPU": 1.5})


def test_an_actor_dies_with_its_worker_and_watchers_hear_why() -> None:
    node = scheduler()
    node.handle(DRIVER, place())
    node.handle(b"w1", ready("w1"))
    assert node.handle(b"other", wire.WatchActor(b"a")) == [Tell(b"other", placed(b"a", b"w1"))]
    died = wire.ActorDied(b"a", "actor Cls is dead: gone")
    assert node.worker_down(b"w1", "gone") == [Tell(DRIVER, died), Tell(b"other", died)]
    assert node.handle(b"late", wire.WatchActor(b"a")) == [Tell(b"late", died)]


def test_a_constructor_that_raises_ends_the_worker() -> None:
    node = scheduler()
    node.handle(DRIVER, place())
    node.handle(b"w1", ready("w1"))
    told, stop = node.handle(b"w1", wire.ActorBuilt("a story"))
    assert told == Tell(
        DRIVER, wire.ActorDied(b"a", "actor Cls is dead: its constructor raised:\na story")
    )
    assert stop == Stop(b"w1")


def test_names_are_taken_found_and_freed() -> None:
    node = scheduler()
    assert node.handle(DRIVER, place(called="x"))[0] == Tell(DRIVER, wire.ActorFound(9))
    found = wire.ActorFound(9, b"a", b"shape")
    assert node.handle(DRIVER, place("b", called="x")) == [Tell(DRIVER, found)]
    assert node.handle(DRIVER, wire.FindActor(9, "x", "space")) == [Tell(DRIVER, found)]
    assert node.handle(DRIVER, wire.FindActor(9, "x", "other")) == [
        Tell(DRIVER, wire.ActorFound(9))
    ]
    node.handle(DRIVER, wire.KillActor(b"a", "enough"))
    assert node.handle(DRIVER, wire.FindActor(9, "x", "space")) == [
        Tell(DRIVER, wire.ActorFound(9))
    ]


def test_a_kill_before_a_process_is_there_withdraws_the_demand() -> None:
    node = scheduler()
    node.handle(DRIVER, place(cpus=5))
    assert node.handle(DRIVER, wire.KillActor(b"a", "enough")) == [
        Tell(DRIVER, wire.ActorDied(b"a", "actor Cls is dead: enough"))
    ]
    assert node.handle(DRIVER, wire.KillActor(b"a", "again")) == []


def test_what_a_dead_client_had_ends_with_it() -> None:
    node = scheduler(CPU=4.0)
    node.handle(DRIVER, place("parent"))
    node.handle(b"w1", ready("w1"))
    node.handle(b"w1", place("child"))
    node.handle(b"w2", ready("w2"))
    node.handle(b"w1", lease(1, {"CPU": 1.0}))
    node.handle(b"w3", ready("w3"))
    instructions = node.worker_down(b"w1", "gone")
    assert Stop(b"w2") in instructions
    assert Stop(b"w3") in instructions
    node.worker_down(b"w2", "stopped")
    node.worker_down(b"w3", "stopped")
    assert node.home.pool.free == node.home.pool.total


def test_workers_that_cannot_start_end_the_wait() -> None:
    node = scheduler()
    instructions = node.handle(DRIVER, lease(1, {"CPU": 1.0}))
    for attempt in range(1, MAX_START_FAILURES + 1):
        assert instructions == [Start(f"w{attempt}".encode())]
        instructions = node.worker_down(f"w{attempt}".encode(), "no memory")
    text = "worker processes cannot start: no memory"
    assert instructions == [Tell(DRIVER, wire.LeaseLost(1, text))]
    again = f"w{MAX_START_FAILURES + 1}".encode()
    assert node.handle(DRIVER, lease(2, {"CPU": 1.0})) == [Start(again)]


def test_starts_that_fail_together_count_once() -> None:
    count = MAX_START_FAILURES
    node = scheduler(CPU=float(count))
    for number in range(count):
        node.handle(DRIVER, lease(number, {"CPU": 1.0}))
    for number in range(count):  # one cause: their template was killed
        told = node.worker_down(f"w{number + 1}".encode(), "gone")
        assert not [each for each in told if isinstance(each, Tell)]


def test_workers_that_have_nothing_to_do_are_few() -> None:
    node = scheduler()
    for number in range(4):
        node.handle(DRIVER, lease(number, {}))
    workers = [f"w{k}" for k in (1, 2, 3, 4)]
    for worker in workers:
        node.handle(worker.encode(), ready(worker))
    retired = [
        instruction
        for lease in range(4)
        for instruction in node.handle(DRIVER, wire.ReturnLease(lease))
    ]
    assert [type(instruction.message) for instruction in retired] == [wire.Retire] * 2


# -- restarts --------------------------------------------------------------------------------------


def restarting(actor: bytes, reason: str, *, unbegun: bool = False) -> Any:
    return wire.ActorRestarting(actor, f"actor Cls is being restarted: {reason}", unbegun)


def test_an_actor_is_placed_again_as_often_as_it_may() -> None:
    node = scheduler()
    node.handle(DRIVER, place(restarts=1))
    (told,) = node.handle(b"w1", ready("w1"))
    assert told == Tell(DRIVER, placed(b"a", b"w1", may_restart=True))
    node.handle(b"w1", wire.ActorBuilt())
    assert node.worker_down(b"w1", "gone") == [
        Tell(DRIVER, restarting(b"a", "gone")),
        Start(b"w2"),
    ]
    (told,) = node.handle(b"w2", ready("w2"))
    assert told == Tell(DRIVER, placed(b"a", b"w2", restarts=1))
    died = wire.ActorDied(b"a", "actor Cls is dead: gone again")
    assert node.worker_down(b"w2", "gone again") == [Tell(DRIVER, died)]
    assert node.home.pool.free == node.home.pool.total


def test_a_kill_that_allows_a_restart_ends_the_process_only() -> None:
    node = scheduler()
    node.handle(DRIVER, place(restarts=-1))
    assert node.handle(DRIVER, wire.KillActor(b"a", "enough", True)) == []  # nothing to end yet
    node.handle(b"w1", ready("w1"))
    assert node.handle(DRIVER, wire.KillActor(b"a", "enough", True)) == [
        Stop(b"w1"),
        Tell(DRIVER, restarting(b"a", "enough", unbegun=True)),
        Start(b"w2"),
    ]
    assert node.handle(b"w1", wire.ActorBuilt("a story")) == []  # it was on the way
    assert node.worker_down(b"w1", "gone") == []
    (told,) = node.handle(b"w2", ready("w2"))
    assert told == Tell(DRIVER, placed(b"a", b"w2", restarts=1, may_restart=True))
    assert Tell(DRIVER, wire.ActorDied(b"a", "actor Cls is dead: enough")) in node.handle(
        DRIVER, wire.KillActor(b"a", "enough")
    )


@pytest.mark.parametrize("message", [wire.ActorBuilt("a story"), wire.ActorExits("it wants to")])
def test_an_actor_that_ends_by_itself_is_not_restarted(message: Any) -> None:
    node = scheduler()
    node.handle(DRIVER, place(restarts=-1))
    node.handle(b"w1", ready("w1"))
    told, stop = node.handle(b"w1", message)
    assert isinstance(told.message, wire.ActorDied)
    assert stop == Stop(b"w1")
    assert node.worker_down(b"w1", "stopped") == []


def test_a_constructor_cut_short_by_others_is_not_a_restart() -> None:
    node = scheduler()
    node.handle(DRIVER, place())
    node.handle(b"w1", ready("w1"))
    assert Start(b"w2") in node.worker_down(b"w1", "its template died", unbegun=True)
    assert node.handle(b"w2", ready("w2")) == [Tell(DRIVER, placed(b"a", b"w2"))]
    node.handle(b"w2", wire.ActorBuilt())
    (told,) = node.worker_down(b"w2", "its template died", unbegun=True)
    assert isinstance(told.message, wire.ActorDied)


# -- what is given ---------------------------------------------------------------------------------


def gpus_of(instructions: list[Any]) -> list[str]:
    told = [i.message for i in instructions if isinstance(i, Tell)]
    return [gpu for m in told if isinstance(m, wire.LeaseGranted) for gpu in m.assignment.gpus]


def test_whole_gpus_are_nobody_elses_and_fractions_share_one() -> None:
    node = scheduler(GPU=2.0)
    for number, amount in enumerate([0.5, 1.0, 0.5, 1.0]):
        node.handle(DRIVER, lease(number, {"GPU": amount}))
    assert gpus_of(node.handle(b"w1", ready("w1"))) == ["0"]
    assert gpus_of(node.handle(b"w2", ready("w2"))) == ["1"]
    assert gpus_of(node.handle(b"w3", ready("w3"))) == ["0"]
    assert gpus_of(node.handle(DRIVER, wire.ReturnLease(0))) == []  # half a device is no whole one
    assert gpus_of(node.handle(DRIVER, wire.ReturnLease(2))) == ["0"]


def test_a_worker_serves_one_environment_only() -> None:
    node = scheduler()
    node.handle(DRIVER, lease(1, {}, environment="red"))
    node.handle(b"w1", ready("w1"))
    node.handle(DRIVER, wire.ReturnLease(1))
    assert node.handle(DRIVER, lease(2, {}, environment="blue")) == [Start(b"w2")]
    assert node.handle(DRIVER, lease(3, {})) == [Start(b"w3")]
    (told,) = node.handle(DRIVER, lease(4, {}, environment="red"))
    assert told.message.worker == b"w1"


def test_a_node_that_is_not_there_is_refused_unless_another_will_do() -> None:
    node = scheduler()
    (told,) = node.handle(DRIVER, lease(1, {}, node="ff"))
    assert told.message.fate == "unschedulable"
    (told,) = node.handle(DRIVER, place(node="ff"))
    assert told.message.fate == "unschedulable"
    assert node.handle(DRIVER, lease(2, {}, node="ff", soft=True)) == [Start(b"w1")]


def test_a_spoiled_worker_leaves() -> None:
    node = scheduler()
    node.handle(DRIVER, lease(1, {}))
    node.handle(b"w1", ready("w1"))
    assert node.handle(DRIVER, wire.ReturnLease(1, True)) == [Tell(b"w1", wire.Retire())]
    assert node.handle(DRIVER, lease(2, {})) == [Start(b"w2")]


# -- placement groups ------------------------------------------------------------------------------


def create(group: str = "g", *bundles: Mapping[str, float], strategy: str = "PACK") -> Any:
    return wire.CreateGroup(1, group.encode(), [dict(b) for b in bundles], strategy, "", "space")


def settled(instructions: list[Any]) -> list[bool]:
    told = [i.message for i in instructions if isinstance(i, Tell)]
    return [m.removed for m in told if isinstance(m, wire.GroupSettled)]


def test_bundles_are_reserved_all_or_none() -> None:
    node = scheduler()
    node.handle(DRIVER, create("g", {"CPU": 1}))
    node.handle(DRIVER, create("h", {"CPU": 1}, {"CPU": 1}))
    assert node.home.pool.free == units({"CPU": 1.0})
    assert settled(node.handle(DRIVER, wire.WatchGroup(1, b"g"))) == [False]
    assert settled(node.handle(DRIVER, wire.WatchGroup(2, b"h"))) == []
    assert settled(node.handle(DRIVER, wire.RemoveGroup(b"g"))) == [False]
    assert node.home.pool.free == units({"CPU": 0.0})
    assert settled(node.handle(DRIVER, wire.RemoveGroup(b"h"))) == []
    assert settled(node.handle(DRIVER, wire.WatchGroup(3, b"h"))) == [True]
    assert node.home.pool.free == node.home.pool.total


def test_tasks_of_a_group_take_from_its_bundles() -> None:
    node = scheduler(GPU=1.0)
    node.handle(DRIVER, create("g", {"CPU": 1}, {"CPU": 1, "GPU": 1}))
    node.handle(DRIVER, lease(1, {"CPU": 1}))  # finds nothing outside
    node.handle(DRIVER, lease(2, {"CPU": 1}, group=b"g", bundle=1))
    node.handle(DRIVER, lease(3, {"CPU": 1}, group=b"g"))
    assert Tell(DRIVER, granted(2, b"w1", group=b"g")) in node.handle(b"w1", ready("w1"))
    assert Tell(DRIVER, granted(3, b"w2", group=b"g")) in node.handle(b"w2", ready("w2"))


def test_a_removed_group_ends_its_occupants_and_comes_back_with_the_last() -> None:
    node = scheduler()
    node.handle(DRIVER, create("g", {"CPU": 1}, {"CPU": 1}))
    node.handle(DRIVER, lease(1, {"CPU": 1}, group=b"g"))
    node.handle(b"w1", ready("w1"))
    node.handle(DRIVER, place(group=b"g", restarts=-1))
    node.handle(b"w2", ready("w2"))
    node.handle(DRIVER, lease(2, {"CPU": 1}, group=b"g"))
    queued, running, stop1, actor, stop2 = node.handle(DRIVER, wire.RemoveGroup(b"g"))
    removed = "its placement group was removed"
    assert queued == Tell(DRIVER, wire.LeaseLost(2, removed, "group removed"))
    assert running == Tell(DRIVER, wire.LeaseLost(1, removed, "group removed"))
    assert actor == Tell(DRIVER, wire.ActorDied(b"a", f"actor Cls is dead: {removed}"))
    assert (stop1, stop2) == (Stop(b"w1"), Stop(b"w2"))
    node.worker_down(b"w1", "stopped")
    assert node.home.pool.free == units({"CPU": 1.0})
    node.worker_down(b"w2", "stopped")
    assert node.home.pool.free == node.home.pool.total
    (late,) = node.handle(DRIVER, lease(3, {"CPU": 1}, group=b"g"))
    assert late.message.fate == "group removed"


@pytest.mark.parametrize(
    ("bundles", "strategy", "why"),
    [([{"CPU": 3}], "PACK", "only"), ([{"CPU": 1}] * 2, "STRICT_SPREAD", "one node")],
)
def test_a_group_that_never_fits_is_warned_about_once(
    bundles: list[Mapping[str, float]], strategy: str, why: str
) -> None:
    node = scheduler()
    (warning,) = node.handle(DRIVER, create("g", *bundles, strategy=strategy))
    assert isinstance(warning, Warn)
    assert why in warning.text
    assert node.handle(DRIVER, wire.WatchGroup(1, b"g")) == []


def test_names_of_groups_are_taken_found_and_freed() -> None:
    node = scheduler()
    order = wire.CreateGroup(1, b"g", [{"CPU": 1.0}], "PACK", "x", "space")
    assert node.handle(DRIVER, order) == [Tell(DRIVER, wire.GroupCreated(1, False))]
    assert node.handle(DRIVER, order) == [Tell(DRIVER, wire.GroupCreated(1, True))]
    node.handle(DRIVER, wire.RemoveGroup(b"g"))
    assert node.handle(DRIVER, order) == [Tell(DRIVER, wire.GroupCreated(1, False))]
    node.handle(DRIVER, wire.RemoveGroup(b"g"))
    (told,) = node.handle(DRIVER, wire.AskGroups(3))
    assert [(row.order.group, row.state) for row in told.message.groups] == [(b"g", "REMOVED")]


@pytest.mark.parametrize(
    "message",
    [wire.Hello(b"x"), wire.LeasesWanted([]), wire.WorkerReady(b"nobody"), wire.ActorBuilt()],
    ids=lambda message: type(message).__name__,
)
def test_messages_out_of_place_are_refused(message: Any) -> None:
    with pytest.raises(wire.WireError):
        scheduler().handle(b"stranger", message)


AMOUNTS: list[Mapping[str, float]] = [
    {},
    {"CPU": 1.0},
    {"CPU": 0.3},
    {"CPU": 2.0},
    {"GPU": 1.0},
    {"CPU": 1.0, "GPU": 0.5},
]


class RandomEvents(RuleBasedStateMachine):
    """Any order of events: amounts are conserved, nobody is served twice, nobody is forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.node = scheduler(GPU=1.0)
        self.count = 0
        self.groups: list[bytes] = []
        self.starting: list[bytes] = []
        self.running: list[bytes] = []
        self.stopping: list[bytes] = []
        self.retired: list[bytes] = []
        self.open: dict[tuple[bytes, int], bool] = {}  # lease -> granted
        self.actors: dict[bytes, tuple[bytes, bytes]] = {}  # actor -> owner, worker
        self.building: list[bytes] = []  # workers
        self.blocked: set[bytes] = set()
        self.user_of: dict[bytes, Any] = {}

    # -- what instructions mean

    def perform(self, instructions: list[Any]) -> None:
        for instruction in instructions:
            match instruction:
                case Start(worker):
                    self.starting.append(worker)
                case Stop(worker):
                    assert worker in self.running
                    if worker not in self.stopping:
                        self.stopping.append(worker)
                case Tell(client, message):
                    self.told(client, message)

    def told(self, client: bytes, message: Any) -> None:
        match message:
            case wire.LeaseGranted(lease, worker):
                assert self.open[client, lease] is False
                self.open[client, lease] = True
                self.use(worker, (client, lease))
            case wire.LeaseLost(lease):  # a worker may even lease itself, and hears of it no more
                self.open.pop((client, lease), None)
            case wire.Retire():
                assert client not in self.user_of
                self.retired.append(client)
            case wire.ActorPlaced(actor, worker) if client == self.actors[actor][0]:
                assert self.actors[actor][1] == b""
                self.actors[actor] = client, worker
                self.building.append(worker)
                self.use(worker, actor)
            case wire.ActorRestarting(actor) if client == self.actors[actor][0]:
                assert self.actors[actor][1] != b""
                self.actors[actor] = client, b""
            case wire.ActorDied(actor) if actor in self.actors:
                del self.actors[actor]

    def use(self, worker: bytes, user: Any) -> None:
        assert worker in self.running
        assert worker not in self.stopping
        assert worker not in self.retired
        assert worker not in self.user_of
        self.user_of[worker] = user

    def clients(self) -> list[bytes]:
        return [DRIVER, *(worker for worker in self.running if worker in self.user_of)]

    # -- events

    def needs(self, data: st.DataObject, amounts: Mapping[str, float]) -> wire.Needs:
        group = data.draw(st.sampled_from([b"", *self.groups]))
        environment = data.draw(st.sampled_from(["", "", "red"]))
        return wire.Needs(dict(amounts), group=group, environment=environment)

    @rule(data=st.data(), amounts=st.sampled_from(AMOUNTS))
    def request(self, data: st.DataObject, amounts: Mapping[str, float]) -> None:
        self.count += 1
        client = data.draw(st.sampled_from(self.clients()))
        self.open[client, self.count] = False
        order = wire.RequestLease(self.count, self.needs(data, amounts))
        self.perform(self.node.handle(client, order))

    @rule(bundles=st.lists(st.sampled_from(AMOUNTS[1:]), min_size=1, max_size=3))
    def create_group(self, bundles: list[Mapping[str, float]]) -> None:
        self.count += 1
        self.groups.append(str(self.count).encode())
        order = wire.CreateGroup(1, self.groups[-1], [dict(b) for b in bundles], "PACK")
        self.perform(self.node.handle(DRIVER, order))

    @rule(data=st.data())
    def remove_group(self, data: st.DataObject) -> None:
        if self.groups:
            group = data.draw(st.sampled_from(self.groups))
            self.groups.remove(group)
            self.perform(self.node.handle(DRIVER, wire.RemoveGroup(group)))

    @rule(data=st.data(), amounts=st.sampled_from(AMOUNTS))
    def place(self, data: st.DataObject, amounts: Mapping[str, float]) -> None:
        self.count += 1
        client = data.draw(st.sampled_from(self.clients()))
        actor = str(self.count).encode()
        self.actors[actor] = client, b""
        needs, restarts = self.needs(data, amounts), data.draw(st.sampled_from([0, 0, 2, -1]))
        order = wire.PlaceActor(actor, "C", b"", {}, needs, max_restarts=restarts)
        self.perform(self.node.handle(client, order))

    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        granted = [key for key, there in self.open.items() if there]
        if granted:
            self.return_lease(data.draw(st.sampled_from(granted)))

    def return_lease(self, key: tuple[bytes, int]) -> None:
        del self.open[key]
        for worker in [worker for worker, user in self.user_of.items() if user == key]:
            del self.user_of[worker]
            self.blocked.discard(worker)
        self.perform(self.node.handle(key[0], wire.ReturnLease(key[1])))

    @rule()
    def become_ready(self) -> None:
        if self.starting:
            worker = self.starting.pop(0)
            self.running.append(worker)
            self.perform(self.node.handle(worker, wire.WorkerReady(worker)))

    @rule(error=st.sampled_from(["", "", "story"]))
    def build(self, error: str) -> None:
        if self.building:
            self.perform(self.node.handle(self.building.pop(0), wire.ActorBuilt(error)))

    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        if self.actors:
            actor = data.draw(st.sampled_from(sorted(self.actors)))
            restart = data.draw(st.booleans())
            self.perform(self.node.handle(DRIVER, wire.KillActor(actor, "enough", restart)))

    @rule(data=st.data())
    def block_or_go_on(self, data: st.DataObject) -> None:
        leased = sorted(worker for worker, user in self.user_of.items() if type(user) is tuple)
        if leased:
            worker = data.draw(st.sampled_from(leased))
            self.blocked ^= {worker}
            self.perform(self.node.handle(worker, wire.Blocked(worker in self.blocked)))

    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        if self.running or self.starting:
            self.down(data.draw(st.sampled_from(self.running + self.starting)))

    def down(self, worker: bytes) -> None:
        for places in (self.running, self.starting, self.stopping, self.building):
            while worker in places:
                places.remove(worker)
        self.blocked.discard(worker)
        self.user_of.pop(worker, None)
        for key in [key for key in self.open if key[0] == worker]:
            del self.open[key]
        self.perform(self.node.worker_down(worker, "died"))
        for actor, (owner, _) in list(self.actors.items()):
            assert owner != worker, f"{actor!r} outlived its owner"

    # -- what must hold

    @invariant()
    def amounts_are_conserved(self) -> None:
        for name, total in self.node.home.pool.total.items():
            assert self.held(self.node.home.pool, name) + self.node.home.pool.free[name] == total

    @invariant()
    def bundles_are_conserved(self) -> None:
        for bundle in self.reserved():
            assert bundle.pool.total == bundle.share.amounts
            for name, total in bundle.pool.total.items():
                assert self.held(bundle.pool, name) + bundle.pool.free[name] == total

    @invariant()
    def nobody_shares_a_whole_gpu(self) -> None:
        used = Counter[str]()
        for share in self.shares():
            if share.pool is self.node.home.pool:
                used.update(share.devices)
        assert all(amount <= UNIT for amount in used.values())

    def reserved(self) -> list[Bundle]:
        groups = self.node._groups
        placed = [bundle for group in groups._groups.values() for bundle in group.bundles]
        return placed + groups._leaving

    def shares(self) -> list[Share]:
        return [*shares(self.node), *(bundle.share for bundle in self.reserved())]

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        assert_nobody_waits_in_vain(self.node)

    def held(self, pool: Pool, name: str) -> int:
        return sum(share.amounts.get(name, 0) for share in self.shares() if share.pool is pool)

    def teardown(self) -> None:
        """Let everything run to its end: each lease is granted, each actor placed, all is free."""
        for group in self.groups:
            self.perform(self.node.handle(DRIVER, wire.RemoveGroup(group)))
        for _ in range(1000):
            if not (self.open or self.actors or self.starting or self.stopping):
                break
            self.move_on()
        assert not self.open
        assert not self.actors
        for worker in list(self.running):
            self.down(worker)
        assert self.node.home.pool.free == self.node.home.pool.total

    def move_on(self) -> None:
        for worker in list(self.stopping):
            self.down(worker)
        while self.starting:
            self.become_ready()
        while self.building:
            self.build("")
        for key in [key for key, there in self.open.items() if there]:
            if key in self.open:
                self.return_lease(key)
        for actor, (_, worker) in list(self.actors.items()):
            if worker and actor in self.actors:
                self.perform(self.node.handle(DRIVER, wire.KillActor(actor, "enough")))


RandomEvents.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestRandomEvents = RandomEvents.TestCase
