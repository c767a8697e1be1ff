"""From a client, which is the driver or a worker, to its node service."""

from __future__ import annotations

from typing import Literal

from rllib.core.labels import Selector
from rllib.core.measurements import Measurement
from rllib.core.native.wire.message import Message
from rllib.core.native.wire.needs import Needs


class WorkerReady(Message, tag="worker_ready"):
    """A worker listens on its socket."""

    worker: bytes


class RequestLease(Message, tag="request_lease"):
    """Lend me a worker."""

    lease: int
    needs: Needs


class ReturnLease(Message, tag="return_lease"):
    """I am done with the worker, or do not need one any more."""

    lease: int
    spoiled: bool = False
    """The worker takes no more calls."""


class PlaceActor(Message, tag="place_actor"):
    """Give me a process for an actor; I construct it there myself."""

    actor: bytes
    class_name: str
    shape: bytes
    """`ActorShape`, for who finds the actor by its name."""
    resources: dict[str, float]
    """Held as long as it lives."""
    needs: Needs
    """... and while it is being constructed."""
    name: str = ""
    namespace: str = ""
    seq: int = 0
    """With a name or an owner: of the `ActorFound` that says whether the name was taken."""
    max_restarts: int = 0
    owner: bytes = b""
    """The process that constructs it, with which it ends; empty for the sender."""


class ActorBuilt(Message, tag="actor_built"):
    """Worker: the constructor of my actor returned; or raised, then ``error`` is its story."""

    error: str = ""
    cause: bytes = b""
    """The pickled `TaskError` of it; opaque to the node."""


class ActorExits(Message, tag="actor_exits"):
    """Worker: my actor ends because it wants to, so it is not started again."""

    reason: str


class WatchActor(Message, tag="watch_actor"):
    """Tell me where the actor is, and when it dies."""

    actor: bytes


class FindActor(Message, tag="find_actor"):
    """Who is the living actor of that name?"""

    seq: int
    name: str
    namespace: str


class KillActor(Message, tag="kill_actor"):
    """End the actor; ``reason`` is for whoever calls it afterwards."""

    actor: bytes
    reason: str
    restart: bool = False
    """End its process only, so that it is started again if it may be."""


class AskNames(Message, tag="ask_names"):
    """Answer with `Names`."""

    seq: int


class CreateGroup(Message, tag="create_group"):
    """Reserve these bundles together, as soon as that is possible."""

    seq: int
    group: bytes
    bundles: list[dict[str, float]]
    strategy: str
    name: str = ""
    """With one, the answer is `GroupCreated`."""
    namespace: str = ""
    labels: tuple[Selector, ...] = ()
    """What labels the node of each bundle must have."""


class RemoveGroup(Message, tag="remove_group"):
    """Give the bundles back; whoever uses them ends."""

    group: bytes


class WatchGroup(Message, tag="watch_group"):
    """Answer with `GroupSettled` when it is placed or removed."""

    seq: int
    group: bytes


class AskGroups(Message, tag="ask_groups"):
    """Answer with `GroupTable`."""

    seq: int


class Accuse(Message, tag="accuse"):
    """That process sends what cannot be read, ``offence``; end it, for no call to it can end."""

    process: bytes
    offence: str


class AskActors(Message, tag="ask_actors"):
    """Answer with `ActorTable`."""

    seq: int


class AskWorkers(Message, tag="ask_workers"):
    """Answer with `WorkerTable`."""

    seq: int


class AskResources(Message, tag="ask_resources"):
    """Answer with `Resources`; what those leases hold counts as free, as nothing runs on them."""

    seq: int
    idle: list[tuple[bytes, list[int]]] = []
    """Leases by the process that has them."""


class AskNodes(Message, tag="ask_nodes"):
    """Answer with `NodeTable`."""

    seq: int


Topic = Literal["tasks", "objects", "idle leases", "stores"]


class AskAll(Message, tag="ask_all"):
    """Ask all whom it may concern, and pass their answers on; see `census`."""

    seq: int
    topic: Topic


class Account(Message, tag="account"):
    """Answer to `Survey`; for the node, opaque."""

    survey: int
    body: bytes


class Measured(Message, tag="measured"):
    """What my process has measured since it last said so."""

    measurements: list[Measurement]


class AskMeasurements(Message, tag="ask_measurements"):
    """Answer with `MeasurementsFound`."""

    seq: int


class Blocked(Message, tag="blocked"):
    """Worker: my task waits for another one (True), or goes on (False)."""

    waiting: bool


class NeedRoom(Message, tag="need_room"):
    """I need so much shared memory: ask the others. Answer with `RoomMade`."""

    seq: int
    size: int
