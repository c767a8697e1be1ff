"""All env runners of an algorithm, wherever they are."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

from rllib import core
from rllib.absent import NamesNearest
from rllib.config import AlgorithmConfig
from rllib.interface import Interface
from rllib.sampling.env_runner import SampleStats
from rllib.workers import LocalWorker, Worker, environs, fetch, fetch_sample, make_worker, stop_all


class Samples(NamedTuple):
    """One fragment of each env runner, in the order of the env runners, as handles.

    Attributes:
        batches: handles of ``SampleBatch``, to be passed on.
        stats: handles of ``SampleStats``.
        syncs: handles of the weight syncs before the fragments; they hold nothing but failures.
    """

    batches: Sequence[Any]
    stats: Sequence[Any]
    syncs: Sequence[Any]


def _applied(worker: Worker, func: Callable[..., Any] | str, kwargs: Mapping[str, Any]) -> Any:
    if isinstance(func, str):
        return worker.call(func, **kwargs)
    return worker.call("apply", partial(func, **kwargs) if kwargs else func)


def actor_options(config: AlgorithmConfig) -> dict[str, Any]:
    """Resources of an env runner actor, where the settings ask for others than an actor has."""
    asked = {
        "num_cpus": config.num_cpus_per_env_runner if config.num_cpus_per_env_runner != 1 else None,
        "num_gpus": config.num_gpus_per_env_runner or None,
        "resources": config.custom_resources_per_env_runner or None,
    }
    return {name: amount for name, amount in asked.items() if amount is not None} | environs(config)


_FIXED = "the number of env runners is config.num_env_runners for the whole run"


class EnvRunnerGroup(NamesNearest):
    """``num_env_runners`` actors, or one env runner in this process if that is 0.

    Args:
        config: the algorithm's configuration.
        interface: of its environments.
        is_training: otherwise they only play.
        options: of actors, besides those that the settings ask for.
    """

    INSTEAD: ClassVar[Mapping[str, str]] = {
        "add_workers": _FIXED,
        "reset": _FIXED,
        "foreach_env": "foreach_env_runner(func), where func finds environments by env_runner.env",
        "foreach_env_with_context": "foreach_env_runner(func), with env_runner.env and its config",
        "foreach_worker": "it is called foreach_env_runner here",
        "local_worker": "it is called local_env_runner here",
        "sync_env_runner_states": "states of connectors are merged in every iteration",
        "get_merged_env_runner_state": "algo.interface.pipeline.get_statistics() has it",
        "probe_unhealthy_env_runners": "an env runner that fails ends training, with its cause",
        "num_remote_worker_restarts": "env runners that fail are not restarted yet",
        "foreach_env_runner_async_fetch_ready": "foreach_env_runner_async(func), then "
        "fetch_ready_async_reqs()",
    }

    def __init__(
        self,
        config: AlgorithmConfig,
        interface: Interface,
        is_training: bool = True,
        **options: Any,
    ) -> None:
        self.config = config
        remote = config.num_env_runners > 0
        self.workers: list[Worker] = [
            make_worker(
                interface.runner_class,
                config,
                interface.env_spaces,
                index,
                is_training,
                remote=remote,
                **actor_options(config),
                **options,
            )
            for index in range(max(1, config.num_env_runners))
        ]
        self.weights_seq_no = 0
        self._syncs: list[Any] = []
        self._requests: dict[Any, tuple[int, str | None]] = {}

    def sample(self, timestep: int = 0, random_actions: bool = False) -> Samples:
        """Start one fragment on every env runner; remote ones return handles at once.

        Args:
            timestep: ``num_env_steps_sampled_lifetime``, which schedules of exploration go by.
            random_actions: whether every action is as likely as any other, whatever the policy.
        """
        pairs = [worker.call("sample", timestep, random_actions) for worker in self.workers]
        batches, stats = zip(*pairs, strict=True)
        return Samples(batches, stats, self._syncs)

    def sync_weights(
        self, weights: Any = None, *, from_worker_or_learner_group: Any = None
    ) -> None:
        """Send weights to all; the next fragments act by them.

        Args:
            weights: a handle from the learners.
            from_worker_or_learner_group: the learners, instead.
        """
        if weights is None:
            weights = from_worker_or_learner_group.get_weights()
        self.send_weights(weights, self.weights_seq_no + 1)

    def send_weights(self, weights: Any, seq_no: int) -> None:
        """The same under a sequence number of the caller's, which a restored run goes on with."""
        self.weights_seq_no = seq_no
        self._syncs = [worker.call("set_weights", weights, seq_no) for worker in self.workers]

    def set_statistics(self, statistics: dict[str, Any]) -> None:
        """Tell all env runners what the connectors of all have seen together."""
        self._syncs += [worker.call("set_statistics", statistics) for worker in self.workers]

    def fetch_stats(self, samples: Samples) -> list[SampleStats]:
        """Wait until the fragments, and the weight syncs before them, are done.

        Raises:
            EnvError: an environment raised or returned what cannot be trained on.
            TrainingError: a fragment took longer than ``sample_timeout_s``.
        """
        limit = self.config.sample_timeout_s
        for sync in samples.syncs:
            fetch_sample(sync, limit)
        return [fetch_sample(stats, limit) for stats in samples.stats]

    # RLlib's ways to each of them.

    @property
    def local_env_runner(self) -> Any:
        """The env runner of this process; ``None`` where all are actors."""
        worker = self.workers[0]
        return worker.target if isinstance(worker, LocalWorker) else None

    def num_remote_env_runners(self) -> int:
        """How many are actors."""
        return sum(not isinstance(worker, LocalWorker) for worker in self.workers)

    def num_healthy_remote_env_runners(self) -> int:
        """The same: an env runner that fails ends training."""
        return self.num_remote_env_runners()

    def num_healthy_env_runners(self) -> int:
        """How many there are, with one in this process."""
        return len(self.workers)

    def healthy_env_runner_ids(self) -> list[int]:
        """Numbers of those that are actors, from 1 on."""
        return list(range(1, self.num_remote_env_runners() + 1))

    def get_spaces(self) -> dict[str, Any]:
        """Spaces of environments and modules; see ``EnvRunner.get_spaces``."""
        spaces: dict[str, Any] = fetch(self.workers[0].call("get_spaces"))
        return spaces

    def _chosen(self, local: bool, remote_ids: Sequence[int] | None) -> list[tuple[int, Worker]]:
        """Workers with RLlib's numbers: 0 is the one in this process, actors count from 1 on."""
        is_local = self.local_env_runner is not None
        numbered = list(enumerate(self.workers, start=0 if is_local else 1))
        if is_local:
            return numbered if local else []
        return [(i, each) for i, each in numbered if remote_ids is None or i in remote_ids]

    def foreach_env_runner(
        self,
        func: Callable[..., Any] | str,
        *,
        kwargs: Mapping[str, Any] | None = None,
        local_env_runner: bool = True,
        healthy_only: bool = True,
        remote_worker_ids: Sequence[int] | None = None,
        timeout_seconds: float | None = None,
    ) -> list[Any]:
        """Call ``func(env_runner)`` where each env runner lives; returns what they return.

        The way to change environments while training, from a callback for example: ``func`` gets
        at them by ``env_runner.env``.

        Args:
            func: may be any function; it travels to actors. Or the name of a method.
            kwargs: more arguments.
            local_env_runner: whether one in this process is called, too.
            healthy_only: has no meaning here: all are healthy, or training has ended.
            remote_worker_ids: which actors, from 1 on; by default all.
            timeout_seconds: how long to wait for each.

        Raises:
            TaskError: ``func`` raised in an actor.
            GetTimeoutError: it took longer.
        """
        chosen = self._chosen(local_env_runner, remote_worker_ids)
        handles = [_applied(worker, func, kwargs or {}) for _, worker in chosen]
        return [fetch(handle, timeout_seconds) for handle in handles]

    def foreach_env_runner_async(
        self,
        func: Callable[..., Any] | str,
        tag: str | None = None,
        *,
        kwargs: Mapping[str, Any] | None = None,
        healthy_only: bool = True,
        remote_worker_ids: Sequence[int] | None = None,
    ) -> int:
        """The same of actors without waiting; ``fetch_ready_async_reqs`` has what they return.

        Returns:
            How many were called.
        """
        chosen = self._chosen(False, remote_worker_ids)
        for number, worker in chosen:
            self._requests[_applied(worker, func, kwargs or {})] = (number, tag)
        return len(chosen)

    def num_in_flight_async_reqs(self, tag: str | None = None) -> int:
        """How many calls of ``foreach_env_runner_async`` nobody has fetched yet."""
        return sum(tag is None or tag == mine for _, mine in self._requests.values())

    def fetch_ready_async_reqs(
        self, *, tags: Sequence[str] = (), timeout_seconds: float | None = 0.0
    ) -> list[tuple[int, Any]]:
        """(number, what it returned) of all calls that are done.

        Args:
            tags: of the calls that are meant; by default all.
            timeout_seconds: how long to wait for all of them; ``None`` until all are done.
        """
        mine = [h for h, (_, tag) in self._requests.items() if not tags or tag in tags]
        ready, _ = (
            core.wait(mine, num_returns=len(mine), timeout=timeout_seconds) if mine else ([], [])
        )
        return [(self._requests.pop(handle)[0], fetch(handle)) for handle in ready]

    def get_state(self) -> dict[str, Any]:
        """State tree of all env runners, by index."""
        handles = [worker.call("get_state") for worker in self.workers]
        return {str(index): fetch(handle) for index, handle in enumerate(handles)}

    def set_state(self, state: dict[str, Any], generation: int) -> None:
        """Go on from ``get_state``; see ``EnvRunner.set_state`` for those that cannot.

        With another number of env runners than before, all begin new episodes.
        """
        fits = len(state) == len(self.workers)
        handles = [
            worker.call("set_state", state.get(str(index)) if fits else None, generation)
            for index, worker in enumerate(self.workers)
        ]
        for handle in handles:
            fetch(handle)

    def stop(self) -> None:
        """Close all environments and end all actors."""
        stop_all(self.workers)
