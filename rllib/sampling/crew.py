"""The env runners of a group: who is there, who failed, and who is started anew.

    failed -> Restarts -> make, prepare (environments, weights, statistics) -> healthy

An actor that failed is killed whatever it was doing, and another one takes its index. Nobody waits
for that: it is looked after whenever somebody is to be asked for something.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from time import monotonic, sleep
from typing import Any, NamedTuple
from warnings import warn

from rllib import core
from rllib.config import AlgorithmConfig
from rllib.core.exceptions import (
    ActorError,
    CoreError,
    GetTimeoutError,
    OutOfDiskError,
    RuntimeClosedError,
    TaskError,
)
from rllib.errors import EnvError, LateError
from rllib.sampling.restarts import Restarts, State, headline
from rllib.workers import LocalWorker, Worker, fetch, is_remote, late

ASLEEP_S = 1.0
"""The longest nap while nobody can be started yet."""


ROOM_NAP_S = 0.2
"""Seconds until an env runner is asked again for whose fragment there was no room."""


class _Start(NamedTuple):
    """Who is being started, and handles of what it was asked for."""

    runner: int
    handles: list[Any]


class Crew:
    """Workers by index, some of which may be out of order.

    Args:
        config: the algorithm's configuration.
        make: starts the worker of an index.
        prepare: brings a worker that was just started up to what the others know; returns handles,
            of which the last is done last.
        on_recreated: is told the indices of those that are as the others again.
        is_vital: whether it is over when nobody is left who works.
        clock: seconds.
        nap: waits for so many seconds.

    Attributes:
        workers: by index, whatever state they are in.
        num_dropped: requests that came to nothing because of failures.
        restarts: who is in which state.
    """

    def __init__(
        self,
        config: AlgorithmConfig,
        make: Callable[[int], Worker],
        prepare: Callable[[int, Worker], list[Any]],
        on_recreated: Callable[[list[int]], None],
        is_vital: bool = True,
        clock: Callable[[], float] = monotonic,
        nap: Callable[[float], None] = sleep,
    ) -> None:
        self.config, self.make, self.prepare = config, make, prepare
        self.on_recreated, self.clock, self.nap = on_recreated, clock, nap
        number = max(1, config.num_env_runners)
        self.workers = [make(index) for index in range(number)]
        self.restarts = Restarts(config, number, is_vital)
        self.num_dropped = 0
        self._starting: dict[Any, _Start] = {}
        self._kinds: set[str] = set()
        self._full_since: float | None = None
        self._unborn = {worker.call("ping"): i for i, worker in enumerate(self.workers)}

    @property
    def healthy(self) -> list[int]:
        """Indices of those that can be asked for something."""
        return self.restarts.those(State.HEALTHY)

    @property
    def present(self) -> list[int]:
        """Indices of those and of those that are being started, who will answer once they are."""
        return sorted(self.healthy + self.restarts.those(State.STARTING))

    def delivered(self, index: int) -> None:
        """It has done what it was asked for."""
        self._full_since = None
        self.restarts.delivered(index)

    def failed(self, index: int, error: Exception, num_dropped: int = 1) -> None:
        """Let go of a worker, and begin to start another one, if it is time.

        One for whose answer there was no room, in memory or on disk, is well and stays.

        Raises:
            EnvRunnersError: they fail too often.
            Exception: the error itself, if nobody is started anew, the fault is not that of the
                worker, it has never been able to begin, or there is no room for too long.
        """
        worker = self.workers[index]
        if isinstance(error, OutOfDiskError) and not isinstance(worker, LocalWorker):
            self._wait_for_room(index, error, num_dropped)
            return
        if isinstance(worker, LocalWorker) or not is_fault(error):
            raise error
        if _in_constructor(error) and not self.restarts.num_restarts_of(index):
            raise error
        self.restarts.failed(index, error, self.clock())
        self.num_dropped += num_dropped
        self._starting = {
            last: each for last, each in self._starting.items() if each.runner != index
        }
        worker.end()
        warn(self._warning(index, error), RuntimeWarning, stacklevel=2)
        self.tend()

    def _wait_for_room(self, index: int, error: OutOfDiskError, num_dropped: int) -> None:
        """Others may let go of something soon; meanwhile nobody can deliver.

        Raises:
            OutOfDiskError: the error itself, after ``sample_timeout_s`` without room.
        """
        if self._full_since is None:
            self._full_since = self.clock()
            text = f"what env runner {index} has sampled is dropped, and it is asked again: {error}"
            warn(text, RuntimeWarning, stacklevel=3)
        elif self.clock() - self._full_since > self.config.sample_timeout_s:
            raise error
        self.num_dropped += num_dropped
        self.nap(ROOM_NAP_S)

    def _warning(self, index: int, error: Exception) -> str:
        """What is to be said of a failure: all that is known of the first one of its kind."""
        goes = "is started anew" if self.config.restart_failed_env_runners else "is left out"
        kind = re.sub(r"\d+", "#", headline(error))
        what = headline(error) if kind in self._kinds else str(error)
        self._kinds.add(kind)
        return f"env runner {index} failed and {goes}: {what}"

    def tend(self, timeout: float = 0.0) -> None:
        """Start those whose time has come, and take in those that are ready.

        Args:
            timeout: seconds to wait for one to be ready.

        Raises:
            EnvRunnersError: they fail too often.
        """
        if self._unborn:
            self._await_births()
        if self.restarts.are_healthy:
            return
        for index in self.restarts.due(self.clock()):
            self._start(index)
        if self._starting:
            for handle in core.wait([*self._starting], timeout=timeout)[0]:
                self._take_in(*self._starting.pop(handle))
        for index in self.restarts.overdue(self.clock()):
            self._give_up(index)

    def _await_births(self) -> None:
        """Making environments may take long, which is not to be held against the first request."""
        unborn, self._unborn = self._unborn, {}
        name, limit = "env_runner_restore_timeout_s", self.config.env_runner_restore_timeout_s
        remote = [handle for handle in unborn if is_remote(handle)]
        if remote:
            core.wait(remote, num_returns=len(remote), timeout=limit)
        for handle, index in unborn.items():
            try:
                self.answer(index, [handle], {}, name, limit)
            except Exception as error:
                self.failed(index, error, num_dropped=0)

    def _start(self, index: int) -> None:
        self.restarts.begin(index, self.clock())
        worker = self.workers[index] = self.make(index)
        handles = self.prepare(index, worker)
        self._starting[handles[-1]] = _Start(index, handles)

    def prepare_again(self) -> None:
        """Tell those who are being started what is known now: what they were told may be lost."""
        starting, self._starting = self._starting, {}
        for each in starting.values():
            handles = self.prepare(each.runner, self.workers[each.runner])
            self._starting[handles[-1]] = _Start(each.runner, handles)

    def _take_in(self, index: int, handles: list[Any]) -> None:
        try:
            for handle in handles:
                fetch(handle)
        except Exception as error:
            self.failed(index, error, num_dropped=0)
        else:
            self.restarts.ready(index)
            self.on_recreated([index])

    def _give_up(self, index: int) -> None:
        limit = self.config.env_runner_restore_timeout_s
        error = LateError(f"needed more than env_runner_restore_timeout_s = {limit} to begin")
        self.failed(index, error, num_dropped=0)

    def await_healthy(self, limit: float | None = None) -> list[int]:
        """Indices of those that can be asked, as soon as there is one, or after ``limit`` seconds.

        Raises:
            EnvRunnersError: they fail too often.
        """
        until = None if limit is None else self.clock() + limit
        self.tend()
        while not (healthy := self.healthy):
            left = ASLEEP_S if until is None else min(ASLEEP_S, until - self.clock())
            if left <= 0 or not (self._starting or self.restarts.next_due()):
                break
            self._nap(left)
        return healthy

    def _nap(self, seconds: float) -> None:
        """Until somebody may be ready, or is due."""
        due = self.restarts.next_due()
        seconds = seconds if due is None else max(0.0, min(seconds, due - self.clock()))
        if self._starting:
            self.tend(seconds)
        else:
            sleep(seconds)
            self.tend()

    def await_all(self, asked: Mapping[Any, int], limit: float) -> dict[int, LateError]:
        """Wait until everybody has answered, but not for those who are not even alive.

        Args:
            asked: index of the worker by handle.
            limit: seconds to wait.

        Returns:
            What is the matter with those who are not alive.
        """
        until, waiting = self.clock() + limit, [*asked]
        silent: dict[int, LateError] = {}
        while waiting and (left := until - self.clock()) > 0:
            patience = min(left, self.patience_s)
            _, waiting = core.wait(waiting, num_returns=len(waiting), timeout=patience)
            if waiting and self.clock() < until:
                silent |= self.silent({asked[handle] for handle in waiting})
            waiting = [handle for handle in waiting if asked[handle] not in silent]
        return silent

    def answer(
        self,
        index: int,
        handles: Iterable[Any],
        silent: Mapping[int, LateError],
        setting: str,
        limit: float,
    ) -> Any:
        """What a worker was asked for last, after ``await_all``.

        Args:
            index: of the worker.
            handles: of all that it was asked for.
            silent: what ``await_all`` returned.
            setting: that said how long to wait.
            limit: what it is, in seconds.

        Raises:
            Exception: what went wrong.
        """
        if index in silent:
            raise silent[index]
        answer = None
        try:
            for handle in handles:
                answer = fetch(handle, 0.0)
        except GetTimeoutError:
            raise late(f"env runner {index}", setting, limit) from None
        return answer

    @property
    def patience_s(self) -> float:
        """Seconds to wait for a sample before its env runner is asked whether it is alive."""
        is_asked, limit = is_probed(self.config), self.config.env_runner_health_probe_timeout_s
        return limit if is_asked else float("inf")

    def _ping(self, worker: Worker) -> Any:
        return worker.call_beside("ping") if is_probed(self.config) else worker.call("ping")

    def silent(self, indices: Iterable[int]) -> dict[int, LateError]:
        """Those of some workers who do not say that they are alive, and what to say of it."""
        limit = self.config.env_runner_health_probe_timeout_s
        pings = {self._ping(self.workers[index]): index for index in indices}
        _, late = core.wait([*pings], num_returns=len(pings), timeout=limit) if pings else ([], [])
        text = f"has not said for env_runner_health_probe_timeout_s = {limit} that it is alive"
        return {pings[handle]: LateError(text) for handle in late}


def is_probed(config: AlgorithmConfig) -> bool:
    """Whether env runners are asked if they are alive while they sample: where a sample may take
    much longer than such an answer."""
    return config.sample_timeout_s > 2.0 * config.env_runner_health_probe_timeout_s


def is_fault(error: Exception) -> bool:
    """Whether an error is that of an env runner or its environments, so that another may do better.

    That of a callback, of the settings or of the runtime is not.
    """
    if isinstance(error, TaskError):
        return not isinstance(error.cause, CoreError)  # else it was given what somebody else lost
    return isinstance(error, EnvError | LateError | CoreError) and not isinstance(
        error, RuntimeClosedError
    )


def _in_constructor(error: BaseException) -> bool:
    """Whether an actor could not begin: a mistake in the settings rather than a fault."""
    if isinstance(error, ActorError):
        return isinstance(error.__cause__, TaskError)
    return isinstance(error.__cause__, ActorError)
