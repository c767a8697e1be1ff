"""Asynchronous sampling: env runners are kept busy, and fragments are taken as they come.

    newest weights ---.
                      v
    ask -> set_weights, sample -> env runner -> Fragment (by reference) -> take -> learner
     ^                                                                     |
     '--------------------- room for one more request --------------------'

Whoever is ready is taken first, so a slow env runner holds up nobody but itself. A runner is asked
again only after a fragment of its has been taken: when the learner is the slower part, everything
waits for it with at most ``max_requests_in_flight_per_env_runner`` fragments per runner, and none
of them gets old. What a runner that failed was asked for is dropped; the others go on, and so does
the one in its place.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

from rllib import core
from rllib.sampling.env_runner import SampleStats
from rllib.sampling.env_runner_group import EnvRunnerGroup
from rllib.workers import Worker, fetch, late


class Fragment(NamedTuple):
    """A fragment that is ready.

    Attributes:
        batch: handle of the ``SampleBatch``, to be passed on.
        stats: what its env runner tells of it.
        weights_seq_no: of the weights that it was sampled with.
    """

    batch: Any
    stats: SampleStats
    weights_seq_no: int


class Gathered(NamedTuple):
    """Fragments for one train batch, and those that were too old for it."""

    kept: list[Fragment]
    dropped: list[Fragment]

    @property
    def stats(self) -> list[SampleStats]:
        """Of all fragments: those that were dropped have cost env steps as well."""
        return [fragment.stats for fragment in self.kept + self.dropped]


class _News(NamedTuple):
    """Something that env runners should know: a handle, and a number that rises."""

    value: Any
    seq_no: int


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """A fragment that a worker was asked for; ``syncs`` are handles of what was sent before."""

    runner: int
    worker: Worker
    batch: Any
    stats: Any
    syncs: list[Any]
    seq_no: int
    asked: float


class AsyncSampler:
    """Fragments of all env runners of a group, in the order in which they get ready.

    An env runner in this process is asked when a fragment is wanted, and samples then and there:
    nothing is asynchronous, and a run is reproducible bit for bit.

    Args:
        group: its env runners have the weights of ``group.weights_seq_no``.
    """

    def __init__(self, group: EnvRunnerGroup) -> None:
        self.group, self.config = group, group.config
        self.is_remote = self.config.num_env_runners > 0
        limit = self.config.max_requests_in_flight_per_env_runner
        self.max_in_flight = limit if self.is_remote else 1
        self.reset()

    def reset(self) -> None:
        """Forget all that was asked for, for example because the env runners were restored."""
        num_runners = len(self.group.workers)
        self._timestep = 0
        self._offers: deque[_News] = deque()
        self._weights = _News(None, self.group.weights_seq_no)
        self._statistics = _News(None, 0)
        self._sent_weights: list[int | None] = [self._weights.seq_no] * num_runners
        self._sent_statistics: list[int | None] = [self._statistics.seq_no] * num_runners
        self._load = [0] * num_runners
        self._asked: dict[Any, _Request] = {}
        self._done: deque[_Request] = deque()

    def offer_weights(self, weights: Any, seq_no: int) -> None:
        """Act by these weights (a handle) as soon as the learner has made them.

        Each env runner gets the newest that are ready before its next request, and no others.
        """
        self._offers.append(_News(self._shared(weights), seq_no))

    def offer_statistics(self, statistics: dict[str, Any]) -> None:
        """Let the connectors of each env runner know these before its next request."""
        self._statistics = _News(self._shared(statistics), self._statistics.seq_no + 1)
        self.group.note_statistics(self._statistics.value)

    def _shared(self, value: Any) -> Any:
        """One object for all env runners, however many they are."""
        is_here = self.is_remote and not isinstance(value, core.ObjectRef)
        return core.put(value) if is_here else value

    def gather(self, count: int, oldest_seq_no: int, timestep: int = 0) -> Gathered:
        """Take ``count`` fragments, none of them by weights older than ``oldest_seq_no``.

        Args:
            count: how many.
            oldest_seq_no: fragments that were sampled with older weights are set apart.
            timestep: ``num_env_steps_sampled_lifetime``, which env runners are told.

        Raises:
            EnvError: an environment raised or returned what cannot be trained on.
            EnvRunnersError: env runners fail too often.
            Exception: what one failed of, where that is not tolerated.
        """
        self._timestep = timestep
        gathered = Gathered([], [])
        while len(gathered.kept) < count:
            fragment = self.take()
            is_fresh = fragment.weights_seq_no >= oldest_seq_no
            (gathered.kept if is_fresh else gathered.dropped).append(fragment)
        return gathered

    def take(self) -> Fragment:
        """The fragment that has been ready for longest; waits until one is.

        Raises:
            See ``gather``.
        """
        while True:
            self._fill()
            self._sweep()
            while not self._done and self._asked:
                self._await_one()
            if self._done and (fragment := self._fetch(self._done.popleft())):
                return fragment

    def _fetch(self, request: _Request) -> Fragment | None:
        """The fragment, if nothing went wrong."""
        self._load[request.runner] -= 1
        try:
            for sync in request.syncs:
                fetch(sync)
            told = fetch(request.stats)
        except Exception as error:
            self._dropped(request, error)
            return None
        self.group.crew.delivered(request.runner)
        return Fragment(request.batch, told, request.seq_no)

    def _dropped(self, request: _Request, error: Exception) -> None:
        """A request came to nothing: the first one of an env runner that failed, or a later one."""
        crew, runner = self.group.crew, request.runner
        if runner in crew.healthy and request.worker is self.group.workers[runner]:
            self._failed(runner, error, 1)
        else:
            crew.num_dropped += 1

    def _failed(self, runner: int, error: Exception, num_dropped: int = 0) -> None:
        """Forget all that the env runner was asked for; fragments that are ready are still good."""
        lost = [ref for ref, each in self._asked.items() if each.runner == runner]
        for ref in lost:
            del self._asked[ref]
        self._load[runner] -= len(lost)
        self._sent_weights[runner] = self._sent_statistics[runner] = None
        self.group.failed(runner, error, num_dropped + len(lost))

    @property
    def num_ready(self) -> int:
        """Fragments that are ready and wait to be taken, as far as was noticed."""
        return len(self._done)

    @property
    def num_in_flight(self) -> int:
        """Fragments that were asked for and not taken yet."""
        return sum(self._load)

    def _fill(self) -> None:
        """Ask every env runner that has room, those with the least to do first."""
        self._take_offers()
        crew = self.group.crew
        crew.tend()
        # With nothing under way there is nobody but those who are being started.
        healthy = crew.healthy if self._asked or self._done else crew.await_healthy()
        for load in range(self.max_in_flight):
            for runner in healthy:
                if self._load[runner] == load:
                    self._ask(runner)

    def _take_offers(self) -> None:
        """A learner makes weights in the order in which they were asked of it."""
        while self._offers and _is_ready(self._offers[0].value):
            self._weights = self._offers.popleft()
            self.group.note_weights(*self._weights)

    def _ask(self, runner: int) -> None:
        worker = self.group.workers[runner]
        syncs = self._sync(runner)
        batch, stats = worker.call("sample", self._timestep)
        self._load[runner] += 1
        seq_no, now = self._weights.seq_no, perf_counter()
        request = _Request(runner, worker, batch, stats, syncs, seq_no, now)
        if isinstance(stats, core.ObjectRef):
            self._asked[stats] = request
        else:
            self._done.append(request)

    def _sync(self, runner: int) -> list[Any]:
        """Send what the env runner does not know yet."""
        worker, syncs = self.group.workers[runner], []
        if _is_new(self._weights, self._sent_weights[runner]):
            self._sent_weights[runner] = self._weights.seq_no
            syncs.append(worker.call("set_weights", *self._weights))
        if _is_new(self._statistics, self._sent_statistics[runner]):
            self._sent_statistics[runner] = self._statistics.seq_no
            syncs.append(worker.call("set_statistics", self._statistics.value))
        return syncs

    def _sweep(self) -> None:
        """Note which requests are done, and who is late although the others go on."""
        self._note(_ready(list(self._asked), len(self._asked), 0.0))
        limit = self.config.sample_timeout_s * self.max_in_flight
        while self._asked:
            oldest = next(iter(self._asked.values()))
            if perf_counter() - oldest.asked <= limit:
                break
            self._late(oldest)

    def _await_one(self) -> None:
        """Wait until a request is done; or else find out who is not even alive, or late."""
        limit = self.config.sample_timeout_s
        patience = min(limit, self.group.crew.patience_s)
        if done := _ready(list(self._asked), 1, patience):
            self._note(done)
            return
        oldest = next(iter(self._asked.values()))
        if patience == limit or perf_counter() - oldest.asked > limit:
            self._late(oldest)
            return
        for runner, error in self.group.crew.silent(self._waited_for()).items():
            self._failed(runner, error)

    def _waited_for(self) -> set[int]:
        return {each.runner for each in self._asked.values()}

    def _note(self, done: list[Any]) -> None:
        self._done += [self._asked.pop(ref) for ref in done]

    def _late(self, request: _Request) -> None:
        limit = self.config.sample_timeout_s
        error = late(f"env runner {request.runner}", "sample_timeout_s", limit)
        self._failed(request.runner, error)


def _is_new(news: _News, sent: int | None) -> bool:
    return news.value is not None and news.seq_no != sent


def _is_ready(handle: Any) -> bool:
    return not isinstance(handle, core.ObjectRef) or bool(_ready([handle], 1, 0.0))


def _ready(refs: Sequence[Any], num_returns: int, timeout: float) -> list[Any]:
    """Those of ``refs`` that are ready, up to ``num_returns`` of them, in their order."""
    if not refs:
        return []
    return list(core.wait(list(refs), num_returns=num_returns, timeout=timeout)[0])
