"""The callee's side of calls: how a worker runs what others ask of it.

Jobs of a task worker and of an ordinary actor run one after the other in the main thread, in the
order in which they came. An actor with ``max_concurrency`` runs them in a pool of threads, an
actor with ``async`` methods on an event loop of its own; both begin once its constructor, which
always runs in the main thread, is done.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, NoReturn, Protocol

from rllib.core.exceptions import CoreError, TaskError
from rllib.core.native import wire
from rllib.core.native.calls import dump_error
from rllib.core.native.connection import Frame
from rllib.core.native.engine import NativeRuntime
from rllib.core.native.objects import NativeRef, Stored
from rllib.core.native.peers import Peer
from rllib.core.native.values import EMPTY
from rllib.core.runtime import exit_code, split_result
from rllib.core.serialization import unpack


class Job:
    """A call that has arrived."""

    __slots__ = ("args", "intern", "peer", "returns", "seq")

    def __init__(
        self, peer: Peer, seq: int, intern: wire.Intern, args: Stored, returns: int
    ) -> None:
        self.peer = peer
        self.seq = seq
        self.intern = intern
        self.args = args
        self.returns = returns


class Lane(Protocol):
    """Where jobs run."""

    def add(self, job: Job) -> None:
        """Take a job; under the runtime's lock."""

    def busy(self) -> bool:
        """Whether more jobs are coming, so that replies may wait for company."""


class MainLane:
    """One after the other, in the main thread: see `Executor.run`."""

    def __init__(self) -> None:
        self.jobs: deque[Job] = deque()

    def add(self, job: Job) -> None:
        """Queue it."""
        self.jobs.append(job)

    def take(self) -> Job | None:
        """The next job; none also when the last one is handed back at this very moment."""
        try:
            return self.jobs.popleft()
        except IndexError:
            return None

    def busy(self) -> bool:
        """Whether the main thread goes on at once."""
        return bool(self.jobs)


