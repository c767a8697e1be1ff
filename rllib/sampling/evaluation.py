"""Env runners of their own, which play with the current policy and collect nothing."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rllib.config import AlgorithmConfig
from rllib.interface import Interface
from rllib.metrics.metrics_logger import MetricsLogger, filled
from rllib.sampling.env_runner import SampleStats
from rllib.sampling.env_runner_group import actor_options
from rllib.sampling.episodes import EpisodeWindow
from rllib.seeding import Role, derive_seed
from rllib.workers import Worker, fetch_sample, make_worker, stop_all


class Evaluation:
    """``evaluation_num_env_runners`` actors, or one env runner in this process if that is 0.

    The n-th evaluation of a run plays with the same seeds in every run of the same configuration.

    Args:
        config: the algorithm's configuration.
        interface: of its environments.
    """

    def __init__(self, config: AlgorithmConfig, interface: Interface) -> None:
        self.training_config, self.config = config, evaluation_config(config)
        remote = config.evaluation_num_env_runners > 0
        self.workers: list[Worker] = [
            make_worker(
                interface.runner_class,
                self.config,
                interface.env_spaces,
                index,
                False,
                remote=remote,
                **actor_options(self.config),
            )
            for index in range(max(1, config.evaluation_num_env_runners))
        ]
        self.num_evaluations = 0
        self.metrics = MetricsLogger()

    def is_due(self, iteration: int) -> bool:
        """Whether an evaluation belongs to training iteration ``iteration`` (from 1 on)."""
        interval = self.training_config.evaluation_interval
        return bool(interval) and iteration % (interval or 1) == 0

    def begin(
        self, weights: Any, seq_no: int, statistics: dict[str, Any], timestep: int = 0
    ) -> "Plays":
        """Start to play; remote env runners play while the caller goes on.

        Args:
            weights: handle of the policy's weights.
            seq_no: number of their sync.
            statistics: of the connectors, which stay as they are while evaluating.
            timestep: ``num_env_steps_sampled_lifetime``, which schedules of exploration go by.
        """
        self.num_evaluations += 1
        reset = self.training_config.evaluation_force_reset_envs_before_iteration
        generation = self.num_evaluations if reset or self.num_evaluations == 1 else None
        shares = self._shares()
        busy = [worker for worker, share in zip(self.workers, shares, strict=True) if share]
        syncs = [worker.call("set_weights", weights, seq_no) for worker in busy]
        syncs += [worker.call("set_statistics", statistics) for worker in busy]
        unit = self.training_config.evaluation_duration_unit
        plays = [
            worker.call("play", share, unit, generation, timestep)
            for worker, share in zip(self.workers, shares, strict=True)
            if share
        ]
        return Plays(syncs, plays)

    def finish(self, plays: "Plays") -> dict[str, Any]:
        """Wait for what was begun; returns the metrics of its episodes under RLlib's names.

        Raises:
            EnvError: an environment raised.
            TrainingError: it took longer than ``evaluation_sample_timeout_s``.
        """
        limit = self.training_config.evaluation_sample_timeout_s
        for sync in plays.syncs:
            fetch_sample(sync, limit, "evaluation_sample_timeout_s")
        stats = [fetch_sample(play, limit, "evaluation_sample_timeout_s") for play in plays.plays]
        self.metrics.aggregate([each.metrics for each in stats])
        return {"env_runners": filled(summarize(stats), self.metrics.compile())}

    def _shares(self) -> list[int]:
        """Episodes or env steps of each worker; "auto" is one episode of each environment."""
        total = self.training_config.evaluation_duration
        if total == "auto":
            return [self.config.num_envs_per_env_runner] * len(self.workers)
        share, rest = divmod(total, len(self.workers))
        return [share + (index < rest) for index in range(len(self.workers))]

    def stop(self) -> None:
        """Close all environments and end all actors."""
        stop_all(self.workers)


class Plays(NamedTuple):
    """What was begun, as handles."""

    syncs: Sequence[Any]
    plays: Sequence[Any]


def evaluation_config(config: AlgorithmConfig) -> AlgorithmConfig:
    """The settings that evaluation runs by: those of training and what differs from them.

    Raises:
        ConfigError: they do not go together.
    """
    changed = config.get_evaluation_config_object()
    changed.seed = derive_seed(config.seed, Role.EVALUATION)
    return changed.freeze()


def summarize(stats: Sequence[SampleStats]) -> dict[str, Any]:
    """Metrics of the episodes of some env runners, and those alone."""
    episodes = [episode for each in stats for episode in each.episodes]
    window = EpisodeWindow(max(1, len(episodes)))
    window.add(episodes)
    return window.summary() | {
        "num_episodes": len(episodes),
        "num_env_steps_sampled": sum(each.num_env_steps for each in stats),
        "sample": max(each.sample_s for each in stats),
    }
