"""An algorithm: the way of the data, and everything that is the same for all algorithms.

    config -> env runners -> fragments -> learner -> weights -> env runners
                  |                          |
                  +-> episodes, counters ----+-> result of train()

An algorithm names a config class and a learner class and writes ``training_step``.
"""

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar, Self, TypeVar, cast
from warnings import warn

from rllib.absent import NamesNearest
from rllib.acting import Acting, ActingEpisode, ActingPolicy, refuse
from rllib.callbacks import Callbacks
from rllib.checkpoints import checkpoint
from rllib.checkpoints.components import OF_ALGORITHM, Paths, at, chosen_modules, weights_at
from rllib.checkpoints.declared import added_by, added_by_learner, check_declared
from rllib.checkpoints.fit import check_fit, connectors_of
from rllib.checkpoints.module_checkpoint import weights_of_component
from rllib.checkpoints.plausible import check_demands, check_spaces, making
from rllib.checkpoints.remote import Remote, is_url, local_copy
from rllib.checkpoints.rows import SavedRows, StateTree
from rllib.checkpoints.snapshot import Snapshot, hash_of
from rllib.checkpoints.torch_state import set_module_state
from rllib.config import AlgorithmConfig
from rllib.config.plain import plain
from rllib.config.resources import bundles
from rllib.config.unheeded import warn_of_unheeded
from rllib.connectors.base import Pipeline
from rllib.envs.faults import EnvSetupError
from rllib.errors import CheckpointError, ConfigError, Problem, TrainingError
from rllib.interface import interface_of
from rllib.layout.choose import laid_out
from rllib.learning.deaths import may_be_of_learners
from rllib.learning.learner import FIXED_MODULES, Learner, Metrics
from rllib.learning.learner_group import LearnerGroup
from rllib.metrics.iteration import Iteration, circumstances
from rllib.metrics.lifetime import Lifetime
from rllib.metrics.metrics_logger import MetricsLogger, filled, hidden, overlaid
from rllib.metrics.names import ALL_MODULES
from rllib.metrics.result import Result
from rllib.metrics.stages import STAGES
from rllib.metrics.update_metrics import total
from rllib.modules.image_settings import check_filters
from rllib.modules.rl_module import RLModule
from rllib.modules.spec import FullSpec
from rllib.registry import get_algorithm_class
from rllib.sampling.env_runner import SampleStats
from rllib.sampling.env_runner_group import EnvRunnerGroup, Samples
from rllib.sampling.episodes import EpisodeWindow
from rllib.sampling.evaluation import Evaluation, Plays, custom_metrics
from rllib.sampling.later_states import take_states

AnswerT = TypeVar("AnswerT")

_SAVE = "save_to_path(path) and restore_from_path(path), or from_checkpoint(path)"
ABSENT_METHODS = {
    "add_module": FIXED_MODULES,
    "remove_module": FIXED_MODULES,
    "add_policy": FIXED_MODULES,
    "remove_policy": FIXED_MODULES,
    "get_policy": "get_module(module_id) gives the module",
    "compute_actions": "get_module().act(observations) takes many at once",
    "restore_workers": "it is called restore_env_runners here",
    "workers": "it is called env_runner_group here",
    "evaluation_workers": "it is called eval_env_runner_group here",
    "evaluate_offline": "there is no training from recorded data yet",
    "save": _SAVE,
    "save_checkpoint": _SAVE,
    "load_checkpoint": _SAVE,
    "restore": _SAVE,
    "from_state": _SAVE,
    "export_policy_model": "get_module() is a torch module, which torch exports",
    "export_policy_checkpoint": "get_module(module_id).save_to_path(path)",
    "export_model": "get_module() is a torch module, which torch exports",
    "local_replay_buffer": "buffers are by module id: algo.replay",
    "cleanup": "it is called stop here",
    "step": "it is called train here",
    "setup": "the constructor takes the config",
    "log_result": "callbacks(on_train_result=...) is called with each result",
}
"""Methods of RLlib's that there are not, and what there is instead."""


