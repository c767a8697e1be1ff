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

import os
import threading
import time
import weakref
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rllib.core import trace
from rllib.core.exceptions import (
    ActorAlreadyExistsError,
    ForeignReferenceError,
    GetTimeoutError,
    RuntimeClosedError,
    to_raise,
)
from rllib.core.facts import Where
from rllib.core.native import waiting, wire
from rllib.core.native.actor_calls import ActorCalls
from rllib.core.native.call import Build, Call, NativeActor
from rllib.core.native.calls import Calls
from rllib.core.native.cancelling import Cancelling
from rllib.core.native.connection import Frame
from rllib.core.native.deadlines import left
from rllib.core.native.inbox import Inbox
from rllib.core.native.interrupts import InterruptGuard
from rllib.core.native.leases import Task
from rllib.core.native.ledger import Ledger
from rllib.core.native.lineage import Lineage, is_lost
from rllib.core.native.node_link import NodeLink
from rllib.core.native.objects import BorrowedRef, NativeRef, Reports, SiblingRef, Stored
from rllib.core.native.peers import Peer, Peers
from rllib.core.native.places import Places
from rllib.core.native.placing import Placing
from rllib.core.native.plans import Plans, constructor_target, method_target
from rllib.core.native.questions import NodeQuestions
from rllib.core.native.reactor import Reactor
from rllib.core.native.room import Room
from rllib.core.native.session import JOB_BYTES, hex_id, node_id
from rllib.core.native.sites import key_of
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