class ThreadLane:
    """Up to ``size`` at the same time, each in a thread."""

    def __init__(
        self, size: int, run: Callable[[Job], None], leave: Callable[[int], NoReturn]
    ) -> None:
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._run = run
        self._leave = leave
        for index in range(size):
            threading.Thread(target=self._work, name=f"rllib-call-{index}", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                self._run(self._jobs.get())
            except SystemExit as error:  # ends the process, as it does in the main thread
                self._leave(exit_code(error))

    def add(self, job: Job) -> None:
        """Queue it for the next free thread."""
        self._jobs.put(job)

    def busy(self) -> bool:
        """Whether a thread goes on at once."""
        return not self._jobs.empty()


class AsyncLane:
    """Up to ``size`` coroutines at the same time, on an event loop in a thread of its own."""

    def __init__(self, size: int, run: Callable[[Job], Any]) -> None:
        self._jobs: deque[Job] = deque()
        self._run = run
        self._awake = False
        self._running: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._room = asyncio.Semaphore(size)
        threading.Thread(target=self._loop.run_forever, name="rllib-async", daemon=True).start()

    def add(self, job: Job) -> None:
        """Queue it, and wake the loop unless it is awake already."""
        self._jobs.append(job)
        if not self._awake:
            self._awake = True
            self._loop.call_soon_threadsafe(self._start_jobs)

    def _start_jobs(self) -> None:
        self._awake = False
        while self._jobs:
            task = self._loop.create_task(self._in_room(self._jobs.popleft()))
            self._running.add(task)  # the loop itself keeps weak references only
            task.add_done_callback(self._running.discard)

    async def _in_room(self, job: Job) -> None:
        async with self._room:
            await self._run(job)

    def busy(self) -> bool:
        """Whether others are about to finish."""
        return len(self._running) > 1


class Executor:
    """Runs jobs and sends what comes of them."""

    def __init__(self, runtime: NativeRuntime) -> None:
        self._runtime = runtime
        self._main = MainLane()
        self._lane: Lane = self._main
        self._functions: dict[bytes, Any] = {}
        self._instance: Any = None
        self._early: list[Job] = []  # calls that came before the constructor was done
        self.in_task = False

    # -- arrival -------------------------------------------------------------------------------

    def accept(self, peer: Peer, frame: Frame) -> None:
        """A CALL frame; under the lock. Raises `wire.WireError` for a target never introduced."""
        _kind, flags, returns, target, seq, payload = frame
        intern = peer.interned.get(target)
        if intern is None:
            raise wire.WireError(f"call of target {target}, which was never introduced")
        if flags & wire.PLAIN:
            args = Stored(payload, [], []) if payload else EMPTY
        else:
            values = self._runtime.values
            args = values.incoming(wire.read_payload(payload), peer, handed=True)
        self._route(Job(peer, seq, intern, args, returns))

    def _route(self, job: Job) -> None:
        if job.intern.kind != "method":
            self._main.add(job)
        elif self._instance is None:
            self._early.append(job)
        else:
            self._lane.add(job)

    def hand_back(self, peer: Peer | None = None, calls: Collection[int] = ()) -> None:
        """Return tasks that were not begun: those ``calls`` of ``peer``, or all."""
        jobs, kept = self._main.jobs, []
        while jobs:
            try:
                job = jobs.pop()  # atomic: the main thread takes from the other end meanwhile
            except IndexError:
                break
            if job.intern.kind == "function" and (peer is None or self._is_of(job, peer, calls)):
                self._return(job)
            else:
                kept.append(job)
        jobs.extend(reversed(kept))

    @staticmethod
    def _is_of(job: Job, peer: Peer, calls: Collection[int]) -> bool:
        return job.peer is peer and job.seq in calls

    def _return(self, job: Job) -> None:
        if not job.peer.gone:
            job.peer.conn.send(wire.returned_frame(job.seq))
            self._runtime.peers.hold(job.peer.conn)

    def run(self) -> NoReturn:
        """The worker's main loop; ends with the process."""
        jobs = self._main.jobs
        runtime = self._runtime
        while True:
            runtime.reactor.run_until(lambda: bool(jobs), None)
            while (job := self._main.take()) is not None:
                self._run_in_main(job)

    def _run_in_main(self, job: Job) -> None:
        kind = job.intern.kind
        self.in_task = kind != "method"  # a constructor holds resources as a task does
        (self._construct if kind == "actor" else self._run)(job)
        self.in_task = False

    # -- running -------------------------------------------------------------------------------

    def _run(self, job: Job) -> None:
        """Run it and reply, whatever happens."""
        try:
            values = self._stored(job, self._invoke(job))
        except SystemExit:
            raise
        except BaseException as error:  # whatever user code raises, somebody waits for it
            self._fail(job, error)
        else:
            self._succeed(job, values)

    async def _run_async(self, job: Job) -> None:
        try:
            result = self._invoke(job)
            if inspect.isawaitable(result):
                result = await result
            values = self._stored(job, result)
        except SystemExit as error:  # ends the process, as it does in the main thread
            self.leave(exit_code(error))
        except BaseException as error:
            self._fail(job, error)
        else:
            self._succeed(job, values)

    def _invoke(self, job: Job) -> Any:
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
        return [store(value) for value in split_result(self._name(job), result, job.returns)]

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
            return getattr(self._instance, intern.name)
        function = self._functions.get(intern.blob)
        if function is None:
            function = self._functions[intern.blob] = unpack(intern.blob)
        return function

    def _name(self, job: Job) -> str:
        name = job.intern.name
        return name if job.intern.kind != "method" else f"{type(self._instance).__name__}.{name}"

    # -- actors --------------------------------------------------------------------------------

    def _construct(self, job: Job) -> None:
        try:
            instance = self._invoke(job)
        except SystemExit:
            raise
        except BaseException as error:
            name = f"{job.intern.name}.__init__"
            self._tell_built(str(TaskError.from_exception(name, error, os.getpid())))
            return
        lane = self._lane_for(instance, job.intern.concurrency)
        with self._runtime.lock:
            self._instance, self._lane = instance, lane
            for early in self._early:
                lane.add(early)
            self._early.clear()
        self._tell_built("")
        self._succeed(job, [])

    def _lane_for(self, instance: Any, concurrency: int) -> Lane:
        methods = inspect.getmembers(type(instance), inspect.iscoroutinefunction)
        if methods:
            return AsyncLane(concurrency, self._run_async)
        return ThreadLane(concurrency, self._run, self.leave) if concurrency > 1 else self._main

    def _tell_built(self, error: str) -> None:
        with self._runtime.lock:
            self._runtime.node.tell(wire.ActorBuilt(error))

    # -- replies -------------------------------------------------------------------------------

    def _succeed(self, job: Job, values: list[Stored]) -> None:
        with self._runtime.lock:
            if job.peer.gone:
                return
            if len(values) == 1 and values[0].is_plain:
                frame = wire.plain_reply_frame(job.seq, values[0].body)
            else:
                outgoing = self._runtime.values.outgoing
                frame = wire.reply_frame(
                    job.seq, [outgoing(value, job.peer, handed=True) for value in values]
                )
            self._send(job.peer, frame)

    def _fail(self, job: Job, error: BaseException) -> None:
        if not isinstance(error, CoreError) or isinstance(error, TaskError):
            error = TaskError.from_exception(self._name(job), error, os.getpid())
        frame = wire.error_frame(job.seq, dump_error(error))
        with self._runtime.lock:
            if not job.peer.gone:
                self._send(job.peer, frame)

    def _send(self, peer: Peer, frame: bytes) -> None:
        """Queue a reply. It waits for company only while more of them are about to follow."""
        peer.conn.send(frame)
        if self._lane.busy():
            self._runtime.peers.hold(peer.conn)
        else:
            self._runtime.peers.mark(peer.conn)
            self._runtime.flush()

    def leave(self, code: int) -> NoReturn:
        """End the process because user code wants it; replies that waited for company go out."""
        with self._runtime.lock:
            self._runtime.flush()
        exit_process(code)


def exit_process(code: int) -> NoReturn:
    """Leave at once; what user code has printed still gets out."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
