"""Engine 2 in one process: the driver and every worker have one `NativeRuntime`.

::

    user code --> NativeRuntime --> Calls, Tasks --> Peers --> sockets --> other processes
                       |                |
                       |             Values --> Arena (shared memory)
                       +--> Node (in the driver itself; over a socket from a worker)

One lock guards all state; it is held for microseconds and never while user code runs, while a
value is pickled, or while somebody waits. One reactor reads all sockets (see `reactor`).
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rllib.core import trace
from rllib.core.actor import TERMINATE
from rllib.core.exceptions import (
    ActorAlreadyExistsError,
    GetTimeoutError,
    ObjectLostError,
    RuntimeClosedError,
    to_raise,
)
from rllib.core.facts import Where
from rllib.core.native import wire
from rllib.core.native.actor_calls import ActorCalls
from rllib.core.native.arena import Block
from rllib.core.native.call import Build, Call, NativeActor, Target
from rllib.core.native.calls import Calls
from rllib.core.native.cancelling import Cancelling
from rllib.core.native.connection import Frame
from rllib.core.native.failures import dump_error
from rllib.core.native.leases import Kind, Task
from rllib.core.native.ledger import Ledger
from rllib.core.native.lineage import Lineage, is_lost
from rllib.core.native.objects import BorrowedRef, NativeRef, Reports, SiblingRef, Stored
from rllib.core.native.peers import Peer, Peers
from rllib.core.native.places import Places
from rllib.core.native.placing import Place, Placing
from rllib.core.native.questions import NodeQuestions
from rllib.core.native.reactor import Reactor
from rllib.core.native.spillfiles import SPILL, FileLostError, SpillFiles
from rllib.core.native.streams import UNLIMITED, NativeStream
from rllib.core.native.tasks import Tasks
from rllib.core.native.values import EMPTY, Values
from rllib.core.object_ref import ObjectRef
from rllib.core.records import (
    ActorOptions,
    ActorShape,
    Args,
    CallOptions,
    Kwargs,
    RemoteCode,
    TaskOptions,
)
from rllib.core.runtime import ActorLink, ResultStream, Waitable

ASYNC_CONCURRENCY = 1000

ANSWER_S = 2.0
"""How long to wait for other processes to move values to disk; then the new one goes there."""

FREED_S = 0.1
"""How long to wait for the news of what they have freed."""


class NodeLink(ABC):
    """The way to this process's node service."""

    @abstractmethod
    def tell(self, record: Any) -> None:
        """Send it a message; answers come through `NativeRuntime.on_node`."""

    @abstractmethod
    def close(self) -> None:
        """The runtime ends."""

    @abstractmethod
    def abandon(self) -> None:
        """In a forked child: close what was inherited; the parent goes on with its own."""


class Plan(NamedTuple):
    """What calls of a function with the same options have in common."""

    options: TaskOptions
    code: RemoteCode
    inherited: Place
    target: Target
    kind: Kind


_MAX_PLANS = 1024


