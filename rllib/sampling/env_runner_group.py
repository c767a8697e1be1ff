"""All env runners of an algorithm, wherever they are."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

from rllib.config import AlgorithmConfig
from rllib.interface import Interface
from rllib.sampling.crew import Crew, is_probed
from rllib.sampling.env_runner import SampleStats
from rllib.sampling.env_runner_calls import EnvRunnerCalls
from rllib.seeding import later_life
from rllib.workers import BESIDE, Worker, environs, fetch, is_remote, make_worker, stop_all


class Samples(NamedTuple):
    """Fragments, one of every env runner in each round, in their order, unless some failed.

    Attributes:
        batches: handles of ``SampleBatch``, to be passed on.
        stats: what the env runners tell of them.
        sources: indices of the env runners.
        begins: whether each is the first one of an env runner that was started anew.
    """

    batches: list[Any]
    stats: list[SampleStats]
    sources: list[int]
    begins: list[bool]


class _Request(NamedTuple):
    """A fragment that an env runner was asked for: its index, and handles."""

    source: int
    batch: Any
    stats: Any


def actor_options(config: AlgorithmConfig, is_told_beside: bool = False) -> dict[str, Any]:
    """Options of an env runner actor; among nodes they spread, unless something else is said, as
    each keeps a core busy.

    Args:
        config: what resources it is to have.
        is_told_beside: whether it can be told something while it samples, which costs a little.
    """
    asked = {
        "scheduling_strategy": "DEFAULT" if config.placement_strategy == "PACK" else "SPREAD",
        "num_cpus": config.num_cpus_per_env_runner if config.num_cpus_per_env_runner != 1 else None,
        "num_gpus": config.num_gpus_per_env_runner or None,
        "resources": config.custom_resources_per_env_runner or None,
        "concurrency_groups": {BESIDE: 1} if is_told_beside or is_probed(config) else None,
    }
    return {name: amount for name, amount in asked.items() if amount is not None} | environs(config)


class EnvRunnerGroup(EnvRunnerCalls):
    """``num_env_runners`` actors, or one env runner in this process if that is 0.

    Args:
        config: the algorithm's configuration.
        interface: of its environments.
        is_training: otherwise they only play.
        on_recreated: is told RLlib's numbers of those that were started anew, before they sample.
        is_told_beside: whether actors can be told something while they are busy.

    Attributes:
        weights_seq_no: of the weights that they were given last.
        generation: counts restores, so that later episodes have seeds of their own.
        resumed: the env runners that the last restore put where they had been.
    """

    def __init__(
        self,
        config: AlgorithmConfig,
        interface: Interface,
        is_training: bool = True,
        on_recreated: Callable[[list[int]], None] | None = None,
        is_told_beside: bool = False,
    ) -> None:
        self.config, self.interface, self.is_training = config, interface, is_training
        self.weights_seq_no = self.generation = 0
        self._options = actor_options(config, is_told_beside)
        self._weights: Any = None
        self._statistics: Any = None
        self._syncs: dict[int, list[Any]] = defaultdict(list)
        self._newborn: set[int] = set()
        self.resumed: set[int] = set()
        self._requests: dict[Any, tuple[int, str | None]] = {}
        self._on_recreated = on_recreated or (lambda numbers: None)
        self.crew = Crew(config, self._make, self._prepare, self._take_in, is_training)

    def _make(self, index: int) -> Worker:
        config, interface = self.config, self.interface
        return make_worker(
            interface.runner_class,
            config,
            interface.env_spaces,
            index,
            self.is_training,
            remote=config.num_env_runners > 0,
            **self._options,
        )

    def _prepare(self, index: int, worker: Worker) -> list[Any]:
        """An env runner in the place of one that failed: new episodes by the policy of now."""
        num_restarts = self.crew.restarts.num_restarts_of(index)
        handles = [worker.call("reset", later_life(self.generation, num_restarts))]
        if self._weights is not None:
            handles.append(worker.call("set_weights", self._weights, self.weights_seq_no))
        if self._statistics is not None:
            handles.append(worker.call("set_statistics", self._statistics))
        return handles

    def _take_in(self, indices: list[int]) -> None:
        self._newborn.update(indices)
        self._on_recreated([index + 1 for index in indices])

    def sample(
        self, timestep: int = 0, random_actions: bool = False, num_env_steps: int = 1
    ) -> Samples:
        """Fragments of every env runner; in the place of one that fails, others sample again.

        Args:
            timestep: ``num_env_steps_sampled_lifetime``, which schedules of exploration go by.
            random_actions: whether every action is as likely as any other, whatever the policy.
            num_env_steps: how many are wanted; by default one fragment of each. See
                ``AlgorithmConfig.rounds_of`` for how many make so many env steps.

        Raises:
            EnvError: an environment raised or returned what cannot be trained on.
            LateError: a fragment took longer than ``sample_timeout_s``.
            EnvRunnersError: env runners fail too often.
        """
        samples, how = Samples([], [], [], []), (timestep, random_actions)
        self._complete(self.config.rounds_of(num_env_steps), samples, how)
        while self.config.batch_mode == "complete_episodes" and (
            self._num_steps(samples) < num_env_steps
        ):
            self._complete(len(samples.batches) // len(self.workers) + 1, samples, how)
        return samples

    def _num_steps(self, samples: Samples) -> int:
        """In what ``count_steps_by`` counts in."""
        in_agent_steps = self.config.count_steps_by == "agent_steps"
        return sum(
            sum(each.agents.by_agent.values())
            if in_agent_steps and each.agents is not None
            else each.num_env_steps
            for each in samples.stats
        )

    def _complete(self, num_rounds: int, samples: Samples, how: tuple[int, bool]) -> None:
        """Add fragments until there are so many rounds of them."""
        while missing := num_rounds * len(self.workers) - len(samples.batches):
            healthy, lost = self.crew.await_healthy(), set[int]()
            sources = [healthy[i % len(healthy)] for i in range(missing)]
            asked = [_Request(i, *self.workers[i].call("sample", *how)) for i in sources]
            # Between two rounds nobody waits for the others, but each has its own time limit.
            for start in range(0, missing, len(healthy)):
                turn = asked[start : start + len(healthy)]
                good = [each for each in turn if each.source not in lost]
                self.crew.num_dropped += len(turn) - len(good)
                lost |= self._collect(good, samples)

    def _collect(self, asked: list[_Request], samples: Samples) -> set[int]:
        """Add the fragments that are good; returns the env runners that failed."""
        limit = self.config.sample_timeout_s
        remote = {each.stats: each.source for each in asked if is_remote(each.stats)}
        silent, lost = self.crew.await_all(remote, limit), set[int]()
        for request in asked:
            source = request.source
            handles = [*self._syncs.pop(source, ()), request.stats]
            try:
                told = self.crew.answer(source, handles, silent, "sample_timeout_s", limit)
            except Exception as error:
                self.failed(source, error)
                lost.add(source)
            else:
                self._add(request, told, samples)
        return lost

    def _add(self, request: _Request, told: SampleStats, samples: Samples) -> None:
        source = request.source
        self.crew.delivered(source)
        samples.batches.append(request.batch)
        samples.stats.append(told)
        samples.sources.append(source)
        samples.begins.append(source in self._newborn)
        self._newborn.discard(source)

    def failed(self, index: int, error: Exception, num_dropped: int = 1) -> None:
        """See ``Crew.failed``."""
        self._syncs.pop(index, None)
        self.crew.failed(index, error, num_dropped)
        if index in self.crew.healthy:  # it stays, and what it samples next follows a gap
            self._newborn.add(index)

    def sync_weights(
        self, weights: Any = None, *, from_worker_or_learner_group: Any = None
    ) -> None:
        """Send weights to all; the next fragments act by them.

        Args:
            weights: a handle from the learners.
            from_worker_or_learner_group: the learners, instead.

        Raises:
            TypeError: neither of the two.
        """
        if weights is None and from_worker_or_learner_group is None:
            raise TypeError(
                "sync_weights() sends what learners have: "
                "sync_weights(from_worker_or_learner_group=algo.learner_group)"
            )
        if weights is None:
            weights = from_worker_or_learner_group.get_weights()
        self.send_weights(weights, self.weights_seq_no + 1)

    def send_weights(self, weights: Any, seq_no: int) -> None:
        """The same under a sequence number of the caller's, which a restored run goes on with."""
        self.note_weights(weights, seq_no)
        for index in self.crew.healthy:
            self._syncs[index] = [self.workers[index].call("set_weights", weights, seq_no)]

    def forget_syncs(self) -> None:
        """What was sent before is not looked at: who had made it has died."""
        self._syncs.clear()

    def set_statistics(self, statistics: dict[str, Any]) -> None:
        """Tell all env runners what the connectors of all have seen together."""
        self.note_statistics(statistics)
        for index in self.crew.healthy:
            self._syncs[index].append(self.workers[index].call("set_statistics", statistics))

    def note_weights(self, weights: Any, seq_no: int) -> None:
        """What an env runner that is started anew acts by from now on: weights, or a handle."""
        self._weights, self.weights_seq_no = weights, seq_no

    def note_statistics(self, statistics: Any) -> None:
        """What its connectors know from now on: statistics, or a handle."""
        self._statistics = statistics

    def ask_states(self) -> dict[str, Any]:
        """Handles of state trees of all env runners, by index; nothing of one that has failed.

        One that samples answers when it has done what it was asked for before.
        """
        states: dict[str, Any] = {str(index): {} for index in range(len(self.workers))}
        told = {str(index): self.workers[index].call("get_state") for index in self.crew.healthy}
        return states | told

    def get_state(self) -> dict[str, Any]:
        """State tree of all env runners, by index; nothing of one that fails."""
        states = self.ask_states()
        for index, handle in states.items():
            try:
                states[index] = fetch(handle)
            except Exception as error:
                self.failed(int(index), error, num_dropped=0)
                states[index] = {}
        return states

    def set_state(self, state: dict[str, Any], generation: int) -> None:
        """Go on from ``get_state``; ``resumed`` are those in the middle of the episodes of then.

        With another number of env runners than before, all begin new episodes.
        """
        self.resumed.clear()
        self.generation = generation
        fits = len(state) == len(self.workers)
        handles = {
            index: self.workers[index].call(
                "set_state", (state.get(str(index)) or None) if fits else None, generation
            )
            for index in self.crew.healthy
        }
        for index, handle in handles.items():
            try:
                is_resumed = fetch(handle)
            except Exception as error:
                self.failed(index, error, num_dropped=0)
            else:
                self.resumed.update([index] if is_resumed else [])

    def stop(self) -> None:
        """Close all environments and end all actors."""
        stop_all(self.workers)
