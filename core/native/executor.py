"""The callee's side of calls: how a worker runs what others ask of it, and sends what comes of it.

::

    CALL --accept--> Job --lane--> run: load arguments, call, store results --> REPLY (or ITEMs)
"""

from __future__ import annotations

import atexit
import inspect
import os
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NoReturn

from rllib.core.actor import TERMINATE, ActorExit, bound_method
from rllib.core.exceptions import (
    ActorError,
    CoreError,
    GetTimeoutError,
    TaskCancelledError,
    TaskError,
)
from rllib.core.facts import Where
from rllib.core.native import wire
from rllib.core.native.call import current_job
from rllib.core.native.connection import Frame
from rllib.core.native.engine import NativeRuntime
from rllib.core.native.eventloop import EventLoop
from rllib.core.native.failures import dump_error, dump_for_node
from rllib.core.native.lanes import AsyncLane, ClosedLane, Job, Lane, LastLane, MainLane, ThreadLane
from rllib.core.native.objects import NativeRef, Stored
from rllib.core.native.peers import Peer
from rllib.core.native.process import exit_process
from rllib.core.native.streams import Outflow
from rllib.core.native.values import EMPTY
from rllib.core.native.yielding import Yields
from rllib.core.results import exit_code, split_result
from rllib.core.serialization import unpack

_CATEGORIES = {"function": "task", "method": "actor_task", "actor": "actor_creation"}
"""Of `trace.Span`, by what is called."""

STAY_BYTES = 4 << 20
"""Results of tasks from this size on stay on their node. To ask for one of them costs a millisecond
or three, in which a fast network carries about as much."""

_PASSED_ON = (TaskError, ActorError, GetTimeoutError)
"""What befell others, and user code let pass: an error of the call, not of its process."""


