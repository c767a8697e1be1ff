"""Env runners of their own, which play with the current policy and collect nothing.

What one that fails was to play is played by another: where an evaluation begins with new episodes,
by the one in its place with the same seeds, so that its result is what it would have been.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rllib.config import AlgorithmConfig
from rllib.core import api
from rllib.errors import ConfigError, EnvRunnersError, Problem
from rllib.interface import Interface
from rllib.metrics.metrics_logger import MetricsLogger, filled
from rllib.sampling.env_runner import SampleStats
from rllib.sampling.env_runner_group import EnvRunnerGroup
from rllib.sampling.episodes import EpisodeWindow, OpenEnd
from rllib.seeding import Role, derive_seed
from rllib.workers import Worker, is_remote


class Known(NamedTuple):
    """What env runners act by: a handle of weights, their number, and connectors' statistics."""

    weights: Any
    seq_no: int
    statistics: dict[str, Any]

    def send_to(self, worker: Worker) -> list[Any]:
        """Let an env runner know; returns handles."""
        weights = worker.call("set_weights", self.weights, self.seq_no)
        return [weights, worker.call("set_statistics", self.statistics)]


class Play(NamedTuple):
    """A share that is being played: its number, the env runner, and handles of what it does."""

    number: int
    share: int | OpenEnd
    runner: int
    handles: list[Any]


class Plays(NamedTuple):
    """An evaluation under way: by what, how, what is being played, and what was, by number."""

    known: Known
    how: tuple[str, int | None, int]
    under_way: list[Play]
    stats: dict[int, SampleStats]