class Algorithm(NamesNearest, ABC):
    """Trains one policy; see ``train``.

    Args:
        config: settings; a frozen copy of them is kept, in which ``layout="auto"`` has decided.
        env: instead of the one that they name.

    Attributes:
        layout: what it has decided, and why; None if there was nothing to decide.
        faults: what has failed in the whole run.
        evaluation_faults: the same of its evaluations.
        saved_rows: while ``snapshot`` is taken, which rows of replay buffers it may leave out.

    Raises:
        ConfigError: the settings do not go together, or the environment cannot be made.
    """

    config_class: ClassVar[type[AlgorithmConfig]]
    learner_class: ClassVar[type[Learner[Any]]]
    INSTEAD: ClassVar[Mapping[str, str]] = ABSENT_METHODS

    def __init__(self, config: AlgorithmConfig, env: Any = None) -> None:
        config = self._own_config(config, env)
        config.validate()
        warn_of_unheeded(config)
        config, self.layout = laid_out(config)
        self.config = config.resolved()
        self._plain_config = self.config.to_dict()  # it is frozen, and every result shows it
        self.iteration = 0
        self.num_env_steps_sampled_lifetime = 0
        self.time_total_s = 0.0
        self.num_restores = 0
        self.num_env_step_failures_lifetime = 0
        self.episodes = EpisodeWindow(config.metrics_num_episodes_for_smoothing)
        self.metrics = MetricsLogger()
        self.faults = Lifetime(self._count_faults)
        self.evaluation_faults = Lifetime(self._count_evaluation_faults)
        self.saved_rows: SavedRows | None = None
        self._is_snapshot = False
        self.callbacks = Callbacks.of(self.config)
        self._told: set[str] = set()
        self._is_stopped = False
        self._parts = ExitStack()
        try:
            self._connect()
            self._books = self._open_books()
            self._call("on_algorithm_init", metrics_logger=self.metrics)
        except BaseException:
            self.stop()
            raise

    def _own_config(self, config: Any, env: Any) -> AlgorithmConfig:
        """The settings with the environment; refuses those of something else."""
        own = self.config_class
        if not isinstance(config, own):
            hint = f"; {own.__name__}.from_dict makes one of it" if isinstance(config, dict) else ""
            text = f"is a {type(config).__name__}; {type(self).__name__} takes a {own.__name__}"
            raise ConfigError(Problem(text + hint, "config"))
        return config if env is None else config.copy().environment(env)

    def _connect(self) -> None:
        """The whole wiring; what then flows through it is in ``training_step``."""
        config = self.config
        os.environ.update(config.extra_python_environs_for_driver)
        with _config_errors():
            self.interface = interface_of(config)
            check_filters(self._specs)
            own = cast(type[Learner[Any]], config.learner_class or self.learner_class)
            learner_class = self.interface.learner_class(own)
            self.learner_group = LearnerGroup(learner_class, config, self.interface.spaces)
            self.learner_group.guard = self.ask_learners
            self._parts.callback(self.learner_group.stop)
            self.env_runner_group = EnvRunnerGroup(
                config, self.interface, on_recreated=self._on_recreated
            )
            self._parts.callback(self.env_runner_group.stop)
            self.env_runner_group.sync_weights(self.learner_group.get_weights())
            self.evaluation = self._make_evaluation() if config.evaluation_interval else None
        parts = (self.interface, self.learner_group)
        self._acting_beside = Acting(*parts, self._spec_of, config.seed)

    def _on_recreated(self, numbers: list[int]) -> None:
        self._tell_recreated(self.env_runner_group, numbers, is_evaluation=False)

    def _on_eval_recreated(self, numbers: list[int]) -> None:
        assert self.evaluation is not None, "its env runners are told of"
        self._tell_recreated(self.evaluation.group, numbers, is_evaluation=True)

    def _tell_recreated(
        self, group: EnvRunnerGroup, numbers: list[int], *, is_evaluation: bool
    ) -> None:
        self._call(
            "on_env_runners_recreated",
            env_runner_group=group,
            env_runner_indices=numbers,
            is_evaluation=is_evaluation,
        )

    def _call(self, hook: str, **arguments: Any) -> None:
        self.callbacks.call(hook, algorithm=self, **arguments)

    @abstractmethod
    def training_step(self) -> None:
        """Sample, update, sync weights, ``report``: once or several times in an iteration."""

    def train(self) -> dict[str, Any]:
        """Run one training iteration: training steps until it is as long as the settings ask for.

        Returns:
            A nested dict under RLlib's names: counters and times at the top, and below them
            ``env_runners`` (episodes over the last ``metrics_num_episodes_for_smoothing``; absent
            before the first one ends), ``learners/default_policy``,
            ``learners/__all_modules__`` (counts), ``timers`` (seconds), and ``stages``, the shares
            of the iteration's time that went to each (`metrics.stages`).

        Raises:
            EnvError: an environment raised or returned what cannot be trained on.
            TrainingError: a loss or gradient is not finite, env runners fail too often, or ``stop``
                was called.
            CallbackError: a callback raised.
        """
        self._check_running()
        started = perf_counter()
        evaluate = self._begin_evaluation()
        books = self._books = self._open_books()
        began = perf_counter() - started
        is_over = False
        while not is_over:
            with self._learners_revived(books):
                self.training_step()
                books.num_calls += 1
                if is_over := books.is_over(perf_counter() - started):
                    books.settle()
                    books.training_steps_s = perf_counter() - started - began
        self.iteration += 1
        result = self._summary()
        result["learners"][ALL_MODULES] = total(result["learners"], books.is_single_agent)
        if evaluate is not None:
            result["evaluation"] = evaluate()
        elapsed = result["timers"]["training_iteration"] = perf_counter() - started
        self.time_total_s += elapsed
        result[STAGES] = books.stages(elapsed)._asdict()
        return Result(self._with_metrics(self._times(books, elapsed) | result))

    @contextmanager
    def _learners_revived(self, books: Iteration) -> Iterator[None]:
        """Where learners died, they are started anew, and what was under way is forgotten."""
        try:
            yield
        except Exception as error:
            if not (may_be_of_learners(error) and (ranks := self.learner_group.revive(error))):
                raise
            names = ", ".join(map(str, ranks))
            text = (
                f"learner {names} died and is started anew; {len(books.in_flight)} updates are lost"
            )
            warn(f"{text}: {error}", RuntimeWarning, stacklevel=2)
            books.in_flight.clear()
            with self._learners_revived(books):  # they may die again meanwhile
                self.on_learners_revived()

    def ask_learners(self, ask: Callable[[], AnswerT]) -> AnswerT:
        """What ``ask`` returns, which it gets from learners.

        Learners that die meanwhile are started anew, as in training, and it is called again.
        """
        while True:
            with self._learners_revived(self._books):
                return ask()

    def on_learners_revived(self) -> None:
        """Env runners act by the weights that learners go on from."""
        self.env_runner_group.forget_syncs()
        self._sync_weights()
        self.env_runner_group.crew.prepare_again()

    def _open_books(self) -> Iteration:
        is_remote = self.learner_group.is_remote
        # The next update may be started beside those that the limit leaves.
        limit = self.config.max_requests_in_flight_per_learner - 1 if is_remote else 0
        return Iteration(self.config, self._learned, limit)

    def _learned(self, update: Any) -> dict[str, Metrics]:
        return self.interface.by_module(self.learner_group.fetch_metrics(update))

    def _with_metrics(self, result: dict[str, Any]) -> dict[str, Any]:
        """The result with what callbacks add to it, and all metrics that were ever logged."""
        self._warn_of_hidden(result)
        if "on_train_result" not in self.callbacks:
            return filled(result, self.metrics.compile())
        shown = filled(result, self.metrics.peek())
        self._call("on_train_result", metrics_logger=self.metrics, result=shown)
        return overlaid(shown, self.metrics.compile(), but=result)

    def _warn_of_hidden(self, result: dict[str, Any]) -> None:
        """Metrics of callbacks that nobody will see, once each."""
        for name in {*hidden(result, self.metrics.peek())} - self._told:
            text = f"the metric {name!r} of a callback has the name of one of the result's own"
            warn(f"{text}, which stays there; give it another", RuntimeWarning, stacklevel=4)
            self._told.add(name)

    def _make_evaluation(self) -> Evaluation:
        evaluation = Evaluation(self.config, self.interface, self._on_eval_recreated)
        self._parts.callback(evaluation.stop)
        return evaluation

    def _begin_evaluation(self) -> Callable[[], dict[str, Any]] | None:
        """What to call after the training step for the evaluation that is due, if one is."""
        if self.evaluation is None or not self.evaluation.is_due(self.iteration + 1):
            return None
        if not self.config.evaluation_parallel_to_training:
            return self.evaluate
        if self.config.custom_evaluation_function is not None:
            metrics = self.evaluate()  # by the weights of the iteration's beginning, as beside it
            return lambda: metrics
        return partial(self._finish_evaluation, self.evaluation, self._play(self.evaluation))

    def _play(self, evaluation: Evaluation) -> Plays:
        self._call("on_evaluate_start", metrics_logger=self.metrics)
        return evaluation.begin(*self._acting(), self.num_env_steps_sampled_lifetime)

    def _acting(self) -> tuple[Any, int, dict[str, Any]]:
        """What env runners act by: weights, the number of their sync, connectors' statistics."""
        weights = self.ask_learners(self.learner_group.fetch_weights)
        statistics = self.interface.pipeline.get_statistics()
        return weights, self.env_runner_group.weights_seq_no, statistics

    def _finish_evaluation(self, evaluation: Evaluation, plays: Plays) -> dict[str, Any]:
        metrics = evaluation.finish(plays)
        return self._evaluated(metrics | self.evaluation_faults.totals())

    def _evaluated(self, metrics: dict[str, Any]) -> dict[str, Any]:
        logger = self.metrics
        self._call("on_evaluate_end", metrics_logger=logger, evaluation_metrics=metrics)
        return metrics

    def evaluate(self) -> dict[str, Any]:
        """Play ``evaluation_duration`` episodes with the current policy.

        With ``custom_evaluation_function`` that is called instead, with this algorithm and the env
        runners of evaluation, which act by the current policy in new episodes.

        Returns:
            Their metrics under RLlib's names, below ``env_runners``.

        Raises:
            EnvError: an environment raised.
            TrainingError: it took longer than ``evaluation_sample_timeout_s``.
            ConfigError: the function returned something else than it should.
        """
        self._check_running()
        if self.evaluation is None:
            self.evaluation = self._make_evaluation()
        if (function := self.config.custom_evaluation_function) is None:
            return self._finish_evaluation(self.evaluation, self._play(self.evaluation))
        self._call("on_evaluate_start", metrics_logger=self.metrics)
        group = self.evaluation.begin_custom(*self._acting())
        return self._evaluated(custom_metrics(function(self, group)))

    @property
    def eval_env_runner_group(self) -> EnvRunnerGroup | None:
        """The env runners of evaluation, once there are any."""
        return None if self.evaluation is None else self.evaluation.group

    @property
    def env_runner(self) -> Any:
        """The env runner of this process; ``None`` where all are actors."""
        return self.env_runner_group.local_env_runner

    @property
    def eval_env_runner(self) -> Any:
        """That of evaluation, if there is one in this process."""
        group = self.eval_env_runner_group
        return None if group is None else group.local_env_runner

    def restore_env_runners(self, env_runner_group: EnvRunnerGroup) -> list[int]:
        """Ask who is alive, and take in those that were started anew; returns their numbers.

        Training does so itself, whenever it wants something of env runners.
        """
        return env_runner_group.probe_unhealthy_env_runners()

    def report(self, samples: Samples, update: Any) -> None:
        """Count one fragment of every env runner, and an update.

        Args:
            samples: what ``EnvRunnerGroup.sample`` returned.
            update: what ``LearnerGroup.update`` returned.
        """
        self.count_samples(samples.stats)
        self.count_update(update)

    def count_samples(self, stats: Sequence[SampleStats]) -> None:
        """Add fragments to the counters, the episodes and the iteration's result."""
        self._books.add_samples(stats)
        for each in stats:
            self.num_env_steps_sampled_lifetime += each.num_env_steps
            self.num_env_step_failures_lifetime += each.num_failures
            if each.episodes:
                self.episodes.add(each.episodes)
        if logged := [each.metrics for each in stats if each.metrics]:
            self.metrics.aggregate(logged, key="env_runners")
        news = [each.news for each in stats if each.news]
        # What the connectors of all env runners saw is brought together in the runners' order.
        for seen in news:
            self.interface.pipeline.merge(seen)
        if news:
            self.share_statistics(self.interface.pipeline.get_statistics())

    def share_statistics(self, statistics: dict[str, Any]) -> None:
        """Let all env runners know what the connectors of all have seen."""
        self.env_runner_group.set_statistics(statistics)

    def count_update(self, update: Any, **facts: float) -> None:
        """Add an update to the iteration's result, as soon as it is done.

        Waits for earlier ones if more than ``max_requests_in_flight_per_learner`` are under way.

        Args:
            update: what ``LearnerGroup.update`` returned.
            facts: what is known of it besides the learner's own metrics.
        """
        self._books.add_update(update, facts)

    def _summary(self) -> dict[str, Any]:
        """What the iteration comes to, and what is counted over the whole run."""
        result = self._books.summary()
        result["env_runners"] |= self.episodes.summary() | {
            "num_env_steps_sampled_lifetime": self.num_env_steps_sampled_lifetime,
            "weights_seq_no": self.env_runner_group.weights_seq_no,
        }
        if self.config.restart_failed_sub_environments:
            failures = self.num_env_step_failures_lifetime
            result["env_runners"]["num_env_step_failures_lifetime"] = failures
        result["num_env_steps_sampled_lifetime"] = self.num_env_steps_sampled_lifetime
        faults = self.env_runner_group.get_fault_metrics() | self.faults.totals()
        result["fault_tolerance"] = faults
        return result

    def _count_faults(self) -> dict[str, int]:
        restarts = {"num_learner_restarts": self.learner_group.num_restarts}
        return _faults_of(self.env_runner_group) | restarts

    def _count_evaluation_faults(self) -> dict[str, int]:
        return _faults_of(self.eval_env_runner_group)

    def _times(self, books: Iteration, elapsed: float) -> dict[str, Any]:
        return {
            "training_iteration": self.iteration,
            "time_this_iter_s": elapsed,
            "time_total_s": self.time_total_s,
            **circumstances(),
            "config": dict(self._plain_config),
            "num_env_steps_sampled_lifetime_throughput": books.num_env_steps / elapsed,
        }

    # The policy.

    def get_module(self, module_id: str | None = None) -> RLModule:
        """A copy of a module with the current weights, to act with.

        Args:
            module_id: which; by default the first, which is the only one of a single agent.

        Raises:
            ConfigError: there is no such module.
        """
        module_id = module_id or self.interface.module_ids[0]
        module = self._spec_of(module_id).build().eval()
        state = self.interface.of_module(self._module_state(), module_id)
        set_module_state(module, state)
        return module

    def get_weights(self, module_ids: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
        """Copies of all weights, by module id and name.

        Args:
            module_ids: of which modules; by default all.

        Raises:
            ConfigError: there is no module of an id.
        """
        state = self._module_state()
        ids = self.interface.module_ids if module_ids is None else module_ids
        return {name: self.interface.of_module(state, name) for name in ids}

    def set_weights(self, weights: Mapping[str, Mapping[str, Any]]) -> None:
        """Train on, and act, by other weights, by module id; optimisers stay as they are.

        Raises:
            ConfigError: there is no module of an id.
            CheckpointError: they are those of another network.
        """
        self.ask_learners(partial(self.learner_group.set_weights, weights))
        self.ask_learners(self._sync_weights)

    def _sync_weights(self) -> None:
        self.env_runner_group.sync_weights(self.learner_group.get_weights())

    def _module_state(self) -> dict[str, Any]:
        return self.ask_learners(self.learner_group.get_module_state)

    def get_config(self) -> AlgorithmConfig:
        """The settings."""
        return self.config

    @classmethod
    def default_resource_request(cls, config: AlgorithmConfig) -> list[dict[str, float]]:
        """What an algorithm of these settings takes, as bundles of a placement group.

        The main process first, then env runners, those of evaluation, and learners.
        """
        return bundles(config)

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        """A config of this algorithm with nothing but defaults."""
        return cls.config_class()

    def _spec_of(self, module_id: str) -> FullSpec:
        spaces = self.interface.spaces_of(module_id)
        return self.interface.config_of(self.config, module_id).get_rl_module_spec(spaces)

    @property
    def _specs(self) -> dict[str, FullSpec]:
        return {name: self._spec_of(name) for name in self.interface.module_ids}

    @property
    def _pipelines(self) -> dict[str, Pipeline]:
        return {name: self.interface.pipeline_of(name) for name in self.interface.module_ids}

    def compute_single_action(
        self,
        observation: Any,
        state: Mapping[str, Any] | None = None,
        *,
        prev_action: Any = None,
        prev_reward: float = 0.0,
        policy_id: str | None = None,
        full_fetch: bool = False,
        explore: bool = False,
        timestep: int | None = None,
        episode: ActingEpisode | None = None,
        **others: Any,
    ) -> Any:
        """A policy's action for one observation; for many at once, ``get_module``.

        Takes the connectors' way, as env runners do, and leaves no trace in training.

        Args:
            observation: as the environment gives it.
            state: of a module with memory: ``get_initial_state()`` of the module when an episode
                begins, then what came out.
            prev_action: what was done before, as ``extra["actions"]`` of the answer had it: choices
                counted from 0, numbers before they are stretched. For modules that read it; within
                an ``episode`` only if it was not what came out.
            prev_reward: what came of it.
            policy_id: which policy; by default the first, or that of ``episode``.
            full_fetch: whether to return state and extra also without ``state``.
            explore: draw the action, instead of taking the most likely one.
            timestep: where schedules of exploration are; by default where training is.
            episode: what ``begin_episode`` gave, where connectors or the module remember what was
                before: it does so for them.
            others: RLlib's other arguments may be ``None``.

        Returns:
            The action as the environment takes it; with ``state`` or ``full_fetch``, a triple of
            it, the next state, and a dict with ``action_dist_inputs`` and, as the module has them,
            ``actions``.

        Raises:
            ValueError: a connector or the module needs to know what was before.
            TypeError: an argument that there is not.
        """
        refuse(others, ("state", "prev_action", "prev_reward", "policy_id", "episode", "explore"))
        timestep = self.num_env_steps_sampled_lifetime if timestep is None else timestep
        how: dict[str, Any] = {"explore": bool(explore), "timestep": timestep}
        how |= {"prev_action": prev_action, "prev_reward": prev_reward}
        policy = self._acting_policy(episode.policy_id if episode else policy_id)
        if episode is None:
            answer = policy.act(observation, state, **how)
        else:
            answer = policy.act_in(episode, observation, **how)
        return tuple(answer) if state is not None or full_fetch else answer.action

    def begin_episode(self, policy_id: str | None = None) -> ActingEpisode:
        """What to give ``compute_single_action`` as ``episode``, for one episode of one agent."""
        policy_id = policy_id or self.interface.module_ids[0]
        return ActingEpisode(self._acting_policy(policy_id), policy_id)

    def _acting_policy(self, policy_id: str | None) -> ActingPolicy:
        version = (self.num_env_steps_sampled_lifetime, self.num_restores)
        return self.ask_learners(partial(self._acting_beside.policy, policy_id, version))

    def params_hash(self) -> str:
        """SHA-256 of all weights: equal if and only if two runs have learnt the same."""
        return hash_of(self._module_state())

    # Going on later.

    def get_state(
        self,
        components: Paths = None,
        *,
        not_components: Paths = None,
        inference_only: bool = False,
    ) -> dict[str, Any]:
        """State tree of all that is needed to go on: see ``set_state``.

        Learners that die meanwhile are started anew, as in training.

        Args:
            components: ``learner_group/learner/rl_module`` gives weights alone, by module id.
            not_components: less these, such as ``learner_group/learner/rl_module/other``.
            inference_only: and less what acting does not need.

        Raises:
            TypeError: it is another part that is asked for.
        """
        call, ids = f"{type(self).__name__}.get_state", self.interface.module_ids
        part = chosen_modules(call, OF_ALGORITHM, ids, components, not_components, inference_only)
        if part is None:
            return self._whole_state()
        ask = partial(self.learner_group.weights_of, part, inference_only=inference_only)
        return at(OF_ALGORITHM, self.ask_learners(ask))

    def _whole_state(self) -> dict[str, Any]:
        group = self.env_runner_group
        learner = self.ask_learners(self.learner_group.get_state)  # first: the rest is of after it
        return {
            "iteration": self.iteration,
            "num_env_steps_sampled_lifetime": self.num_env_steps_sampled_lifetime,
            "time_total_s": self.time_total_s,
            "num_restores": self.num_restores,
            "num_env_step_failures_lifetime": self.num_env_step_failures_lifetime,
            "weights_seq_no": self.env_runner_group.weights_seq_no,
            "episodes": self.episodes.get_state(),
            "learner": learner,
            "env_runners": group.ask_states() if self._is_snapshot else group.get_state(),
            "connectors": self.interface.pipeline.get_statistics(),
            "metrics": self.metrics.get_state(),
            "num_evaluations": self.evaluation.num_evaluations if self.evaluation else 0,
            "evaluation_metrics": self.evaluation.metrics.get_state() if self.evaluation else {},
            "faults": self.faults.totals(),
            "evaluation_faults": self.evaluation_faults.totals(),
            "callbacks": self.callbacks.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``, or take its weights alone, as ``set_weights`` does.

        With environments whose state can be had (``rllib.envs.snapshot``) and the same layout, the
        run goes on as if it had never stopped, bit for bit. Otherwise all but the environments
        does, and new episodes begin with seeds derived from root seed and number of restores.

        Raises:
            CheckpointError: the state lacks something, or is that of another network.
        """
        try:
            if (weights := weights_at(OF_ALGORITHM, state)) is not None:
                self.set_weights(weights)
            else:
                self._set_state(state)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise CheckpointError(
                f"the checkpoint does not hold what {type(self).__name__} needs to go on: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _check_declared(self, state: dict[str, Any]) -> None:
        """Compare what classes of the user's add to the state with what they tell now."""
        own = added_by(self)
        check_declared(type(self).__name__, {k: state[k] for k in own if k in state}, own)
        learner_class = self.config.learner_class or self.learner_class
        if learner_class.__module__.startswith("rllib."):
            return
        for added in self.learner_group.foreach_learner(added_by_learner):
            for place, parts in added.items():
                found: Any = state["learner"]
                for name in place:
                    found = found[name]
                found = {name: found[name] for name in parts if name in found}
                check_declared(learner_class.__name__, found, parts)

    def _set_state(self, state: dict[str, Any]) -> None:
        self._check_declared(state)
        self.callbacks.set_state(state.get("callbacks", {}))
        self._books = self._open_books()  # what was under way belongs to another past
        self.ask_learners(partial(self.learner_group.set_state, state["learner"]))
        self.iteration = int(state["iteration"])
        self.num_env_steps_sampled_lifetime = int(state["num_env_steps_sampled_lifetime"])
        self.time_total_s = float(state["time_total_s"])
        self.num_restores = int(state["num_restores"]) + 1
        # Checkpoints of before have none of these.
        self.num_env_step_failures_lifetime = int(state.get("num_env_step_failures_lifetime", 0))
        self.faults.set_state(state.get("faults", {}))
        self.evaluation_faults.set_state(state.get("evaluation_faults", {}))
        self.episodes.set_state(state["episodes"])
        self.interface.pipeline.set_statistics(state["connectors"])
        self.metrics.set_state(state["metrics"])
        if self.evaluation is not None:
            self.evaluation.num_evaluations = int(state["num_evaluations"])
            self.evaluation.metrics.set_state(state.get("evaluation_metrics", {}))
        self.env_runner_group.set_state(state["env_runners"], generation=self.num_restores)
        self.env_runner_group.set_statistics(state["connectors"])
        self.ask_learners(partial(self._send_weights, int(state["weights_seq_no"])))

    def _send_weights(self, seq_no: int) -> None:
        self.env_runner_group.send_weights(self.learner_group.get_weights(), seq_no)

    def save_to_path(self, path: str | Path | None = None) -> str:
        """Write a checkpoint folder and return its path; see ``rllib.checkpoints.checkpoint.save``.

        Args:
            path: the folder, or the URL of one (``s3://...``: what fsspec knows); by default a new
                one in the system's temporary folder.
        """
        path = path or tempfile.mkdtemp(prefix="rllib-checkpoint-")
        if is_url(path):
            with tempfile.TemporaryDirectory(prefix="rllib-checkpoint-") as folder:
                self.snapshot().write(folder)
                Remote(str(path)).put(Path(folder))
        else:
            self.snapshot().write(path)
        self.tell_saved(path)
        return str(path)

    def tell_saved(self, path: str | Path) -> None:
        """Call ``on_checkpoint_saved``: a checkpoint was written."""
        self._call("on_checkpoint_saved", path=str(path))

    def snapshot(self, saved_rows: SavedRows | None = None) -> Snapshot:
        """A copy of everything, as it is now, which may be written while training goes on.

        Env runners that are busy are not waited for: they tell their state between two fragments,
        to whoever writes the copy.

        Args:
            saved_rows: rows of replay buffers that an earlier checkpoint has; they are not copied,
                and shared with it. By default the copy is complete.
        """
        self.saved_rows, self._is_snapshot = saved_rows, True
        try:
            state = self.get_state()
        finally:
            self.saved_rows, self._is_snapshot = None, False
        limit_s = self.config.sample_timeout_s
        return Snapshot(
            state, self._metadata(), partial(take_states, state["env_runners"], limit_s)
        )

    def _metadata(self) -> dict[str, Any]:
        return {
            "algorithm": self.config.algo_name,
            "algorithm_class": type(self).__qualname__,
            "config": self.config.to_dict(),
            "modules": plain(self._specs),
            "connectors": {k: connectors_of(each) for k, each in self._pipelines.items()},
            "training_iteration": self.iteration,
            "num_env_steps_sampled_lifetime": self.num_env_steps_sampled_lifetime,
        }

    def restore_from_path(self, path: str | Path, component: str | None = None) -> None:
        """Go on from a checkpoint folder, or from the URL of one.

        Args:
            path: the folder; or, with ``component``, one of modules alone or a path within it.
            component: only what is meant by ``learner_group/learner/rl_module``: the weights of all
                modules that the folder has, or of one by ``.../default_policy``.

        Raises:
            CheckpointError: it is damaged, or was written by another algorithm, or with networks,
                connectors or a scale of actions by which its weights would mean something else.
            ConfigError: there is no such component, or no such module.
        """
        if component is not None:
            self.set_weights(weights_of_component(path, component, self.interface.module_ids))
            return
        with local_copy(path) as folder:
            self._restore(path, *checkpoint.load(folder))

    def _restore(self, path: str | Path, state: StateTree, metadata: dict[str, Any]) -> None:
        _check_writer(path, metadata, type(self))
        with making(path, "state"):
            check_fit(path, metadata, self._specs, self._pipelines)
        self.set_state(state)
        self._call("on_checkpoint_loaded")

    @classmethod
    def from_checkpoint(cls, path: str | Path, config: AlgorithmConfig | None = None) -> Self:
        """Build an algorithm from a checkpoint folder and go on from there.

        Args:
            path: the folder, or the URL of one.
            config: used instead of the settings in the checkpoint; needed where the environment was
                given as a class or function, because loading never imports a name from a file.

        Called on ``Algorithm`` itself, it builds the registered algorithm that wrote the folder;
        one that was named as ``module:Class`` needs the call on its own class.

        Raises:
            CheckpointError: see ``restore_from_path``.
            ConfigError: the settings in the checkpoint are not valid here, or ``config`` is that of
                another algorithm.
        """
        with local_copy(path) as folder:
            return cls._from_folder(folder, config)

    @classmethod
    def _from_folder(cls, path: Path, config: AlgorithmConfig | None) -> Self:
        state, metadata = checkpoint.load(path)
        algorithm_class = cls if hasattr(cls, "config_class") else _writer_of(path, metadata)
        _check_writer(path, metadata, algorithm_class)
        if config is not None and not isinstance(config, algorithm_class.config_class):
            wanted = algorithm_class.config_class.__name__
            text = f"is a {type(config).__name__}; what is in {path} needs a {wanted}"
            raise ConfigError(Problem(text, "config"))
        if config is not None:
            algorithm = cast(Self, algorithm_class(config))
        else:
            algorithm = cast(Self, _of_file_alone(path, algorithm_class, state, metadata))
        try:
            algorithm._restore(path, state, metadata)
        except BaseException:
            algorithm.stop()
            raise
        return algorithm

    def stop(self) -> None:
        """End all actors and close all environments; may be called twice."""
        self._is_stopped = True
        self._parts.close()

    def _check_running(self) -> None:
        """What is stopped stays so: env runners would be taken for dead ones, and started anew."""
        if self._is_stopped:
            text = "this algorithm was stopped: build another one, or stop this one later"
            raise TrainingError(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _of_file_alone(
    path: Path, algorithm_class: type[Algorithm], state: StateTree, metadata: dict[str, Any]
) -> Algorithm:
    """The algorithm of a checkpoint's own settings, once they ask for no more than it holds."""
    if not isinstance(metadata.get("config"), dict):
        raise CheckpointError(f"{path} holds no settings; give them as config")
    check_spaces(path, metadata)
    with making(path, "algorithm"):
        config = algorithm_class.config_class.from_state(metadata)
        check_demands(path, config, state, metadata)
        return algorithm_class(config)


def _writer_of(path: str | Path, metadata: dict[str, Any]) -> type[Algorithm]:
    """The registered algorithm that wrote a checkpoint; no other name in a file is imported."""
    name = str(metadata.get("algorithm"))
    if ":" in name:
        raise CheckpointError(f"{path} was written by {name}; call from_checkpoint on that class")
    return get_algorithm_class(name)


def _check_writer(path: str | Path, metadata: dict[str, Any], reader: type[Algorithm]) -> None:
    writer = metadata.get("algorithm_class")
    if writer != reader.__qualname__:
        raise CheckpointError(f"{path} was written by {writer}, not {reader.__qualname__}")


def _faults_of(group: EnvRunnerGroup | None) -> dict[str, int]:
    """How often env runners were started anew, and what was dropped, in this process."""
    counts = {} if group is None else group.get_fault_metrics()
    names = ("num_remote_worker_restarts", "num_env_runners_dropped_lifetime")
    return {name: counts.get(name, 0) for name in names}


@contextmanager
def _config_errors() -> Iterator[None]:
    """An environment that cannot be made is a mistake in the settings."""
    try:
        yield
    except EnvSetupError as error:
        raise ConfigError(Problem(str(error), "env")) from error
