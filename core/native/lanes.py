"""Where a worker's jobs run: in the main thread, in a pool of threads, or on an event loop.

Jobs of a task worker and of an ordinary actor run one after the other in the main thread, in the
order in which they came. An actor with ``max_concurrency`` runs them in a pool of threads, an
actor with ``async`` methods on an event loop in the main thread, and every concurrency group is
one more such pool or share of the loop.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any, NoReturn, Protocol

from rllib.core.native import wire
from rllib.core.native.eventloop import EventLoop
from rllib.core.native.objects import Stored
from rllib.core.native.peers import Peer
from rllib.core.native.process import interrupt_main
from rllib.core.native.streams import Outflow


class Job:
    """A call that has arrived."""

    __slots__ = (
        "args",
        "began_ns",
        "cancelled",
        "intern",
        "interrupted",
        "label",
        "outflow",
        "peer",
        "returns",
        "seq",
        "wanted",
    )

    def __init__(
        self, peer: Peer, seq: int, intern: wire.Intern, args: Stored, returns: int
    ) -> None:
        self.peer = peer
        self.seq = seq
        self.intern = intern
        self.args = args
        self.returns = returns
        self.label = ""
        """What the caller wants it to be named in errors."""
        self.outflow: Outflow | None = None
        """For a call whose results are sent one by one."""
        self.wanted = False
        """Whether somebody waits for its result, so that it does not stay here."""
        self.cancelled = False
        self.interrupted = False
        """Whether it has heard of that, by a `KeyboardInterrupt`."""
        self.began_ns = 0
        """When it began to run, in a session that is being recorded."""


class Lane(Protocol):
    """Where jobs run."""

    def add(self, job: Job) -> None:
        """Take a job; under the runtime's lock."""

    def busy(self) -> bool:
        """Whether more jobs are coming, so that replies may wait for company."""

    def jobs(self) -> Iterable[Job]:
        """Those that have come and have not ended."""

    def begun(self) -> Collection[Job]:
        """Those of `jobs` that run."""

    def interrupt(self, job: Job) -> None:
        """Stop a job of this lane that runs, if that can be done; it is marked as cancelled."""


class MainLane:
    """One after the other, in the main thread: see `Executor.run`.

    ``wake`` has the main thread return from waiting for messages.
    """

    _AGAIN_S = 0.02

    def __init__(self, wake: Callable[[], None]) -> None:
        self.waiting: deque[Job] = deque()
        self.running: Job | None = None
        self._wake = wake

    def add(self, job: Job) -> None:
        """Queue it."""
        self.waiting.append(job)

    def take(self) -> Job | None:
        """The next job; none also when the last one is handed back at this very moment."""
        try:
            return self.waiting.popleft()
        except IndexError:
            return None

    def done(self, job: Job) -> None:
        """The job does not run any more, if it was the one in the main thread."""
        if self.running is job:
            self.running = None

    def busy(self) -> bool:
        """Whether the main thread goes on at once."""
        return bool(self.waiting)

    def jobs(self) -> Iterable[Job]:
        """See `Lane`."""
        running = self.running
        return [*self.waiting] if running is None else [running, *self.waiting]

    def begun(self) -> Collection[Job]:
        """See `Lane`."""
        running = self.running
        return () if running is None else (running,)

    def interrupt(self, job: Job) -> None:
        """A task is interrupted as by Ctrl-C; a method of an actor can only look for itself."""
        if job is self.running and job.intern.kind == "function":
            job.interrupted = False  # one that went on in spite of an interrupt hears another one
            threading.Thread(
                target=self._insist, args=[job], name="rllib-cancel", daemon=True
            ).start()

    def _insist(self, job: Job) -> None:
        """A signal that comes between Python's last look and a system call is not noticed before
        that call returns; so it is sent until the job has heard it."""
        while job is self.running and not job.interrupted:
            interrupt_main()
            self._wake()
            time.sleep(self._AGAIN_S)