class Evaluation:
    """``evaluation_num_env_runners`` actors, or one env runner in this process if that is 0.

    The n-th evaluation of a run plays with the same seeds in every run of the same configuration.

    Args:
        config: the algorithm's configuration.
        interface: of its environments.
        on_recreated: see ``EnvRunnerGroup``.

    Attributes:
        group: the env runners.
        num_skipped: evaluations in a row that nobody could play.
    """

    def __init__(
        self,
        config: AlgorithmConfig,
        interface: Interface,
        on_recreated: Callable[[list[int]], None] | None = None,
    ) -> None:
        self.training_config, self.config = config, evaluation_config(config)
        self.group = EnvRunnerGroup(
            self.config, interface, False, on_recreated, is_told_beside=self._is_open
        )
        self.num_evaluations = self.num_skipped = 0
        self.metrics = MetricsLogger()

    def is_due(self, iteration: int) -> bool:
        """Whether an evaluation belongs to training iteration ``iteration`` (from 1 on)."""
        interval = self.training_config.evaluation_interval
        return bool(interval) and iteration % (interval or 1) == 0

    def begin(
        self, weights: Any, seq_no: int, statistics: dict[str, Any], timestep: int = 0
    ) -> Plays:
        """Start to play; remote env runners play while the caller goes on.

        Args:
            weights: handle of the policy's weights.
            seq_no: number of their sync.
            statistics: of the connectors, which stay as they are while evaluating.
            timestep: ``num_env_steps_sampled_lifetime``, which schedules of exploration go by.
        """
        known = Known(weights, seq_no, statistics)
        self._note(known)
        unit = self.training_config.evaluation_duration_unit
        how = (unit, self._next_generation(), timestep)
        plays = Plays(known, how, [], {})
        self._ask(plays, [*enumerate(self._shares())])
        return plays

    def begin_custom(self, weights: Any, seq_no: int, statistics: dict[str, Any]) -> EnvRunnerGroup:
        """The env runners, ready for somebody who evaluates by them; see ``begin``.

        Raises:
            EnvError: an environment raised.
        """
        generation = self._next_generation()
        self._note(known := Known(weights, seq_no, statistics))
        asked = {}
        for index in self._who_plays():
            asked[index] = known.send_to(worker := self.group.workers[index])
            if generation is not None:
                asked[index].append(worker.call("reset", generation))
        self._answers([*asked.items()])
        return self.group

    def finish(self, plays: Plays) -> dict[str, Any]:
        """Wait for what was begun; returns the metrics of its episodes under RLlib's names.

        Raises:
            EnvError: an environment raised.
            LateError: it took longer than ``evaluation_sample_timeout_s``.
            EnvRunnersError: env runners fail too often.
        """
        while plays.under_way:
            if self._is_open and not self._ends_at_once:
                self._end(plays)
            self._ask(plays, self._collect(plays))
        stats = [plays.stats[number] for number in sorted(plays.stats)]
        self._count_skipped(stats)
        self.metrics.aggregate([each.metrics for each in stats])
        metrics = filled(summarize(stats), self.metrics.compile())
        return {"env_runners": metrics, **self.group.get_fault_metrics()}

    def _ask(self, plays: Plays, shares: Sequence[tuple[int, int | OpenEnd]]) -> None:
        """Have those who are there play some shares, by number, or nobody if nobody is there."""
        wanted = [(number, share) for number, share in shares if share]
        if not wanted or not (players := self._who_plays()):
            return
        for number, share in wanted:
            index = number if number in players else players[number % len(players)]
            worker = self.group.workers[index]
            handles = plays.known.send_to(worker)
            if self._ends_at_once:
                handles.append(worker.call_beside("end_plays", self.num_evaluations))
            handles.append(worker.call("play", share, *plays.how))
            plays.under_way.append(Play(number, share, index, handles))

    def _who_plays(self) -> list[int]:
        """Indices of env runners; if all have failed, of those that are back in time."""
        crew = self.group.crew
        crew.tend()
        limit = self.training_config.evaluation_unhealthy_workers_timeout_s
        return crew.present or crew.await_healthy(limit)

    def _collect(self, plays: Plays) -> list[tuple[int, int | OpenEnd]]:
        """Wait for all that is under way; returns the shares that came to nothing."""
        under_way, lost = [*plays.under_way], []
        plays.under_way.clear()
        answers = self._answers([(play.runner, play.handles) for play in under_way])
        for play, stats in zip(under_way, answers, strict=True):
            if stats is not None:
                plays.stats[play.number] = stats
            else:
                lost.append((play.number, play.share))
        return lost

    def _answers(self, asked: Sequence[tuple[int, Sequence[Any]]]) -> list[Any]:
        """The last of what each env runner was asked for; ``None`` of those that failed."""
        crew, limit = self.group.crew, self.training_config.evaluation_sample_timeout_s
        remote = {handles[-1]: index for index, handles in asked if is_remote(handles[-1])}
        silent, answers = crew.await_all(remote, limit), []
        for index, handles in asked:
            answer = None
            try:
                answer = crew.answer(index, handles, silent, "evaluation_sample_timeout_s", limit)
            except Exception as error:
                self.group.failed(index, error)
            else:
                crew.delivered(index)
            answers.append(answer)
        return answers

    def _end(self, plays: Plays) -> None:
        """Have plays with an open end come to it; one who is dead will be told of anyway."""
        for play in plays.under_way:
            self.group.workers[play.runner].call_beside("end_plays", self.num_evaluations)

    def _count_skipped(self, stats: Sequence[SampleStats]) -> None:
        self.num_skipped = 0 if stats else self.num_skipped + 1
        most = self.training_config.evaluation_error_after_n_consecutive_skips
        if most is not None and self.num_skipped >= most:
            raise EnvRunnersError(
                f"{self.num_skipped} evaluations in a row were left out because no env runner was "
                "there to play, evaluation_error_after_n_consecutive_skips; more patient is "
                "evaluation_unhealthy_workers_timeout_s"
            )

    def _note(self, known: Known) -> None:
        self.group.note_weights(known.weights, known.seq_no)
        self.group.note_statistics(known.statistics)

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

    def stop(self) -> None:
        """Close all environments and end all actors."""
        self.group.stop()


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
        "sample": max((each.sample_s for each in stats), default=0.0),
    }
