"""The node's worker processes: which there are, and which of them are free for what.

Life of a worker::

    started --ready--> idle <--> in use for a lease
                        |
                        '------> in use for an actor, with which it ends
    any state --down--> gone

A worker that has run in an environment (variables, working directory, modules; see `runtime_env`)
serves only that one from then on. Who finds none waits here, and gets the next that will do.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rllib.core.native import wire
from rllib.core.native.amounts import Share
from rllib.core.native.instructions import Instruction, Start, Tell

MAX_START_FAILURES = 8
"""In a row, after which nobody waits for a process any longer."""


@dataclass(slots=True, eq=False)
class Worker:
    """A process, and what it is in use for."""

    worker: bytes
    ready: bool = False
    started_after: int = 0
    """How many starts in a row had failed when it was started."""
    environment: str | None = None
    """In which it has run; ``None`` for a fresh one."""
    user: Any = None
    """The demand that it serves."""
    share: Share | None = None
    """What it holds as long as it is in use."""
    turn: int = 0
    """The later it came into use, the higher."""
    waiting: bool = False
    """Its task waits for another one; its CPUs are lent to others meanwhile."""

    def release(self) -> None:
        """Give back what it holds."""
        share, self.share = self.share, None
        if share is not None:
            share.give_back()


class Workforce:
    """Feed it events; what is to be started or told goes to ``out``."""

    def __init__(self, new_id: Callable[[], bytes], spare: int, out: list[Instruction]) -> None:
        self._new_id = new_id
        self._spare = spare  # idle workers worth keeping
        self._out = out
        self._workers: dict[bytes, Worker] = {}
        self._idle: list[Worker] = []
        self._start_failures = 0
        self._turn = 0
        self._queues: dict[str, OrderedDict[Any, int]] = {}
        """Who waits for a process, by environment, and since when."""
        self.starting = 0

    def __iter__(self) -> Iterator[Worker]:
        return iter(list(self._workers.values()))

    def __len__(self) -> int:
        return len(self._workers)

    def get(self, worker_id: bytes) -> Worker | None:
        """The worker, unless it is gone."""
        return self._workers.get(worker_id)

    def start_missing(self) -> None:
        """Have as many processes forked as are waited for."""
        for _ in range(sum(map(len, self._queues.values())) - self.starting):
            self._start()

    def _start(self) -> None:
        worker = Worker(self._new_id(), started_after=self._start_failures)
        self._workers[worker.worker] = worker
        self.starting += 1
        self._out.append(Start(worker.worker))

    def became_ready(self, worker_id: bytes) -> None:
        """It can be used. Raises `wire.WireError` for a worker that was not started."""
        worker = self._workers.get(worker_id)
        if worker is None or worker.ready:
            raise wire.WireError("WorkerReady of a worker that was not started")
        worker.ready = True
        self.starting -= 1
        self._start_failures = 0
        self._idle.append(worker)

    def choose(self, environment: str) -> Worker | None:
        """Take an idle worker for that environment: one that knows it, or else a fresh one."""
        for known in (environment, None):
            for worker in reversed(self._idle):
                if worker.environment == known:
                    self._idle.remove(worker)
                    worker.environment = environment
                    return worker
        return None

    def wait(self, user: Any, environment: str) -> None:
        """Let ``user`` wait for a process for that environment."""
        self._turn += 1
        self._queues.setdefault(environment, OrderedDict())[user] = self._turn

    def leave(self, user: Any, environment: str) -> None:
        """It waits no more."""
        queue = self._queues[environment]
        del queue[user]
        if not queue:
            del self._queues[environment]

    def waiting(self) -> list[Any]:
        """Who waits for a process."""
        return [user for queue in self._queues.values() for user in queue]

    def served(self) -> Iterator[tuple[Any, Worker]]:
        """Those who have waited for a process, longest first, each with an idle one for it."""
        while (found := self._serve()) is not None:
            yield found

    def _serve(self) -> tuple[Any, Worker] | None:
        if not self._idle:
            return None
        longest = sorted(self._queues, key=lambda each: next(iter(self._queues[each].values())))
        for environment in longest:
            worker = self.choose(environment)
            if worker is not None:
                user = next(iter(self._queues[environment]))
                self.leave(user, environment)
                return user, worker
        return None

    def rest(self, worker: Worker, *, spoiled: bool) -> None:
        """It is not in use any more; a spoiled one takes no more calls."""
        worker.user, worker.waiting = None, False
        worker.release()
        if spoiled:
            self._out.append(Tell(worker.worker, wire.Retire()))
        else:
            self._idle.append(worker)

    def retire(self) -> None:
        """Ask those that are too many to leave; they may own objects that others hold."""
        while len(self._idle) > self._spare:
            self._out.append(Tell(self._idle.pop(0).worker, wire.Retire()))

    def lost(self, worker_id: bytes) -> Worker | None:
        """It is gone, and what it held is free."""
        worker = self._workers.pop(worker_id, None)
        if worker is not None:
            worker.release()
            if worker in self._idle:
                self._idle.remove(worker)
        return worker

    def start_failed(self, worker: Worker) -> bool:
        """It died before it was ready; whether that happened too often in a row. Several that
        are started at once may die of one cause, and count once."""
        self.starting -= 1
        self._start_failures += worker.started_after == self._start_failures
        if self._start_failures < MAX_START_FAILURES:
            return False
        self._start_failures = 0
        return True
