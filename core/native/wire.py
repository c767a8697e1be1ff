"""What processes say to each other.

A frame is a fixed header and a payload. The three hot kinds are packed by hand: CALL and REPLY,
whose payload is a bare pickle stream when the value is small and refers to nothing (flag PLAIN),
else a msgpack `Payload`; everything else is a RECORD, one of the typed messages below in msgpack.
Nothing in this file unpickles: pickle streams are opaque bytes here, and decoding a malformed
frame raises `WireError`.
"""

from __future__ import annotations

import struct
from typing import Annotated, Any, Final, Literal

import msgspec

from rllib.core.exceptions import CoreError
from rllib.core.measurements import Measurement

HEADER: Final = struct.Struct("<IBBHIQ")
"""Payload length, kind, flags, number of returns, target (interned number), number of the call:
that of its first reference, or another one of the caller's that no reference has."""
_FLAGS_AT: Final = 5

CALL: Final = 1
REPLY: Final = 2
RECORD: Final = 3
ITEM: Final = 4
"""One result of a streaming call, whose index is in the place of the target."""

PLAIN: Final = 1
"""The payload is a pickle stream; without it, msgpack (`Payload`, or a list of them)."""
ERROR: Final = 2
"""REPLY: the value is the exception that was raised."""

RETURNED: Final = 4
"""REPLY: the call was not begun; the caller may send it elsewhere."""

LEAVING: Final = 8
"""REPLY: the worker takes no more calls; its lease is to be returned."""

STREAM: Final = 16
"""CALL: results are sent as ITEM frames, as they are yielded."""

MAX_PAYLOAD: Final = 2**30


class WireError(CoreError):
    """A peer sent what no honest peer sends."""


Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""Of an object, a call, a file: what fits into a header and into a reference."""


class Message(msgspec.Struct, array_like=True):
    """Base of everything that travels as msgpack."""


# -- values ------------------------------------------------------------------------------------


class BlockAt(Message, tag="block"):
    """Where the large buffers of a value lie: one block, the buffers aligned one after another."""

    arena: bytes
    segment: Number
    offset: Number
    sizes: list[Number]


class FileAt(Message, tag="file"):
    """The same in a file, which is named after the process that made it and a number."""

    maker: bytes
    number: Number
    sizes: list[Number]


class RefAt(Message):
    """A reference inside a value; with its value, if that is at hand, to save a round trip."""

    owner: bytes
    number: Number
    value: Payload | None = None
    first: int = 0
    """The number of the first of the results of its call."""


class Payload(Message):
    """A serialised value: the pickle stream, and in stream order what it refers to."""

    body: bytes
    buffers: list[bytes] = []
    block: BlockAt | FileAt | None = None
    refs: list[RefAt] = []
    label: str = ""
    """Arguments only: what the caller wants the call to be named in errors."""


# -- what tasks and actors need, and what they are given -----------------------------------------


class Needs(Message):
    """What a task or an actor must be given before it can run."""

    resources: dict[str, float]
    group: bytes = b""
    """Placement group; empty for none."""
    bundle: int = -1
    """Of that group; -1 for any."""
    captures: bool = False
    """Whether what it starts itself goes to the same group."""
    node: str = ""
    """Node id in hexadecimal; empty for any."""
    soft: bool = False
    """Whether another node will do should that one not be there."""
    environment: str = ""
    """Variables, working directory and modules; see `runtime_env`."""


class Assignment(Message):
    """What the node has given to a lease or an actor."""

    resources: dict[str, float]
    gpus: list[str] = []
    """Devices that it may use."""
    group: bytes = b""
    captures: bool = False
    environment: str = ""
    actor: bytes = b""
    name: str = ""
    namespace: str = ""
    restarts: int = 0
    """Times that the actor was started again because its process had died."""


Fate = Literal["", "group removed", "unschedulable", "out of memory"]
"""Why something does not run (any more); empty where its process died or could not start."""


# -- between peers (any two processes) ---------------------------------------------------------


class Hello(Message, tag="hello"):
    """First on every connection, from the side that connected."""

    worker: bytes


class Intern(Message, tag="intern"):
    """Caller to callee: from now on CALL's ``target`` means this function or method.

    ``kind`` is "method" (of the actor there), "function" or "actor" (constructs it); the latter
    two bring their code.
    """

    target: Number
    kind: str
    name: str
    blob: bytes = b""
    concurrency: int = 1
    groups: dict[str, int] = {}
    """An actor's concurrency groups."""
    shape: bytes = b""
    """An actor's `ActorShape`, for handles of itself."""
    group: str = ""
    """A method's concurrency group."""
    backpressure: int = -1
    max_calls: int = 0


