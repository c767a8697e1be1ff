"""Between peers: any two processes."""

from __future__ import annotations

from rllib.core.native.wire.message import Message, Number
from rllib.core.native.wire.needs import Assignment
from rllib.core.native.wire.request import PlaceActor
from rllib.core.native.wire.values import FileAt, Payload


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
    direct: bool = False
    """Send it yourself: whom you have named has it no more."""
    look: bool = False
    """I do not need the value: `Found` will do, where it is not at hand for me."""


class Found(Message, tag="found"):
    """Owner to borrower, instead of a REPLY: that value exists, in so many bytes, on the node of
    process ``at``."""

    seq: Number
    at: bytes
    size: Number


class FetchFor(Message, tag="fetch_for"):
    """Process to its node service: REPLY with the value of an object that is owned on another node.

    Node services ask each other in the same way for a copy (`Elsewhere`).
    """

    seq: Number
    owner: bytes
    number: Number
    lost: bool = False


class Elsewhere(Message, tag="elsewhere"):
    """Instead of a REPLY to a node service: that other one has a copy, or is about to have it;
    empty from one that has none any more."""

    seq: Number
    process: bytes


class Keep(Message, tag="keep"):
    """Worker to its node service: keep this result, whose owner is on another node, until he frees
    it or ends. Answered by `Stays`."""

    seq: Number
    owner: bytes
    number: Number
    value: Payload


class Stays(Message, tag="stays"):
    """Node service to worker: it is kept under that number; 0 where its owner is gone."""

    seq: Number
    claim: Number


class Wanted(Message, tag="wanted"):
    """Caller to callee on another node: somebody waits for the result of that call, so it is not to
    stay with you."""

    seq: Number


class Claimed(Message, tag="claimed"):
    """Owner to node service: I know of what you keep under that number, and shall free it."""

    claim: Number


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
