"""From the node service to a client."""

from __future__ import annotations

from rllib.core.measurements import Measurement
from rllib.core.native.wire.message import Message
from rllib.core.native.wire.needs import Assignment, Fate
from rllib.core.native.wire.request import CreateGroup, Topic


class LeaseGranted(Message, tag="lease_granted"):
    """The worker is yours until you return it."""

    lease: int
    worker: bytes
    assignment: Assignment


class LeaseLost(Message, tag="lease_lost"):
    """The worker died, or there will be none."""

    lease: int
    reason: str
    fate: Fate = ""


class LeasesWanted(Message, tag="leases_wanted"):
    """Others wait for resources: of each kind of which one of these ``leases`` is, return those
    that have nothing to do, or else one that is next done. Returning leases of which all have lent
    their CPUs would free nothing."""

    leases: list[int]


class Retire(Message, tag="retire"):
    """You are one idle worker too many: exit as soon as nobody needs what you own."""


class MakeRoom(Message, tag="make_room"):
    """Another process needs ``size`` bytes of shared memory: answer with `RoomMade`."""

    seq: int
    size: int


class RoomMade(Message, tag="room_made"):
    """Bytes that were moved to disk; from a client to the node, and from the node to the client
    that asked, when all others have answered."""

    seq: int
    moved: int


class ActorPlaced(Message, tag="actor_placed"):
    """The actor's process, in which its owner is to construct it."""

    actor: bytes
    worker: bytes
    assignment: Assignment
    may_restart: bool = False


class ActorRestarting(Message, tag="actor_restarting"):
    """The actor's process is gone; it is placed again soon."""

    actor: bytes
    story: str
    unbegun: bool = False
    """Its constructor had not returned, so no call had begun."""
    fate: Fate = ""


class ActorDied(Message, tag="actor_died"):
    """The actor is dead; ``story`` says which it was, and how it died."""

    actor: bytes
    story: str
    fate: Fate = ""
    cause: bytes = b""
    """The pickled `TaskError` of its constructor."""


class ActorFound(Message, tag="actor_found"):
    """Answer to `FindActor`, and to `PlaceActor` of a name that is taken; empty id for none."""

    seq: int
    actor: bytes = b""
    shape: bytes = b""


class Resources(Message, tag="resources"):
    """Answer to `AskResources`."""

    seq: int
    total: dict[str, float]
    free: dict[str, float]
    labels: dict[str, str]


class NodeRow(Message):
    """One row of `NodeTable`."""

    node: str
    """Its id in hexadecimal."""
    host: str
    address: str
    """Where its service listens; empty where it does not."""
    total: dict[str, float]
    labels: dict[str, str]
    death: str = ""
    """How it died; empty while it lives."""


class NodeTable(Message, tag="node_table"):
    """Answer to `AskNodes`: first the one with the scheduler, last those that died."""

    seq: int
    nodes: list[NodeRow]


class Printed(Message, tag="printed"):
    """To a driver of a node service: a worker has printed this line."""

    label: str
    pid: int
    text: str
    left_out: int = 0
    """In place of so many lines, which came faster than they could be told."""


class Survey(Message, tag="survey"):
    """Somebody wants to know: answer with `Account`."""

    survey: int
    topic: Topic


class Surveyed(Message, tag="surveyed"):
    """Answer to `AskAll`: the processes that are asked, of each of which a `Told` will come."""

    seq: int
    processes: list[bytes]


class Told(Message, tag="told"):
    """What a process has said to `AskAll`; nothing where it died before."""

    seq: int
    process: bytes
    body: bytes


class MeasurementsFound(Message, tag="measurements_found"):
    """Answer to `AskMeasurements`: what all processes have measured."""

    seq: int
    found: list[Measurement]


class Names(Message, tag="names"):
    """Answer to `AskNames`: namespace and name of every living actor that has one."""

    seq: int
    names: list[tuple[str, str]]


class ActorRow(Message):
    """One row of `ActorTable`."""

    actor: bytes
    class_name: str
    state: str
    """As in `rllib.core.facts.ActorFacts`."""
    name: str
    namespace: str
    worker: bytes
    restarts: int
    detached: bool
    group: bytes
    resources: dict[str, float]
    death: str = ""
    """How it died."""


class ActorTable(Message, tag="actor_table"):
    """Answer to `AskActors`: those that live, and the last that died."""

    seq: int
    actors: list[ActorRow]


class WorkerRow(Message):
    """One row of `WorkerTable`."""

    worker: bytes
    pid: int


class WorkerTable(Message, tag="worker_table"):
    """Answer to `AskWorkers`: the processes there are, first the driver."""

    seq: int
    workers: list[WorkerRow]


class GroupCreated(Message, tag="group_created"):
    """Answer to `CreateGroup`."""

    seq: int
    name_taken: bool


class GroupSettled(Message, tag="group_settled"):
    """Answer to `WatchGroup`."""

    seq: int
    removed: bool


class GroupState(Message):
    """One row of `GroupTable`."""

    order: CreateGroup
    state: str
    nodes: list[str]
    """Of each bundle; empty where none is reserved."""


class GroupTable(Message, tag="group_table"):
    """Answer to `AskGroups`: those that live and those that were removed."""

    seq: int
    groups: list[GroupState]