class SegmentAt(Message, tag="segment"):
    """A segment that later payloads refer to; its file descriptor comes along."""

    arena: bytes
    number: Number
    size: int


class Fetch(Message, tag="fetch"):
    """Borrower to owner: REPLY with the value of your object, as soon as it is there."""

    seq: Number
    number: Number
    lost: bool = False
    """I had it, in a file that is not there any more."""


class Lent(Message, tag="lent"):
    """Borrower to owner: I passed your object on to process ``to``; count it as a borrower."""

    number: Number
    to: bytes


class Released(Message, tag="released"):
    """Borrower to owner: (object number, how many times I had received it), not held any more."""

    items: list[tuple[int, int]]


class Freed(Message, tag="freed"):
    """Reader to arena owner: (segment, offset) of blocks handed to me that I am done with.

    Also of files, and of the old places of objects that were `Moved`; see `objects.Handed`.
    """

    blocks: list[tuple[int, int]]


class Moved(Message, tag="moved"):
    """Owner to borrower: the value of my object lies in a file now. Answer with `Freed`, under the
    number of the ``move``, once you do not read its old place any more."""

    move: Number
    number: Number
    file: FileAt


class Recall(Message, tag="recall"):
    """Caller to callee: hand back those calls of mine that you have not begun."""

    calls: list[Number]


class Cancel(Message, tag="cancel"):
    """Caller to callee: do not begin that call of mine, or stop it."""

    seq: Number
    force: bool
    recursive: bool


class CancelRef(Message, tag="cancel_ref"):
    """Borrower to owner: cancel the call that makes your object."""

    number: Number
    force: bool
    recursive: bool


class Taken(Message, tag="taken"):
    """Caller to callee: so many results of that streaming call were taken."""

    seq: Number
    total: Number


class Assigned(Message, tag="assigned"):
    """Caller to callee, before the first call of a lease or actor: what the node has given you."""

    assignment: Assignment


class Host(Message, tag="host"):
    """Worker to driver: order this detached actor for me, own it, and construct it."""

    order: PlaceActor
    constructor: Intern
    args: Payload


# -- from a client (driver or worker) to its node service ---------------------------------------


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


Topic = Literal["tasks", "objects", "idle leases"]


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


# -- from the node service to a client -----------------------------------------------------------


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
    """Others wait for resources: return those of these ``leases`` that have nothing to do, or else
    one that is next done. Returning others would free nothing: they have lent their CPUs."""

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
    node: str


class GroupTable(Message, tag="group_table"):
    """Answer to `AskGroups`: those that live and those that were removed."""

    seq: int
    groups: list[GroupState]


# -- between the node service and its template ---------------------------------------------------


class Boot(Message, tag="boot"):
    """Node to template, first: the session, and what workers are to find imported."""

    directory: str
    preload: list[str]


class Make(Message, tag="make"):
    """Node to template: make a worker; its control socket and its output pipe come along."""

    worker: bytes
    driver: bytes
    namespace: str
    store_bytes: int
    cell: int
    """Its cell in the node's `Ledger`."""


class Kill(Message, tag="kill"):
    """Node to template: end that worker, and what it has started, at once."""

    worker: bytes


class Made(Message, tag="made"):
    """Template to node: the worker's process id."""

    worker: bytes
    pid: int


class Exited(Message, tag="exited"):
    """Template to node: the worker ended, with this status of ``waitpid``."""

    worker: bytes
    status: int


class Notice(Message, tag="notice"):
    """Template to node: something that the user should know."""

    text: str


