"""All env runners of an algorithm, wherever they are."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rllib.config import AlgorithmConfig
from rllib.interface import Interface
from rllib.sampling.env_runner import SampleStats
from rllib.workers import Worker, environs, fetch, fetch_sample, make_worker, stop_all


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


def actor_options(config: AlgorithmConfig) -> dict[str, Any]:
    """Resources of an env runner actor, where the settings ask for others than an actor has."""
    asked = {
        "num_cpus": config.num_cpus_per_env_runner if config.num_cpus_per_env_runner != 1 else None,
        "num_gpus": config.num_gpus_per_env_runner or None,
        "resources": config.custom_resources_per_env_runner or None,
    }
    return {name: amount for name, amount in asked.items() if amount is not None} | environs(config)


class EnvRunnerGroup:
    """``num_env_runners`` actors, or one env runner in this process if that is 0.

    Args:
        config: the algorithm's configuration.
        interface: of its environments.
        is_training: otherwise they only play.
        options: of actors, besides those that the settings ask for.
    """

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

    def sample(self, timestep: int = 0, random_actions: bool = False) -> Samples:
        """Start one fragment on every env runner; remote ones return handles at once.

        Args:
            timestep: ``num_env_steps_sampled_lifetime``, which schedules of exploration go by.
            random_actions: whether every action is as likely as any other, whatever the policy.
        """
        pairs = [worker.call("sample", timestep, random_actions) for worker in self.workers]
        batches, stats = zip(*pairs, strict=True)
        return Samples(batches, stats, self._syncs)

    def sync_weights(self, weights: Any) -> None:
        """Send weights (a handle from the learner) to all; the next fragments act by them."""
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

    def foreach_env_runner(
        self, func: Callable[[Any], Any], *, local_env_runner: bool = True
    ) -> list[Any]:
        """Call ``func(env_runner)`` where each env runner lives; returns what they return.

        The way to change environments while training, from a callback for example: ``func`` gets
        at them by ``env_runner.env``.

        Args:
            func: may be any function; it travels to actors.
            local_env_runner: whether one in this process is called, too.

        Raises:
            TaskError: ``func`` raised in an actor.
        """
        workers = self.workers if self.config.num_env_runners or local_env_runner else []
        return [fetch(each) for each in [worker.call("apply", func) for worker in workers]]

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