class NativeRuntime(NodeQuestions):
    """See the module's text. ``node`` is set by whoever makes the runtime."""

    has_promises = True

    node: NodeLink
    recorder: trace.Recorder | None = None
    """Of a session that is being recorded."""
    driver: bytes
    """The process that owns detached actors, and serves snapshots of directories to others."""
    interrupts: InterruptGuard

    def __init__(self, me: bytes, directory: Path, namespace: str, ledger: Ledger) -> None:
        super().__init__()
        self.me = me
        self._directory = directory
        self.ledger = ledger
        self.namespace = namespace
        self.job = hex_id(directory.name, JOB_BYTES)
        """Of the driver; on a node that serves several, each of them has its own."""
        self.lock = threading.RLock()
        self.reactor = Reactor(self.lock, self.flush)
        self.reports = Reports(self.reactor.nudge)
        inbox = Inbox(self)
        self.peers = Peers(me, directory, self.reactor, inbox.on_frame, self._on_gone, self._accuse)
        self._room = Room(self)
        files = SpillFiles(directory / SPILL, me)
        self.places = Places(
            me, self.lock, self.peers, self.reports, ledger, files, self._room.find
        )
        self.values = Values(me, self.peers, self.places, self.reports)
        self.lineage = Lineage(me, lambda: self._new_refs(1)[0], self._run_again)
        self.calls = Calls(self.peers, self.values, self._numbers, self.lineage)
        self.actor_calls = ActorCalls(self.peers, self.calls, self._tell_node)
        self.tasks = Tasks(me, self.peers, self.calls, self._tell_node)
        self.cancelling = Cancelling(self.peers, self.calls, self.actor_calls, self.tasks)
        self.placing = Placing(directory, lambda: self.driver)
        self._plans = Plans(self.placing)

    def _tell_node(self, record: Any) -> None:
        self.node.tell(record)

    def _run_again(self, task: Task, needs: Sequence[NativeRef]) -> None:
        self.tasks.submit(task, needs)

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
        plan = self._plans.find(code, options)
        return Task(
            refs,
            stored,
            plan.target,
            plan.kind,
            options.max_retries,
            options.retry_exceptions,
            options.name,
        )

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
        build = Build(
            constructor_target(code, shape, options), self.values.store_args(args, kwargs)
        )
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

    def hand_over(self, order: wire.PlaceActor, build: Build) -> None:
        """To the process that owns detached actors, in one message."""
        target = build.constructor
        intern = wire.Intern(0, target.kind, target.name, target.blob, **target.details)
        peer = self.peers.get(self.driver)
        args = self.values.outgoing(self.values.flat(build.args), peer, handed=True)
        self.peers.tell(self.driver, wire.Host(order, intern, args))
        self.peers.flush(peer.conn)

    def _order(self, actor_id: bytes, shape: ActorShape, options: ActorOptions) -> wire.PlaceActor:
        place = self.placing.find(options)
        return wire.PlaceActor(
            actor_id,
            shape.class_name,
            shape.dump() if options.name else b"",
            dict(options.resources),
            wire.Needs(dict(options.placement), *place),
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
        return Call(
            refs,
            self.values.store_args(args, kwargs) if args or kwargs else EMPTY,
            method_target(actor, method, options),
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
            order = wire.KillActor(actor.actor_id, reason, restart=not no_restart)
            self.actor_calls.kill(_own(actor), order)

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

    def promise(self) -> NativeRef:
        """A reference that no call resolves."""
        self._check_open()
        return self.new_ref()

    def fulfil(self, ref: ObjectRef[Any], value: Any) -> None:
        """Send it to those who wait for it already."""
        assert isinstance(ref, NativeRef)
        outcome = value if isinstance(value, Exception) else self.values.store(value)
        with self.lock:
            self._check_open()
            ref.resolve(outcome)
            self.flush()

    def expect(self, ref: ObjectRef[Any]) -> None:
        """Ask its owner, and no node service: a promise has one reader."""
        assert isinstance(ref, NativeRef)
        with self.lock:
            self._check_open()
            self.calls.want(ref, direct=True)
            self.flush()

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
            self.recover(refs)
            return self.get(refs, left(deadline))

    def recover(self, refs: Sequence[Any]) -> None:
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
        if type(outcome) is Stored and (ref._owner is self.me or self.values.is_borrowed(ref)):
            return outcome.load(ref)
        if isinstance(outcome, Exception):
            raise to_raise(outcome)
        raise ForeignReferenceError(f"{ref!r} belongs to a runtime that was shut down")

    def wait(
        self,
        refs: Sequence[Waitable],
        num_returns: int,
        timeout: float | None,
        *,
        fetch_local: bool = True,
    ) -> list[Waitable]:
        """Wait for some."""
        if not fetch_local:
            return self._wait_anywhere(refs, num_returns, timeout)
        ready = waiting.ready(refs, num_returns)
        if len(ready) < num_returns:
            missing = [ref for ref in refs if ref.outcome is None]  # type: ignore[union-attr]
            if not self._await(missing, num_returns - len(ready), timeout):
                self._check_open()
            ready = waiting.ready(refs, num_returns)
        return ready

    def _wait_anywhere(
        self, refs: Sequence[Waitable], num_returns: int, timeout: float | None
    ) -> list[Waitable]:
        """The same, but that nothing has to come here for that."""
        with self.lock:
            self._check_open()
            for ref in refs:
                if isinstance(ref, NativeRef) and not ref.is_known:
                    self.calls.look(ref)
        if not self.wait_for(lambda: len(waiting.known(refs, num_returns)) == num_returns, timeout):
            self._check_open()
        return waiting.known(refs, num_returns)

    def error_of(self, ref: ObjectRef[Any]) -> Exception | None:
        """Look at the outcome; the value is not loaded."""
        outcome = ref.outcome  # type: ignore[attr-defined]
        return to_raise(outcome) if isinstance(outcome, Exception) else None

    def _await(
        self, missing: list[Any], count: int, timeout: float | None, *, or_error: bool = False
    ) -> bool:
        """Wait until ``count`` of the missing references are there; ``False`` when late."""
        done = waiting.arrival(missing, count, or_error)
        with self.lock:
            self._check_open()
            for ref in missing:
                if isinstance(ref, NativeRef):
                    self.calls.want(ref)
        return self.wait_for(done, timeout)

    def wait_for(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Block until ``done()``; ``False`` when late."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self.interrupts.cover()
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
        return Where(
            job_id=self.job,
            node_id=node_id(self._directory),
            worker_id=self.me.hex(),
            namespace=self.namespace,
            session=str(self._directory),
        )

    # -- what arrives --------------------------------------------------------------------------

    def on_call(self, peer: Peer, frame: Frame) -> None:
        """Somebody calls; a driver runs nothing for others."""
        raise wire.WireError("a driver was called, which runs nothing for others")

    def on_assigned(self, given: wire.Assignment) -> None:
        """The node has given something to the lease or actor here; a driver gets nothing."""

    def on_host(self, peer: Peer, host: wire.Host) -> None:
        """A worker has made a detached actor; it asks the driver, not another worker."""

    def on_fetch_for(self, peer: Peer, wanted: wire.FetchFor) -> None:
        """Somebody wants what is owned on another node; he asks his node service."""
        raise wire.WireError("a process was asked for an object of another node")

    def on_keep(self, peer: Peer, record: wire.Keep) -> None:
        """A worker wants its result kept; it asks its node service."""
        raise wire.WireError("a process was asked to keep what another one has made")

    def on_wanted(self, peer: Peer, seq: int) -> None:
        """Somebody waits for the result of a call; a driver makes none."""

    def on_stays(self, record: wire.Stays) -> None:
        """The node service keeps a result; a driver makes none."""

    def on_claimed(self, peer: Peer, claim: int) -> None:
        """An owner knows of what is kept for him; a node service keeps it."""

    def on_recall(self, peer: Peer, calls: list[int]) -> None:
        """Somebody wants calls back; a driver has none."""

    def on_cancel(self, peer: Peer, order: wire.Cancel) -> None:
        """Somebody wants a call stopped; a driver has none."""

    def on_taken(self, peer: Peer, seq: int, total: int) -> None:
        """Somebody has taken results of a streaming call; a driver yields none."""

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
            case wire.ActorFound() | wire.Resources() | wire.Names() | wire.NodeTable():
                self.on_answer(record)
            case wire.ActorTable() | wire.WorkerTable():
                self.on_answer(record)
            case wire.GroupCreated() | wire.GroupTable() | wire.MeasurementsFound():
                self.on_answer(record)
            case wire.RoomMade() | wire.Surveyed() | wire.Told():
                self.on_answer(record)
            case wire.Survey(number, topic):
                self.node.tell(wire.Account(number, self.account(topic)))
            case wire.MakeRoom():
                self._room.make(record)
            case _:
                raise wire.WireError(f"{type(record).__name__} is no message of a node")

    def account(self, topic: wire.Topic) -> bytes:
        """What this process has to say of itself."""
        from rllib.core.native import accounts

        return accounts.account(self, topic)

    def tell_made(self, seq: int, moved: int) -> None:
        """So much was moved to disk for the process that needs room."""
        if not self._closed:
            self.node.tell(wire.RoomMade(seq, moved))

    def _on_gone(self, peer: Peer) -> None:
        if self.calls.outlying.has_kept(peer.process):
            self.tasks.shun(key_of(peer.process))
        self.calls.on_peer_gone(peer)
        self.values.peer_gone(peer)

    def _accuse(self, peer: Peer, error: wire.WireError) -> None:
        self._tell_node(wire.Accuse(peer.process, str(error)))

    # -- the rest ------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what waits, after the reports of finalisers. Call with the lock."""
        if self._closed:  # else whoever is owed a report would be connected to anew
            return
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

    def expose(self, ref: ObjectRef[Any]) -> None:
        """Other processes may ask for it by its number; its owner knows of a borrowed one."""
        if isinstance(ref, NativeRef) and ref._owner == self.me:
            with self.lock:
                self.values.lendings.expose(ref)

    def find_exposed(self, owner: bytes, number: int) -> NativeRef:
        """Borrow it."""
        with self.lock:
            return self.values.find_exposed(owner, number)

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