class ThreadLane:
    """Up to ``size`` at the same time, each in a thread."""

    def __init__(
        self, size: int, run: Callable[[Job], None], leave: Callable[[SystemExit], NoReturn]
    ) -> None:
        self._queue: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._jobs: dict[Job, None] = {}
        self._size = size
        self._run = run
        self._leave = leave
        for index in range(size):
            threading.Thread(target=self._work, name=f"rllib-call-{index}", daemon=True).start()

    def _work(self) -> None:
        while True:
            job = self._queue.get()
            try:
                self._run(job)
            except SystemExit as error:  # ends the process, as it does in the main thread
                self._leave(error)
            del self._jobs[job]

    def add(self, job: Job) -> None:
        """Queue it for the next free thread."""
        self._jobs[job] = None
        self._queue.put(job)

    def busy(self) -> bool:
        """Whether a thread goes on at once."""
        return not self._queue.empty()

    def jobs(self) -> Iterable[Job]:
        """See `Lane`."""
        return list(self._jobs)

    def begun(self) -> Collection[Job]:
        """The first of them, since they begin in the order in which they came."""
        return list(self._jobs)[: self._size]

    def interrupt(self, job: Job) -> None:
        """A thread cannot be interrupted; the job can only look for itself."""


class AsyncLane:
    """Up to ``size`` coroutines at the same time on an event loop."""

    def __init__(self, size: int, run: Callable[[Job], Any], events: EventLoop) -> None:
        self._run = run
        self._events = events
        self._size = size
        self._jobs: dict[Job, asyncio.Task[None] | None] = {}
        """The task of each that has begun."""
        self._waiting: deque[Job] = deque()
        self._running = 0

    def add(self, job: Job) -> None:
        """Have the loop start it."""
        self._jobs[job] = None
        self._events.soon(lambda: self._start(job))

    def _start(self, job: Job) -> None:
        if self._running < self._size:
            self._begin(job)
        else:
            self._waiting.append(job)

    def _begin(self, job: Job) -> None:
        self._running += 1
        self._events.loop.create_task(self._work(job))

    async def _work(self, job: Job) -> None:
        self._jobs[job] = asyncio.current_task()
        await self._run(job)
        del self._jobs[job]
        self._running -= 1
        if self._waiting and self._running < self._size:
            self._begin(self._waiting.popleft())

    def busy(self) -> bool:
        """Whether others are about to finish."""
        return len(self._jobs) > 1

    def jobs(self) -> Iterable[Job]:
        """See `Lane`."""
        return list(self._jobs)

    def begun(self) -> Collection[Job]:
        """The first of them, since they begin in the order in which they came."""
        return list(self._jobs)[: self._size]

    def interrupt(self, job: Job) -> None:
        """Cancel its coroutine; one that has not begun sees that it is cancelled."""
        self._events.soon(lambda: self._cancel(job))

    def _cancel(self, job: Job) -> None:
        task = self._jobs.get(job)
        if task is not None:
            task.cancel()
        elif job in self._waiting:  # it needs no room to end
            self._waiting.remove(job)
            self._begin(job)


class LastLane:
    """Where the call lies that ends an actor: it waits for all that came before.

    ``closed`` is told, in the reading thread, that nothing may begin that comes from now on;
    ``finish`` is given the call, in a thread of its own, when what came before has ended.
    """

    _AGAIN_S = 0.01

    def __init__(
        self, lanes: Iterable[Lane], closed: Callable[[], None], finish: Callable[[Job], object]
    ) -> None:
        self._lanes = tuple(lanes)
        self._closed = closed
        self._finish = finish

    def add(self, job: Job) -> None:
        """Wait for what is there."""
        before = {job for lane in self._lanes for job in lane.jobs()}
        self._closed()
        threading.Thread(
            target=self._wait, args=[job, before], name="rllib-end", daemon=True
        ).start()

    def _wait(self, last: Job, before: set[Job]) -> None:
        """Look again and again: that the end of every job tells of it would cost every job."""
        while before:
            time.sleep(self._AGAIN_S)
            before.intersection_update(job for lane in self._lanes for job in lane.jobs())
        self._finish(last)

    def busy(self) -> bool:
        """It sends no replies."""
        return False

    def jobs(self) -> Iterable[Job]:
        """None that could be cancelled."""
        return ()

    def begun(self) -> Collection[Job]:
        """None."""
        return ()

    def interrupt(self, job: Job) -> None:
        """It has no jobs."""


class ClosedLane:
    """Where calls lie that come behind the last one: they never begin, and end with the actor."""

    def add(self, job: Job) -> None:
        """Its caller hears of the actor's end."""

    def busy(self) -> bool:
        """Nothing runs here."""
        return False

    def jobs(self) -> Iterable[Job]:
        """None that could be cancelled."""
        return ()

    def begun(self) -> Collection[Job]:
        """None."""
        return ()

    def interrupt(self, job: Job) -> None:
        """It has no jobs."""
