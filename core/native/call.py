"""A call as its caller keeps it until it is answered, and what it calls: a function, an actor."""

from __future__ import annotations

import pickle
import weakref
from collections import deque
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple

from rllib.core.exceptions import CoreError, TaskError
from rllib.core.native.objects import NativeRef, Outcome, Stored
from rllib.core.native.peers import Peer
from rllib.core.native.streams import NativeStream
from rllib.core.records import RetryOn
from rllib.core.runtime import ActorLink


class Target:
    """What is called: a function or class with its code, or a method of an actor.

    ``details`` are further fields of the `wire.Intern` that introduces it to a callee.
    """

    __slots__ = ("blob", "details", "expected_s", "kind", "name")

    def __init__(self, kind: str, name: str, blob: bytes = b"", **details: Any) -> None:
        self.kind = kind
        self.name = name
        self.blob = blob
        self.details = details
        self.expected_s = float("inf")
        """How long a call takes, by those that were timed; infinite before the first."""

    def took(self, seconds: float) -> None:
        """One call was timed."""
        known = self.expected_s < float("inf")
        self.expected_s = (self.expected_s + seconds) / 2 if known else seconds


FETCH = Target("fetch", "")

NOTHING = Stored(pickle.dumps(None, 5), [], [])
"""The value of the reference that says that a stream has ended."""


class Call:
    """One request that a peer has not answered; its references wait here."""

    __slots__ = (
        "actor",
        "args",
        "cancelled",
        "label",
        "parent",
        "refs",
        "retries",
        "retry_on",
        "seq",
        "stream",
        "target",
    )

    def __init__(
        self,
        refs: Sequence[NativeRef],
        args: Stored,
        target: Target,
        actor: NativeActor | None = None,
        retries: int = 0,
        retry_on: RetryOn = False,
        label: str = "",
    ) -> None:
        self.refs = refs
        self.args = args
        self.target = target
        self.actor = actor  # keeps the actor alive until it has answered
        self.retries = retries
        """Times that it may be run again; -1 without limit."""
        self.retry_on = retry_on
        self.label = label
        """What to name it in errors, where that is not the target's name."""
        self.seq = 0
        """Its number, once it was sent: that of its first reference, if it has one."""
        self.stream: weakref.ref[NativeStream] | None = None
        """Where results go that come one by one; then ``refs`` is the reference of its end."""
        self.parent = current_job.get()
        self.cancelled = False

    def resolve_all(self, outcome: Outcome) -> None:
        """Give every reference the same outcome: an error, or nothing."""
        for ref in self.refs:
            ref.resolve(outcome)
        stream = self.live_stream()
        if stream is not None:
            stream.end()

    def live_stream(self) -> NativeStream | None:
        """The stream, while somebody takes from it."""
        return None if self.stream is None else self.stream()

    @property
    def may_retry(self) -> bool:
        """Whether it may run again should its process end."""
        return not self.cancelled and self.retries != 0

    def use_retry(self) -> bool:
        """Take one of the retries that are left; whether there was one."""
        if not self.may_retry:
            return False
        self.retries -= self.retries > 0
        return True

    def retries_after(self, error: Exception) -> bool:
        """Whether an exception of user code is to be followed by another run."""
        if self.retry_on is False or not isinstance(error, TaskError):
            return False
        matches = self.retry_on is True or isinstance(error.cause, self.retry_on)
        return matches and self.use_retry()

    @property
    def name(self) -> str:
        """What to call it in errors."""
        return self.label or self.target.name

    @property
    def peer(self) -> Peer | None:
        """Who has it, or will be the one to get it."""
        return None if self.actor is None else self.actor.peer


current_job: ContextVar[Any] = ContextVar("current_job", default=None)
"""In a worker: the job whose code runs in this thread or coroutine. Calls that it makes are its
children, which matters when it is cancelled."""


class NativeActor(ActorLink):
    """An actor as its callers see it: where it is, or what waits for it, or how it died."""

    __slots__ = ("build", "death", "doom", "life", "may_restart", "methods", "peer", "queue")

    def __init__(self, actor_id: bytes, life: NativeRef | None) -> None:
        super().__init__(actor_id)
        self.life = life
        self.peer: Peer | None = None
        self.queue: deque[Call] = deque()
        self.methods: dict[tuple[str, str, int], Target] = {}
        self.death: CoreError | None = None
        self.build: Build | None = None
        """In its owner, as long as it may have to be constructed (again)."""
        self.may_restart = False
        self.doom: Literal["", "process", "actor"] = ""
        """What of it this process has had killed, of whose end it has not heard yet."""


class Build(NamedTuple):
    """The constructor of an actor, and its arguments."""

    constructor: Target
    args: Stored