Record = (
    Hello
    | Intern
    | SegmentAt
    | Fetch
    | Lent
    | Released
    | Moved
    | Freed
    | Recall
    | Cancel
    | CancelRef
    | Taken
    | Assigned
    | Host
    | WorkerReady
    | RequestLease
    | ReturnLease
    | PlaceActor
    | ActorBuilt
    | ActorExits
    | WatchActor
    | FindActor
    | KillActor
    | Accuse
    | AskResources
    | AskAll
    | Account
    | Measured
    | AskMeasurements
    | AskNames
    | AskActors
    | AskWorkers
    | CreateGroup
    | RemoveGroup
    | WatchGroup
    | AskGroups
    | Blocked
    | NeedRoom
    | MakeRoom
    | RoomMade
    | LeaseGranted
    | LeaseLost
    | LeasesWanted
    | Retire
    | ActorPlaced
    | ActorRestarting
    | ActorDied
    | ActorFound
    | MeasurementsFound
    | Resources
    | Survey
    | Surveyed
    | Told
    | Names
    | ActorTable
    | WorkerTable
    | GroupCreated
    | GroupSettled
    | GroupTable
    | Boot
    | Make
    | Kill
    | Made
    | Exited
    | Notice
)

_encode = msgspec.msgpack.Encoder().encode
_decode_record = msgspec.msgpack.Decoder(Record).decode
_decode_payload = msgspec.msgpack.Decoder(Payload).decode
_decode_payloads = msgspec.msgpack.Decoder(list[Payload]).decode


def encode_record(record: Any) -> bytes:
    """A typed message without a frame, for sockets that keep boundaries."""
    return _encode(record)


def record_frame(record: Any) -> bytes:
    """A typed message as a frame."""
    payload = _encode(record)
    return HEADER.pack(len(payload), RECORD, 0, 0, 0, 0) + payload


def call_frame(target: int, seq: int, returns: int, payload: Payload, flags: int = 0) -> bytes:
    """A call with arguments that refer to something."""
    data = _encode(payload)
    return HEADER.pack(len(data), CALL, flags, returns, target, seq) + data


def plain_call_frame(target: int, seq: int, returns: int, body: bytes, flags: int = 0) -> bytes:
    """A call with arguments that are a pickle stream alone; an empty one for no arguments."""
    return HEADER.pack(len(body), CALL, flags | PLAIN, returns, target, seq) + body


def reply_frame(seq: int, payloads: list[Payload]) -> bytes:
    """The results of a call, one for each return value."""
    data = _encode(payloads)
    return HEADER.pack(len(data), REPLY, 0, 0, 0, seq) + data


def plain_reply_frame(seq: int, body: bytes) -> bytes:
    """The only result of a call, a pickle stream alone."""
    return HEADER.pack(len(body), REPLY, PLAIN, 0, 0, seq) + body


def item_frame(seq: int, index: int, payload: Payload) -> bytes:
    """One result of a streaming call."""
    data = _encode([payload])
    return HEADER.pack(len(data), ITEM, 0, 0, index, seq) + data


def plain_item_frame(seq: int, index: int, body: bytes) -> bytes:
    """One result of a streaming call, a pickle stream alone."""
    return HEADER.pack(len(body), ITEM, PLAIN, 0, index, seq) + body


def stream_end_frame(seq: int, length: int) -> bytes:
    """A streaming call has yielded all, ``length`` results."""
    return HEADER.pack(0, REPLY, STREAM, 0, length, seq)


def returned_frame(seq: int) -> bytes:
    """A call that was not begun."""
    return HEADER.pack(0, REPLY, RETURNED, 0, 0, seq)


def error_frame(seq: int, body: bytes) -> bytes:
    """The pickled exception of a call, in place of all its results."""
    return HEADER.pack(len(body), REPLY, PLAIN | ERROR, 0, 0, seq) + body


def flagged(frame: bytes, flag: int) -> bytes:
    """The same frame with one more flag."""
    return frame[:_FLAGS_AT] + bytes([frame[_FLAGS_AT] | flag]) + frame[_FLAGS_AT + 1 :]


def read_record(data: bytes) -> Any:
    """The message of a RECORD frame. Raises `WireError`."""
    return _read(_decode_record, data)


def read_payload(data: bytes) -> Payload:
    """The arguments of a CALL frame. Raises `WireError`."""
    payload: Payload = _read(_decode_payload, data)
    return payload


def read_payloads(data: bytes, count: int) -> list[Payload]:
    """The ``count`` results of a REPLY or ITEM frame. Raises `WireError`."""
    payloads: list[Payload] = _read(_decode_payloads, data)
    if len(payloads) != count:
        raise WireError(f"{len(payloads)} results came where {count} were to come")
    return payloads


def _read(decode: Any, data: bytes) -> Any:
    try:
        return decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"malformed message: {error}") from error
