"""Env runners of their own, which play with the current policy and collect nothing."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rllib.config import AlgorithmConfig
from rllib.core import api
from rllib.errors import ConfigError, Problem
from rllib.interface import Interface
from rllib.metrics.metrics_logger import MetricsLogger, filled
from rllib.sampling.env_runner import SampleStats
from rllib.sampling.env_runner_group import EnvRunnerGroup
from rllib.sampling.episodes import EpisodeWindow, OpenEnd
from rllib.seeding import Role, derive_seed
from rllib.workers import BESIDE, Worker, fetch_sample


class Evaluation:
    """``evaluation_num_env_runners`` actors, or one env runner in this process if that is 0.

    The n-th evaluation of a run plays with the same seeds in every run of the same configuration.

    Args:
        config: the algorithm's configuration.
        interface: of its environments.

    Attributes:
        group: the env runners.
    """

    def __init__(self, config: AlgorithmConfig, interface: Interface) -> None:
        self.training_config, self.config = config, evaluation_config(config)
        options = {"concurrency_groups": {BESIDE: 1}} if self._is_open else {}
        self.group = EnvRunnerGroup(self.config, interface, is_training=False, **options)
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
        generation = self._next_generation()
        shares = self._shares()
        busy = [each for each, share in zip(self.group.workers, shares, strict=True) if share]
        syncs = _sync(busy, weights, seq_no, statistics)
        if self._ends_at_once:
            self._end_plays()
        unit = self.training_config.evaluation_duration_unit
        plays = [
            worker.call("play", share, unit, generation, timestep)
            for worker, share in zip(busy, filter(None, shares), strict=True)
        ]
        return Plays(syncs, plays)

    def begin_custom(self, weights: Any, seq_no: int, statistics: dict[str, Any]) -> EnvRunnerGroup:
        """The env runners, ready for somebody who evaluates by them; see ``begin``.

        Raises:
            EnvError: an environment raised.
        """
        generation = self._next_generation()
        handles = _sync(self.group.workers, weights, seq_no, statistics)
        if generation is not None:
            handles += [worker.call("reset", generation) for worker in self.group.workers]
        self._fetch(handles)
        self.group.weights_seq_no = seq_no
        return self.group

    def finish(self, plays: "Plays") -> dict[str, Any]:
        """Wait for what was begun; returns the metrics of its episodes under RLlib's names.

        Raises:
            EnvError: an environment raised.
            TrainingError: it took longer than ``evaluation_sample_timeout_s``.
        """
        self._fetch(plays.syncs)
        if self._is_open and not self._ends_at_once:
            self._end_plays()
        stats = self._fetch(plays.plays)
        self.metrics.aggregate([each.metrics for each in stats])
        return {"env_runners": filled(summarize(stats), self.metrics.compile())}

    def _next_generation(self) -> int | None:
        """Count one more evaluation; of its new episodes, if it begins with such."""
        self.num_evaluations += 1
        reset = self.training_config.evaluation_force_reset_envs_before_iteration
        return self.num_evaluations if reset or self.num_evaluations == 1 else None

    def _shares(self) -> "Sequence[int | OpenEnd]":
        """Episodes or env steps of each worker."""
        config, workers = self.training_config, self.group.workers
        if config.evaluation_duration == "auto":
            least = config.evaluation_auto_duration_min_env_steps_per_sample
            at_a_time = config.evaluation_auto_duration_max_env_steps_per_sample
            return [OpenEnd(self.num_evaluations, least, at_a_time) for _ in workers]
        share, rest = divmod(config.evaluation_duration, len(workers))
        return [share + (index < rest) for index in range(len(workers))]

    @property
    def _is_open(self) -> bool:
        return self.training_config.evaluation_duration == "auto"

    @property
    def _ends_at_once(self) -> bool:
        """Whether nobody trains while env runners play, because they do it when they are asked."""
        is_elsewhere = self.config.num_env_runners > 0 and not api.runtime().serial
        return self._is_open and not is_elsewhere

    def _end_plays(self) -> None:
        number = self.num_evaluations
        self._fetch([worker.call_beside("end_plays", number) for worker in self.group.workers])

    def _fetch(self, handles: Sequence[Any]) -> list[Any]:
        limit = self.training_config.evaluation_sample_timeout_s
        return [fetch_sample(each, limit, "evaluation_sample_timeout_s") for each in handles]

    def stop(self) -> None:
        """Close all environments and end all actors."""
        self.group.stop()


def _sync(
    workers: Sequence[Worker], weights: Any, seq_no: int, statistics: dict[str, Any]
) -> list[Any]:
    """Let env runners know the policy and the statistics of connectors; returns handles."""
    return [
        *(worker.call("set_weights", weights, seq_no) for worker in workers),
        *(worker.call("set_statistics", statistics) for worker in workers),
    ]


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


def custom_metrics(returned: Any) -> dict[str, Any]:
    """What a ``custom_evaluation_function`` returned, as the result of an evaluation.

    Raises:
        ConfigError: it is something else than metrics, env steps and agent steps.
    """
    match returned:
        case (dict() as metrics, int() as env_steps, int() as agent_steps):
            counts = {"num_env_steps_sampled": env_steps, "num_agent_steps_sampled": agent_steps}
            return {"env_runners": counts | metrics}
    text = f"should return (metrics, env steps, agent steps), a dict and two ints; got {returned!r}"
    raise ConfigError(Problem(text, "custom_evaluation_function"))


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