class Executor:
    """Runs jobs and sends what comes of them."""

    def __init__(self, runtime: NativeRuntime) -> None:
        self._runtime = runtime
        self._yields = Yields(runtime)
        self._main = MainLane(lambda: runtime.reactor.announce())
        self._lane: Lane = self._main
        self._groups: Mapping[str, Lane] = {}
        self._lanes: set[Lane] = {self._main}
        self._events: EventLoop | None = None
        self._functions: dict[bytes, Any] = {}
        self._runs_of: dict[bytes, int] = {}
        self._instance: Any = None
        self._early: list[Job] = []  # calls that came before the constructor was done
        self.shape = b""
        """Of the actor here: its `ActorShape`."""
        self.in_task = False
        self.leaving = False
        """A function's ``max_calls`` is reached: nothing more is run."""
        self._staying = 0
        self._leaving_here: dict[int, tuple[Job, Stored]] = {}
        """Results that the node service is to keep, by the number of the request."""
        self.prepare: Callable[[], object] | None = None
        """What is to be done before anything runs here; what it raises is the job's error."""

    # -- arrival -------------------------------------------------------------------------------

    def accept(self, peer: Peer, frame: Frame) -> None:
        """A CALL frame; under the lock. Raises `wire.WireError` for a target never introduced."""
        _kind, flags, returns, target, seq, payload = frame
        intern = peer.interned.get(target)
        if intern is None:
            raise wire.WireError(f"call of target {target}, which was never introduced")
        if flags & wire.PLAIN:
            job = Job(peer, seq, intern, Stored(payload, [], []) if payload else EMPTY, returns)
        else:
            received = wire.read_payload(payload)
            args = EMPTY
            if received.body or received.block:
                args = self._runtime.values.incoming(received, peer, handed=True)
            job = Job(peer, seq, intern, args, returns)
            job.label = received.label
        job.wanted = bool(flags & wire.WANTED)
        if flags & wire.STREAM:
            job.outflow = Outflow(intern.backpressure)
        self._route(job)

    def _route(self, job: Job) -> None:
        if job.intern.kind != "method":
            if self.leaving:
                self._return(job)
            else:
                self._main.add(job)
        elif self._instance is None:
            self._early.append(job)
        else:
            self._lane_of(job).add(job)

    def _lane_of(self, job: Job) -> Lane:
        return self._groups.get(job.intern.group, self._lane)

    def hand_back(self, peer: Peer | None = None, calls: Collection[int] = ()) -> None:
        """Return tasks that were not begun: those ``calls`` of ``peer``, or all."""
        jobs, kept = self._main.waiting, []
        while jobs:
            try:
                job = jobs.pop()  # atomic: the main thread takes from the other end meanwhile
            except IndexError:
                break
            if job.intern.kind == "function" and (peer is None or _is_of(job, peer, calls)):
                self._return(job)
            else:
                kept.append(job)
        jobs.extend(reversed(kept))

    def _return(self, job: Job) -> None:
        if job.peer.gone:
            return
        frame = wire.returned_frame(job.seq)
        job.peer.conn.send(wire.flagged(frame, wire.LEAVING) if self.leaving else frame)
        self._runtime.peers.hold(job.peer.conn)

    # -- stopping ------------------------------------------------------------------------------

    def cancel(self, peer: Peer, order: wire.Cancel) -> None:
        """Stop a job, or see that it does not begin. One that has ended is left alone."""
        for job, lane in self._unfinished():
            if job.peer is peer and job.seq == order.seq:
                self._cancel(job, lane, order)

    def _unfinished(self) -> list[tuple[Job, Lane]]:
        """All jobs that have come and have not ended, and where they run, or will run."""
        return [
            *((job, self._lane_of(job)) for job in self._early),
            *((job, lane) for lane in self._lanes for job in lane.jobs()),
        ]

    def progress(self) -> list[tuple[Job, str, bool]]:
        """All jobs that have come and have not ended, their names, and whether they have begun."""
        begun = {job for lane in self._lanes for job in lane.begun()}
        return [(job, self._name(job), job in begun) for job, _lane in self._unfinished()]

    def _cancel(self, job: Job, lane: Lane, order: wire.Cancel) -> None:
        job.cancelled = True
        if order.recursive:
            self._runtime.cancelling.cancel_children(job)
        if order.force and job is self._main.running:
            exit_process(1)
        lane.interrupt(job)

    def take_interrupt(self) -> bool:
        """Whether the job in the main thread is to be interrupted; says so once."""
        job = self._main.running
        if job is None or not job.cancelled or job.interrupted:
            return False
        job.interrupted = True
        return True

    def taken(self, peer: Peer, seq: int, total: int) -> None:
        """The caller has taken results of a streaming job."""
        for job, _lane in self._unfinished():
            if job.peer is peer and job.seq == seq and job.outflow is not None:
                job.outflow.took(total)

    def wanted(self, peer: Peer, seq: int) -> None:
        """Somebody waits for the result of a job."""
        for job, _lane in self._unfinished():
            if job.peer is peer and job.seq == seq:
                job.wanted = True

    # -- the main thread -----------------------------------------------------------------------

    def run(self) -> NoReturn:
        """The worker's main loop; ends with the process."""
        jobs = self._main.waiting
        runtime = self._runtime
        while self._events is None:
            runtime.reactor.run_until(lambda: bool(jobs), None)
            while (job := self._main.take()) is not None:
                self._run_in_main(job)
        self._events.run()

    def _run_in_main(self, job: Job) -> None:
        kind = job.intern.kind
        self.in_task = kind != "method"  # a constructor holds resources as a task does
        self._main.running = job
        try:
            (self._construct if kind == "actor" else self._run)(job)
        except KeyboardInterrupt as error:  # it came when the code had just failed
            self._fail(job, error)
        self.in_task = False

    # -- running -------------------------------------------------------------------------------

    def _run(self, job: Job) -> None:
        """Run it and reply, whatever happens."""
        current_job.set(job)
        values: list[Stored] = []
        try:
            if job.cancelled:
                raise _cancelled(self._name(job))
            result = self._invoke(job)
            if job.outflow is None:
                values = self._stored(job, result)
            else:
                self._yields.send_all(job, job.outflow, result, self._name(job))
            self._main.done(job)
        except SystemExit:
            raise
        except BaseException as error:  # whatever user code raises, somebody waits for it
            self._main.done(job)
            self._fail(job, error)
        else:
            self._finish(job, values)

    async def _run_async(self, job: Job) -> None:
        current_job.set(job)
        values: list[Stored] = []
        try:
            if job.cancelled:
                raise _cancelled(self._name(job))
            result = self._invoke(job)
            if inspect.isawaitable(result):
                result = await result
            if job.outflow is None:
                values = self._stored(job, result)
            else:
                await self._yields.send_all_async(job, job.outflow, result, self._name(job))
        except SystemExit as error:  # ends the process, as it does in the main thread
            self.leave(error)
        except BaseException as error:
            self._fail(job, error)
        else:
            self._finish(job, values)

    def _finish(self, job: Job, values: list[Stored]) -> None:
        if job.cancelled:
            self._fail(job, _cancelled(self._name(job)))
        elif job.outflow is not None:
            self._note(job)
            self._reply(job, wire.stream_end_frame(job.seq, job.outflow.yielded))
        else:
            self._succeed(job, values)

    def _note(self, job: Job, *, failed: bool = False) -> None:
        """It has ended; that is recorded before its caller hears of it."""
        recorder = self._runtime.recorder
        if recorder is not None and job.began_ns:
            constructor = ".__init__" if job.intern.kind == "actor" else ""
            name = self._name(job) + constructor
            category = _CATEGORIES[job.intern.kind]
            recorder.note(name, category, job.began_ns, _task_id(job), failed)

    def _invoke(self, job: Job) -> Any:
        if self._runtime.recorder is not None:
            job.began_ns = time.time_ns()
        if self.prepare is not None:
            self.prepare()
            self.prepare = None
        function = self._function(job.intern)
        if job.args is EMPTY:
            return function()
        args, kwargs = self._arguments(job)
        result = function(*args, **kwargs)
        self._runtime.reports.quiet = True  # what the arguments held is reported with the reply
        del args, kwargs
        self._runtime.reports.quiet = False
        return result

    def _stored(self, job: Job, result: Any) -> list[Stored]:
        store = self._runtime.values.store
        values = split_result(lambda: self._name(job), result, job.returns)
        return [store(value) for value in values]

    def _arguments(self, job: Job) -> tuple[tuple[Any, ...], dict[str, Any]]:
        stored, job.args = job.args, EMPTY  # so that views alone hold the caller's memory
        args, kwargs = stored.load(None)
        if stored.refs:
            args = tuple(self._resolved(arg) for arg in args)
            kwargs = {key: self._resolved(arg) for key, arg in kwargs.items()}
        return args, kwargs

    def _resolved(self, arg: Any) -> Any:
        return self._runtime.get((arg,), None)[0] if isinstance(arg, NativeRef) else arg

    def _function(self, intern: wire.Intern) -> Any:
        if intern.kind == "method":
            return bound_method(self._instance, intern.name)
        function = self._functions.get(intern.blob)
        if function is None:
            function = self._functions[intern.blob] = unpack(intern.blob)
        if intern.max_calls:
            self._count_run(intern)
        return function

    def _count_run(self, intern: wire.Intern) -> None:
        runs = self._runs_of[intern.blob] = self._runs_of.get(intern.blob, 0) + 1
        if runs >= intern.max_calls:
            with self._runtime.lock:
                self.leaving = True
                self.hand_back()

    def describe(self, job: Job, where: Where) -> None:
        """Fill in what `RuntimeContext` tells of a job."""
        where.task_id = _task_id(job)
        where.task_name = self._name(job)
        where.function_name = job.intern.name
        where.canceled = job.cancelled

    def _name(self, job: Job) -> str:
        name = job.label or job.intern.name
        if job.label or job.intern.kind != "method":
            return name
        return f"{type(self._instance).__name__}.{name}"

    # -- actors --------------------------------------------------------------------------------

    def _construct(self, job: Job) -> None:
        current_job.set(job)
        self.shape = job.intern.shape
        try:
            instance = self._invoke(job)
        except SystemExit:
            raise
        except BaseException as error:
            self._note(job, failed=True)
            name = f"{job.intern.name}.__init__"
            failure = TaskError.from_exception(name, error, os.getpid())
            self._tell_built(*dump_for_node(failure))
            return
        self._main.done(job)
        self._open_lanes(instance, job.intern)
        with self._runtime.lock:
            self._instance = instance
            for early in self._early:
                self._lane_of(early).add(early)
            self._early.clear()
        self._tell_built("")
        self._succeed(job, [])

    def _open_lanes(self, instance: Any, intern: wire.Intern) -> None:
        if inspect.getmembers(type(instance), _is_async):
            self._events = EventLoop(self._runtime.reactor, self._runtime.lock)
        events = self._events

        def lane(size: int) -> Lane:
            if events is not None:
                return AsyncLane(size, self._run_async, events)
            return ThreadLane(size, self._run, self.leave)

        if events is not None or intern.concurrency > 1:
            self._lane = lane(intern.concurrency)
        groups = {name: lane(size) for name, size in intern.groups.items()}
        self._lanes = {self._main, self._lane, *groups.values()}
        if len(self._lanes) > 1:  # else calls run one after the other, and the last one is the last
            finish = partial(self._terminate, lane=self._lane)
            groups[TERMINATE] = LastLane(self._lanes, self._close_lanes, finish)
        self._groups = groups

    def _close_lanes(self) -> None:
        self._lane, self._groups = ClosedLane(), {}

    def _terminate(self, last: Job, lane: Lane) -> None:
        """What came before the last call has ended, but for the reply of the main thread's job."""
        if lane is not self._main:
            self.leave(ActorExit(0))
        with self._runtime.lock:
            lane.add(last)
        self._runtime.reactor.announce()

    def _tell_built(self, error: str, cause: bytes = b"") -> None:
        with self._runtime.lock:
            self._runtime.node.tell(wire.ActorBuilt(error, cause))

    # -- replies -------------------------------------------------------------------------------

    def _succeed(self, job: Job, values: list[Stored]) -> None:
        self._note(job)
        with self._runtime.lock:
            if job.peer.gone:
                return
            if len(values) == 1 and values[0].is_plain:
                self._send(job.peer, wire.plain_reply_frame(job.seq, values[0].body))
            elif len(values) == 1 and job.peer.remote and self._may_stay(job, values[0]):
                self._leave_here(job, values[0])
            else:
                self._send_values(job, values)

    def _send_values(self, job: Job, values: list[Stored]) -> None:
        outgoing = self._runtime.values.outgoing
        payloads = [outgoing(value, job.peer, handed=True) for value in values]
        self._send(job.peer, wire.reply_frame(job.seq, payloads))

    def _may_stay(self, job: Job, value: Stored) -> bool:
        """Whether a result stays on this node until somebody elsewhere reads it."""
        if job.wanted or job.intern.kind != "function" or value.region is None or value.refs:
            return False  # what refers to others is for their owners to count: it goes at once
        return value.size >= STAY_BYTES and bool(self._runtime.calls.agent)

    def _leave_here(self, job: Job, value: Stored) -> None:
        """Hand it to the node service, which outlives this process, and then tell its owner."""
        runtime = self._runtime
        service = runtime.peers.get(runtime.calls.agent)
        self._staying += 1
        number = self._staying
        self._leaving_here[number] = job, value
        payload = runtime.values.outgoing(value, service, handed=True)
        keep = wire.Keep(number, job.peer.process, job.seq, payload)
        service.conn.send(wire.record_frame(keep))
        runtime.peers.mark(service.conn)
        runtime.flush()

    @property
    def under_way(self) -> bool:
        """Whether results are being handed over, of which their owners have not heard."""
        return bool(self._leaving_here)

    def stays(self, answer: wire.Stays) -> None:
        """The node service has it; under the lock."""
        if answer.seq not in self._leaving_here:
            raise wire.WireError("a result is kept that nobody has handed over")
        job, value = self._leaving_here.pop(answer.seq)
        if job.peer.gone:
            return
        if not answer.claim:
            self._send_values(job, [value])
            return
        kept = wire.KeptAt(self._runtime.calls.agent, answer.claim, value.size)
        self._send(job.peer, wire.reply_frame(job.seq, [wire.Payload(b"", block=kept)]))

    def _fail(self, job: Job, error: BaseException) -> None:
        self._note(job, failed=True)
        if job.cancelled and not isinstance(error, TaskCancelledError):
            error = _cancelled(self._name(job))
        if not isinstance(error, CoreError) or isinstance(error, _PASSED_ON):
            error = TaskError.from_exception(self._name(job), error, os.getpid())
        self._reply(job, wire.error_frame(job.seq, dump_error(error)))

    def _reply(self, job: Job, frame: bytes) -> None:
        with self._runtime.lock:
            if not job.peer.gone:
                self._send(job.peer, frame)

    def _send(self, peer: Peer, frame: bytes) -> None:
        """Queue a reply. It waits for company only while more of them are about to follow."""
        peer.conn.send(wire.flagged(frame, wire.LEAVING) if self.leaving else frame)
        if self._lane.busy():
            self._runtime.peers.hold(peer.conn)
        else:
            self._runtime.peers.mark(peer.conn)
            self._runtime.flush()

    def leave(self, error: SystemExit) -> NoReturn:
        """End the process because user code wants it; replies that waited for company go out."""
        if self._instance is not None:
            atexit._run_exitfuncs()
        with self._runtime.lock:
            self._runtime.flush()  # before the node hears of it: callers then look for it here
            if self._instance is not None and not error.code:
                how = "exit_actor() was called" if isinstance(error, ActorExit) else "it exited"
                self._runtime.node.tell(wire.ActorExits(how))
        exit_process(exit_code(error))


def _task_id(job: Job) -> str:
    """As the caller knows it."""
    return f"{job.peer.process.hex()}{job.seq:016x}"


def _is_of(job: Job, peer: Peer, calls: Collection[int]) -> bool:
    return job.peer is peer and job.seq in calls


def _is_async(member: Any) -> bool:
    return inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member)


def _cancelled(name: str) -> TaskCancelledError:
    return TaskCancelledError(f"{name} was cancelled")