class NativeRuntime(NodeQuestions):
    """See the module's text. ``node`` is set by whoever makes the runtime."""

    node: NodeLink
    recorder: trace.Recorder | None = None
    """Of a session that is being recorded."""
    driver: bytes
    """The process that owns detached actors."""

    def __init__(self, me: bytes, directory: Path, namespace: str, ledger: Ledger) -> None:
        super().__init__()
        self.me = me
        self._directory = directory
        self.namespace = namespace
        self.lock = threading.RLock()
        self.reactor = Reactor(self.lock, self.flush)
        self.reports = Reports(self.reactor.nudge)
        self.peers = Peers(me, directory, self.reactor, self._on_frame, self._on_gone, self._accuse)
        files = SpillFiles(directory / SPILL, me)
        self.places = Places(
            me, self.lock, self.peers, self.reports, ledger, files, self._find_room
        )
        self.values = Values(me, self.peers, self.places, self.reports)
        self.calls = Calls(self.peers, self.values, self._numbers)
        self.actor_calls = ActorCalls(self.peers, self.calls, self._tell_node)
        self.tasks = Tasks(self.peers, self.calls, self._tell_node)
        self.lineage = Lineage(me, lambda: self._new_refs(1)[0], self.tasks.submit)
        self.cancelling = Cancelling(self.peers, self.calls, self.actor_calls, self.tasks)
        self._plans: dict[int, Plan] = {}
        self._targets: weakref.WeakKeyDictionary[RemoteCode, dict[tuple[int, int], Target]] = (
            weakref.WeakKeyDictionary()
        )
        self.placing = Placing(directory)

    def _tell_node(self, record: Any) -> None:
        self.node.tell(record)

    # -- tasks ---------------------------------------------------------------------------------

    def submit(
        self, code: RemoteCode, args: Args, kwargs: Kwargs, options: TaskOptions
    ) -> list[ObjectRef[Any]]:
        """Start a task."""
        refs = self._new_refs(options.num_returns)
        self._submit(self._new_task(refs, code, args, kwargs, options), args, kwargs)
        return refs  # type: ignore[return-value]

    def stream(
        self, code: RemoteCode, args: Args, kwargs: Kwargs, options: TaskOptions
    ) -> NativeStream:
        """Start a generator."""
        refs = self._new_refs(1)
        task = self._new_task(refs, code, args, kwargs, options)
        stream = self._new_stream(task, options.backpressure)
        self._submit(task, args, kwargs)
        return stream

    def _new_task(
        self,
        refs: list[NativeRef],
        code: RemoteCode,
        args: Args,
        kwargs: Kwargs,
        options: TaskOptions,
    ) -> Task:
        stored = self.values.store_args(args, kwargs)
        plan = self._plans.get(id(options))
        if plan is None or plan.code is not code or plan.inherited is not self.placing.inherited:
            plan = self._new_plan(code, options)
        return Task(
            refs,
            stored,
            plan.target,
            plan.kind,
            options.max_retries,
            options.retry_exceptions,
            options.name,
        )

    def _new_plan(self, code: RemoteCode, options: TaskOptions) -> Plan:
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()  # they are cheap to make again, and most have been forgotten
        kind = tuple(sorted(options.resources.items())), self._place(options)
        target = self._function_target(code, options)
        plan = Plan(options, code, self.placing.inherited, target, kind)
        self._plans[id(options)] = plan  # which keeps the options, so that no others get their id
        return plan

    def _place(self, options: TaskOptions | ActorOptions) -> Place:
        return self.placing.find(options.strategy, options.runtime_env)

    def _submit(self, task: Task, args: Args, kwargs: Kwargs) -> None:
        needs: Sequence[NativeRef] = ()
        if args or kwargs:
            needs = [arg for arg in (*args, *kwargs.values()) if isinstance(arg, NativeRef)]
        with self.lock:
            self._check_open()
            self.tasks.submit(task, needs)

    def _new_stream(self, call: Call, backpressure: int) -> NativeStream:
        stream = NativeStream(self, call.refs[0], call if backpressure > 0 else None)
        call.stream = weakref.ref(stream)
        return stream

    def _function_target(self, code: RemoteCode, options: TaskOptions) -> Target:
        targets = self._targets.get(code)
        if targets is None:
            targets = self._targets[code] = {}
        key = (options.backpressure, options.max_calls)
        target = targets.get(key)
        if target is None:
            target = targets[key] = Target(
                "function",
                code.name,
                code.blob,
                backpressure=options.backpressure,
                max_calls=options.max_calls,
            )
        return target

    # -- actors --------------------------------------------------------------------------------

    def create_actor(
        self,
        code: RemoteCode,
        shape: ActorShape,
        args: Args,
        kwargs: Kwargs,
        options: ActorOptions,
    ) -> ActorLink:
        """Order a process for the actor, and construct it there as soon as it is up."""
        actor_id = os.urandom(16)
        build = Build(self._constructor(code, shape, options), self.values.store_args(args, kwargs))
        order = self._order(actor_id, shape, options)
        if options.name or options.detached:
            send = partial(self.host, build=build) if options.detached else self._tell_node
            existing = self._claim_name(order, options, send)
            if existing is not None:
                return existing
        with self.lock:
            self._check_open()
            if options.detached:
                return self.actor_calls.link(actor_id, None)
            actor = NativeActor(actor_id, self.values.life_ref(next(self._numbers), actor_id))
            self.actor_calls.create(actor, build)
            # One with a name was ordered before this process knew of it.
            self.node.tell(wire.WatchActor(actor_id) if options.name else order)
        return actor

    @abstractmethod
    def host(self, order: wire.PlaceActor, build: Build) -> None:
        """Have the driver order a detached actor and construct it: both, or neither should this
        process die meanwhile. The node answers this process."""

    def _constructor(self, code: RemoteCode, shape: ActorShape, options: ActorOptions) -> Target:
        concurrency = options.max_concurrency or (ASYNC_CONCURRENCY if code.is_async else 1)
        details: dict[str, Any] = {"concurrency": concurrency}
        details["groups"] = dict(options.concurrency_groups)
        details["shape"] = shape.dump()
        return Target("actor", code.name, code.blob, **details)

    def _order(self, actor_id: bytes, shape: ActorShape, options: ActorOptions) -> wire.PlaceActor:
        return wire.PlaceActor(
            actor_id,
            shape.class_name,
            shape.dump() if options.name else b"",
            dict(options.resources),
            wire.Needs(dict(options.placement), *self._place(options)),
            options.name,
            options.namespace or self.namespace,
            next(self._numbers),
            options.max_restarts,
            self.driver if options.detached else b"",
        )

    def _claim_name(
        self, order: wire.PlaceActor, options: ActorOptions, send: Callable[[Any], None]
    ) -> NativeActor | None:
        """The living actor of that name, if it may be used; raises if it may not."""
        found = self._ask(order, send)
        if not found.actor:
            return None
        if not options.get_if_exists:
            raise ActorAlreadyExistsError(
                f"the actor name {order.name!r} is taken in namespace {order.namespace!r}"
            )
        with self.lock:
            return self.actor_calls.link(found.actor, None)

    def find_actor(self, name: str, namespace: str) -> tuple[ActorLink, ActorShape]:
        """Ask the node for the name."""
        question = wire.FindActor(next(self._numbers), name, namespace or self.namespace)
        found = self._ask(question)
        if not found.actor:
            raise ValueError(f"there is no living actor named {name!r}")
        with self.lock:
            return self.actor_calls.link(found.actor, None), ActorShape.load(found.shape)

    def call(
        self, actor: ActorLink, method: str, args: Args, kwargs: Kwargs, options: CallOptions
    ) -> list[ObjectRef[Any]]:
        """Send the call to the actor's process."""
        refs = self._new_refs(options.num_returns)
        self._call(self._new_call(refs, actor, method, args, kwargs, options))
        return refs  # type: ignore[return-value]

    def stream_call(
        self, actor: ActorLink, method: str, args: Args, kwargs: Kwargs, options: CallOptions
    ) -> NativeStream:
        """Send the call of a generator to the actor's process."""
        call = self._new_call(self._new_refs(1), actor, method, args, kwargs, options)
        stream = self._new_stream(call, options.backpressure)
        self._call(call)
        return stream

    def _new_call(
        self,
        refs: list[NativeRef],
        actor: ActorLink,
        method: str,
        args: Args,
        kwargs: Kwargs,
        options: CallOptions,
    ) -> Call:
        actor = _own(actor)
        key = (method, options.concurrency_group, options.backpressure)
        target = actor.methods.get(key)
        if target is None:
            target = actor.methods[key] = Target(
                "method",
                method,
                group=method if method == TERMINATE else options.concurrency_group,
                backpressure=options.backpressure,
            )
        return Call(
            refs,
            self.values.store_args(args, kwargs) if args or kwargs else EMPTY,
            target,
            actor=actor,
            retries=options.max_task_retries,
            retry_on=options.retry_exceptions,
            label=options.name,
        )

    def _call(self, call: Call) -> None:
        assert call.actor is not None
        with self.lock:
            self._check_open()
            self.actor_calls.submit(call.actor, call)

    def pending_calls(self, actor: ActorLink) -> int:
        """Those that wait here, and those at the actor."""
        with self.lock:
            return self.actor_calls.pending(_own(actor))

    def kill(self, actor: ActorLink, no_restart: bool) -> None:
        """Have the node end its process."""
        with self.lock:
            self._check_open()
            reason = "it was killed by kill()"
            self.node.tell(wire.KillActor(actor.actor_id, reason, restart=not no_restart))

    def cancel(self, what: ObjectRef[Any] | ResultStream, force: bool, recursive: bool) -> None:
        """Find the call and stop it."""
        ref = what.completed if isinstance(what, ResultStream) else what
        assert isinstance(ref, NativeRef)
        with self.lock:
            self._check_open()
            self.cancelling.cancel(ref, force, recursive)

    def new_ref(self) -> NativeRef:
        """A reference of this process."""
        return NativeRef(self.me, next(self._numbers))

    def _new_refs(self, count: int) -> list[NativeRef]:
        if count == 1:
            return [NativeRef(self.me, next(self._numbers))]
        numbers = [next(self._numbers) for _ in range(count)]
        return [SiblingRef(self.me, number, numbers[0]) for number in numbers]

    def new_item(self, completed: NativeRef) -> NativeRef:
        """The reference of a further result of the stream that ends with ``completed``."""
        return SiblingRef(self.me, next(self._numbers), completed._number)

    # -- objects -------------------------------------------------------------------------------

    def put(self, value: Any) -> ObjectRef[Any]:
        """Keep a copy; large parts of it in shared memory."""
        self._check_open()
        ref = NativeRef(self.me, next(self._numbers))
        ref.outcome = self.values.store(value)
        return ref

    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        """Wait for all, or for the first error among them; then load them."""
        deadline = None if timeout is None else time.monotonic() + timeout
        missing = [ref for ref in refs if ref.outcome is None]  # type: ignore[attr-defined]
        if missing:
            self._raise_failed(refs)
            there = self._await(missing, len(missing), timeout, or_error=True)
            self._raise_failed(refs)
            if not there:
                self._check_open()
                late = sum(ref.outcome is None for ref in missing)  # type: ignore[attr-defined]
                raise GetTimeoutError(f"{late} of {len(refs)} values not there after {timeout} s")

        try:
            return [self._value(ref) for ref in refs]
        except FileLostError:
            self._recover(refs)
            return self.get(refs, _left(deadline))

    def _recover(self, refs: Sequence[Any]) -> None:
        """Have values that were on disk and are lost made again, here or by their owner."""
        with self.lock:
            for ref in refs:
                if is_lost(ref.outcome):
                    again = isinstance(ref, BorrowedRef)
                    (self.calls.fetch_again if again else self.lineage.recover)(ref)

    def _raise_failed(self, refs: Sequence[Any]) -> None:
        for ref in refs:
            if isinstance(ref.outcome, Exception):
                raise to_raise(ref.outcome)

    def _value(self, ref: Any) -> Any:
        outcome = ref.outcome
        if type(outcome) is Stored:
            return outcome.load(ref)
        if isinstance(outcome, Exception):
            raise to_raise(outcome)
        raise ObjectLostError(f"{ref!r} belongs to a runtime that was shut down")

    def wait(
        self, refs: Sequence[Waitable], num_returns: int, timeout: float | None
    ) -> list[Waitable]:
        """Wait for some."""
        ready = _ready(refs, num_returns)
        if len(ready) < num_returns:
            missing = [ref for ref in refs if ref.outcome is None]  # type: ignore[union-attr]
            if not self._await(missing, num_returns - len(ready), timeout):
                self._check_open()
            ready = _ready(refs, num_returns)
        return ready

    def error_of(self, ref: ObjectRef[Any]) -> Exception | None:
        """Look at the outcome; the value is not loaded."""
        outcome = ref.outcome  # type: ignore[attr-defined]
        return to_raise(outcome) if isinstance(outcome, Exception) else None

    def _await(
        self, missing: list[Any], count: int, timeout: float | None, *, or_error: bool = False
    ) -> bool:
        """Wait until ``count`` of the missing references are there; ``False`` when late."""
        done = _arrival(missing, count, or_error)
        with self.lock:
            self._check_open()
            for ref in missing:
                if isinstance(ref, NativeRef):
                    self.calls.want(ref)
        return self.wait_for(done, timeout)

    def wait_for(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Block until ``done()``; ``False`` when late."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.lock:
            self._check_open()
            self.flush()
        if self.recorder is None:
            return self.reactor.run_until(done, deadline)
        with self.recorder.span("wait", "wait"):
            return self.reactor.run_until(done, deadline)

    def timeline(self) -> list[dict[str, Any]]:
        """Read what all processes have written."""
        self._check_open()
        if self.recorder is not None:
            self.recorder.flush()
        return trace.chrome_events(trace.read(self._directory))

    def recorded(self) -> list[trace.Process]:
        """Read it."""
        if self.recorder is None:
            return []
        self.recorder.flush()
        return trace.read(self._directory)

    def when_ready(self, ref: ObjectRef[Any], callback: Callable[[], object]) -> None:
        """Have ``callback`` run by whoever reads the value's message."""
        assert isinstance(ref, NativeRef)
        with self.lock:
            self._check_open()
            if ref.outcome is None:
                self.calls.want(ref)
            ref.when_ready(callback)
            self.flush()

    def tell_taken(self, call: Call, total: int) -> None:
        """Results of a streaming call were taken; its callee may go on."""
        with self.lock:
            if not self._closed:
                self.calls.tell_taken(call, total)

    def where(self) -> Where:
        """The driver, or a worker between jobs."""
        name = self._directory.name
        return Where(
            job_id=_hex_id(name, 4),
            node_id=node_id(self._directory),
            worker_id=self.me.hex(),
            namespace=self.namespace,
            session=str(self._directory),
        )

    # -- what arrives --------------------------------------------------------------------------

    def _on_frame(self, peer: Peer, frame: Frame) -> None:
        kind = frame[0]
        if kind == wire.REPLY:
            self._on_reply(peer, frame)
        elif kind == wire.CALL:
            self.on_call(peer, frame)
        elif kind == wire.ITEM:
            self.calls.on_item(peer, frame)
        elif kind == wire.RECORD:
            self._on_record(peer, wire.read_record(frame[-1]))
        else:
            raise wire.WireError(f"unknown frame kind {kind}")

    def _on_reply(self, peer: Peer, frame: Frame) -> None:
        flags = frame[1]
        call = peer.inflight.pop(frame[4], None)
        if call is None:
            return  # it was given up: its lease is lost
        if flags & wire.RETURNED:
            if isinstance(call, Task):
                self.tasks.on_returned(call, flags)
            return
        try:
            answered = self.calls.answer(peer, call, frame)
        except wire.WireError:
            peer.inflight[frame[4]] = call  # it ends as all calls to that peer are about to
            raise
        if isinstance(call, Task):
            if not flags & wire.PLAIN:
                self.lineage.keep(call)
            self.tasks.on_finished(call, flags)
            if not answered:
                self.tasks.again(call)
        elif not answered and call.actor is not None:
            self.actor_calls.submit(call.actor, call)

    def on_call(self, peer: Peer, frame: Frame) -> None:
        """Somebody calls; a driver runs nothing for others."""
        raise wire.WireError("a driver was called, which runs nothing for others")

    def on_assigned(self, given: wire.Assignment) -> None:
        """The node has given something to the lease or actor here; a driver gets nothing."""

    def on_host(self, peer: Peer, host: wire.Host) -> None:
        """A worker has made a detached actor; it asks the driver, not another worker."""

    def on_recall(self, peer: Peer, calls: list[int]) -> None:
        """Somebody wants calls back; a driver has none."""

    def on_cancel(self, peer: Peer, order: wire.Cancel) -> None:
        """Somebody wants a call stopped; a driver has none."""

    def on_taken(self, peer: Peer, seq: int, total: int) -> None:
        """Somebody has taken results of a streaming call; a driver yields none."""

    def _on_record(self, peer: Peer, record: Any) -> None:
        match record:
            case wire.Freed(blocks):
                for segment, offset in blocks:
                    peer.held.pop((segment, offset), None)
            case wire.Released(items):
                for number, count in items:
                    self.values.lendings.returned(number, count, peer.process)
            case wire.Lent(number, to):
                self.values.passed_on(number, to)
            case wire.Fetch(seq, number, lost):
                self._serve(peer, seq, number, lost)
            case wire.SegmentAt():
                self.places.learn_segment(record, peer)
            case wire.Moved():
                self.values.follow(record, peer.process)
            case wire.Intern(target):
                peer.interned[target] = record
            case wire.Recall(calls):
                self.on_recall(peer, calls)
            case wire.Cancel():
                self.on_cancel(peer, record)
            case wire.CancelRef(number, force, recursive):
                self._cancel_for_borrower(number, force, recursive)
            case wire.Taken(seq, total):
                self.on_taken(peer, seq, total)
            case wire.Assigned(assignment):
                self.on_assigned(assignment)
            case wire.Host():
                self.on_host(peer, record)
            case wire.Hello():
                pass  # both sides connected at once
            case _:
                raise wire.WireError(f"{type(record).__name__} is no message to a peer")

    def _cancel_for_borrower(self, number: int, force: bool, recursive: bool) -> None:
        ref = self.values.lendings.find(number)
        if ref is None:
            return  # it was freed meanwhile
        # A forced cancel of an actor's call, which is the borrower's mistake, is not to end here.
        with contextlib.suppress(ValueError):
            self.cancelling.cancel(ref, force, recursive)

    def _serve(self, peer: Peer, seq: int, number: int, lost: bool) -> None:
        """Send a borrower the value of an own object, as soon as it is there."""
        ref = self.values.lendings.find(number)
        if ref is None:
            ref = NativeRef(self.me, number)
            ref.resolve(ObjectLostError(f"{ref!r} was freed already"))
        elif lost:
            self._recover([ref])
        ref.when_ready(lambda: self._send_value(peer, seq, ref))

    def _send_value(self, peer: Peer, seq: int, ref: NativeRef) -> None:
        if peer.gone:
            return
        if isinstance(ref.outcome, Stored):
            value = self.values.outgoing(ref.outcome, peer, handed=False, number=ref._number)
            frame = wire.reply_frame(seq, [value])
        else:
            assert ref.outcome is not None
            frame = wire.error_frame(seq, dump_error(ref.outcome))
        peer.conn.send(frame)
        self.peers.hold(peer.conn)

    def on_node(self, record: Any) -> None:
        """A message of the node service."""
        match record:
            case wire.LeaseGranted(lease, worker, assignment):
                self.tasks.on_granted(lease, worker, assignment)
            case wire.LeaseLost(lease, reason, fate):
                self.tasks.on_lost(lease, reason, fate)
            case wire.ActorPlaced():
                self.actor_calls.on_placed(record)
            case wire.ActorRestarting():
                self.actor_calls.on_restarting(record)
            case wire.ActorDied():
                self.actor_calls.on_died(record)
            case wire.LeasesWanted(leases):
                self.tasks.on_wanted(leases)
            case wire.GroupSettled():
                self.on_group_settled(record)
            case wire.ActorFound() | wire.Resources() | wire.Names():
                self.on_answer(record)
            case wire.ActorTable() | wire.WorkerTable():
                self.on_answer(record)
            case wire.GroupCreated() | wire.GroupTable() | wire.MeasurementsFound():
                self.on_answer(record)
            case wire.RoomMade() | wire.Surveyed() | wire.Told():
                self.on_answer(record)
            case wire.Survey(number, topic):
                self.node.tell(wire.Account(number, self.account(topic)))
            case wire.MakeRoom(seq, size):
                self.places.spiller.request(size, lambda moved: self._room_made(seq, moved))
            case _:
                raise wire.WireError(f"{type(record).__name__} is no message of a node")

    def account(self, topic: wire.Topic) -> bytes:
        """What this process has to say of itself."""
        from rllib.core.native import accounts

        return accounts.account(self, topic)

    def _find_room(self, size: int, moved: int) -> Block | None:
        """Have all other processes make room; a block, as soon as there is one.

        What was ``moved`` may still be read by others, who are about to let go of it.
        """
        seq = next(self._numbers)
        answers: list[Any] = []
        block: Block | None = None

        def found() -> bool:
            nonlocal block
            with self.lock:
                block = block or self.places.arena.allocate(size)
            return block is not None

        with self.lock:
            self._questions[seq] = answers
            self.node.tell(wire.NeedRoom(seq, size))
        self.reactor.run_until(lambda: found() or bool(answers), time.monotonic() + ANSWER_S)
        if moved or (answers and answers[0].moved):
            self.reactor.run_until(found, time.monotonic() + FREED_S)
        del self._questions[seq]
        return block

    def _room_made(self, seq: int, moved: int) -> None:
        if not self._closed:
            self.node.tell(wire.RoomMade(seq, moved))

    def _on_gone(self, peer: Peer) -> None:
        self.calls.on_peer_gone(peer)
        self.values.peer_gone(peer)

    def _accuse(self, peer: Peer, error: wire.WireError) -> None:
        self._tell_node(wire.Accuse(peer.process, str(error)))

    # -- the rest ------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what waits, after the reports of finalisers. Call with the lock."""
        reports = self.reports
        if reports.freed or reports.dropped:
            self.values.report()
        while reports.ended:
            reason = "its last handle is gone"
            self.node.tell(wire.KillActor(reports.ended.popleft(), reason))
        while reports.streams:
            self.calls.tell_taken(reports.streams.popleft(), UNLIMITED)
        self.peers.flush_all()

    def actor_reduce(self, actor: ActorLink) -> tuple[Any, ...]:
        """The id, and the reference that keeps the actor alive."""
        assert isinstance(actor, NativeActor)
        return actor.actor_id, actor.life

    def actor_restore(self, state: tuple[Any, ...]) -> ActorLink:
        """This process's link to the actor."""
        with self.lock:
            return self.actor_calls.link(state[0], state[1])

    def shutdown(self) -> None:
        """End the node if it is ours, and everything of this process."""
        with self.lock:
            if self._closed:
                return
            self._closed = True
            unfinished = list(self.cancelling.unfinished())
            self.node.close()
            self.peers.close()
            self.actor_calls.close()
            for call in unfinished:
                call.resolve_all(RuntimeClosedError("the runtime was shut down amid the call"))
        self.reactor.stop()
        self.reports.close()

    def after_fork(self) -> None:
        """The child has no runtime. Its copies of the sockets are closed, without a word in them.

        The lock stays as it is: another thread of the parent may have held it.
        """
        self._closed = True
        self.reactor.close()
        self.node.abandon()
        self.peers.abandon()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeClosedError("the runtime was shut down; call init() again")


def _own(actor: ActorLink) -> NativeActor:
    if not isinstance(actor, NativeActor):
        raise RuntimeClosedError("the handle belongs to a runtime that was shut down")
    return actor


def node_id(directory: Path) -> str:
    """The id of the node that has its sockets in that directory."""
    return _hex_id(f"{directory.name}/node", 28)


def _hex_id(text: str, size: int) -> str:
    """An id of ``size`` bytes, the same for the same text."""
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()


def _left(deadline: float | None) -> float | None:
    """Seconds until then."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _ready(refs: Sequence[Any], count: int) -> list[Any]:
    """The first ``count`` that have an outcome."""
    return list(itertools.islice((ref for ref in refs if ref.outcome is not None), count))


def _arrival(missing: list[Any], count: int, or_error: bool) -> Callable[[], bool]:
    """Whether ``count`` of the missing references are there, or one of them has failed."""
    left = list(missing)
    failures, has_failed = NativeRef.failures, False

    def failed() -> bool:
        nonlocal failures, has_failed
        if failures != NativeRef.failures:
            failures = NativeRef.failures
            has_failed = any(isinstance(ref.outcome, Exception) for ref in missing)
        return has_failed

    def all_there() -> bool:
        while left and left[-1].outcome is not None:
            left.pop()
        return not left or (or_error and failed())

    def enough_there() -> bool:
        return len(_ready(left, count)) == count

    return all_there if count == len(missing) else enough_there
