"""What off-policy algorithms share: experience is kept, and learnt from again and again.

    env runners -> fragments -> replay buffer -> draws -> learner -> weights -> env runners
                                      ^                     |
                                      '---- TD errors ------'

The replay buffer lives in the algorithm's process. How many gradient steps there are for an env
step is exact: what a training step owes is carried over, also into a run that goes on later.

Legend: B rows of one gradient step.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction as Ratio
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveInt, field_validator
from torch import Tensor

from rllib.algorithm import Algorithm
from rllib.checkpoints.components import Paths
from rllib.checkpoints.rows import Rows
from rllib.config import AlgorithmConfig
from rllib.config.model import ModelConfig
from rllib.config.over_time import Derived, OverTime
from rllib.config.types import (
    Fraction,
    NStepSetting,
    Once,
    Overrides,
    PositiveFloat,
    ScheduleOr,
)
from rllib.distributions import Distribution
from rllib.envs.make import Spaces
from rllib.errors import ConfigError, Problem
from rllib.learning.learner import Learner
from rllib.learning.loss import Metrics
from rllib.learning.minibatches import BatchT
from rllib.learning.pace import Owed, Pace
from rllib.learning.target_network import TargetNetwork
from rllib.modules.spec import FullSpec
from rllib.replay import (
    PrioritizedReplay,
    Replay,
    ReplayStatistics,
    StepSequences,
    Transitions,
    make_replay,
)
from rllib.sampling.env_runner import SampleStats
from rllib.schedules import is_schedule, point_values
from rllib.seeding import Role, derive_rng
from rllib.tensors import interleaved, num_rows
from rllib.workers import fetch_sample

Draw = Transitions | StepSequences
BatchSize = Annotated[
    PositiveInt, Once("the ratio of gradient steps goes by it; schedule training_intensity")
]
NO_PASSES = {
    "num_epochs": "every gradient step is on a new draw from the replay buffer; "
    "training_intensity says how often what was sampled is learnt from",
    "minibatch_size": "a gradient step is on all of what is drawn from the replay buffer for it; "
    "set train_batch_size_per_learner",
    "shuffle_batch_per_epoch": "what is drawn from the replay buffer is in a random order; "
    "leave it out",
}
"""What there is instead of passes over a train batch."""
Beginning = Annotated[NonNegativeInt, Once("learning starts at one moment of a run")]
TD_ERRORS = "td_errors"
"""Under which a loss reports the size of each row's, or sequence's, TD error."""
Q_VALUES = "qf"
"""Under which it reports the value of each row's action."""


class OffPolicyConfig(AlgorithmConfig):
    """Settings of all off-policy algorithms; names are RLlib's.

    Attributes:
        shape_class: the networks' settings, of which some are called as settings of the algorithm.
    """

    shape_class: ClassVar[type[ModelConfig]] = ModelConfig

    rollout_fragment_length: PositiveInt | Literal["auto"] = "auto"
    """Env steps per environment in one sample; "auto" is ``n_step``."""
    train_batch_size_per_learner: BatchSize = 32
    """Env steps of one gradient step, per learner; with memory, sequences."""
    evaluation_config: Overrides | None = {"explore": False}  # noqa: RUF012 (pydantic copies it)
    """Settings that differ while evaluating: {explore: false}, another ``env_config``."""
    min_sample_timesteps_per_iteration: NonNegativeInt = 1000
    """Env steps that an iteration samples at least."""
    replay_buffer_config: dict[str, Any] = {  # noqa: RUF012 (pydantic copies it)
        "type": "EpisodeReplayBuffer",
        "capacity": 1_000_000,
    }
    """Replay buffer: its ``type``, ``capacity`` in env steps and, of a prioritised one, ``alpha``
    and ``beta``, which may be schedules; a new ``alpha`` is that of errors from then on. What is
    not said is as it is by default, if the type is."""
    store_buffer_in_checkpoints: bool = True
    """Whether checkpoints hold the replay buffer; without it, a run that goes on fills a new one
    before it learns."""
    num_steps_sampled_before_learning_starts: Beginning = 1000
    """Env steps in the beginning that are not learnt from, and whose actions are random."""
    training_intensity: ScheduleOr[PositiveFloat] | None = None
    """Env steps trained on for each env step sampled; null trains on one batch for every round of
    samples, ``rollout_fragment_length`` env steps of every environment."""
    n_step: NStepSetting = 1
    """Env steps whose rewards are added up before the value of the next observation counts; of a
    pair, any number from the first to the second, drawn for each row."""
    burn_in_len: NonNegativeInt = 0
    """With memory: steps in the beginning of a sequence that only bring the memory up to date."""
    target_network_update_freq: ScheduleOr[NonNegativeInt] = 0
    """Env steps sampled between two moves of the target network; 0 moves it after every gradient
    step."""
    tau: ScheduleOr[Fraction] = 1.0
    """How far the target network moves: 1 copies."""

    @field_validator("replay_buffer_config", mode="before")
    @classmethod
    def _complete_replay(cls, value: Any) -> Any:
        default = cls.model_fields["replay_buffer_config"].default
        if not isinstance(value, dict) or value.get("type", default["type"]) != default["type"]:
            return value
        return default | value

    def get_rollout_fragment_length(self, worker_index: int = 0) -> int:
        """Env steps per environment in one sample, with "auto" worked out."""
        if self.rollout_fragment_length != "auto":
            return self.rollout_fragment_length
        return max(n if isinstance(n, int) else n[1] for n in point_values(self.n_step))

    def with_values(self, values: Mapping[str, float]) -> Self:
        """These settings with present values; fragments are as long as ever."""
        now = super().with_values(values)
        if not is_schedule(self.n_step):
            return now
        length = {"rollout_fragment_length": self.get_rollout_fragment_length()}
        return now.model_copy(update=length)

    @property
    def env_steps_per_update(self) -> Ratio:
        """Env steps sampled for each gradient step."""
        if self.training_intensity is None:
            num_envs = max(1, self.num_env_runners) * self.num_envs_per_env_runner
            return Ratio(self.get_rollout_fragment_length() * num_envs)
        return _steps_per_update(self.total_train_batch_size, self.training_intensity)

    @property
    def updates_between_moves(self) -> Ratio:
        """Gradient steps from one move of the target networks to the next."""
        return self.target_network_update_freq / self.env_steps_per_update

    def get_rl_module_spec(
        self, spaces: Any = None, *, env: Any = None, inference_only: bool = False
    ) -> FullSpec:
        """How the module is made; what it has to know of these settings is part of its own."""
        spec = super().get_rl_module_spec(spaces, env=env, inference_only=inference_only)
        names = self.shape_class.model_fields.keys() - ModelConfig.model_fields.keys()
        own = {name: getattr(self, name) for name in names & type(self).model_fields.keys()}
        if isinstance(spec.model_config, Mapping):
            return replace(spec, model_config=own | dict(spec.model_config))
        return replace(spec, model_config=self.shape_class(**own).updated(spec.model_config))

    def problems(self) -> Iterator[Problem]:
        """Impossible combinations of settings."""
        yield from super().problems()
        yield from self._problems_of_passes()
        if isinstance(n := point_values(self.n_step)[0], tuple) and n[0] > n[1]:
            yield Problem(f"the first is at most the second, got {list(n)}", "n_step")
        if self.burn_in_len and not self.model.has_memory:
            text = "a burn-in is for memory; set use_lstm or use_gru in model_config"
            yield Problem(text, "burn_in_len")
        try:
            buffer = make_replay(self.replay_buffer_config, derive_rng(0, Role.REPLAY))
            fragment = self.get_rollout_fragment_length() * self.num_envs_per_env_runner
            if fragment > buffer.capacity:
                text = (
                    f"{buffer.capacity} env steps are fewer than the {fragment} of a fragment "
                    "(rollout_fragment_length x num_envs_per_env_runner)"
                )
                yield Problem(text, "replay_buffer_config.capacity")
        except ConfigError as error:
            for problem in error.problems:
                key = f"replay_buffer_config.{problem.key}".rstrip(".")
                yield Problem(problem.text, key)

    def _problems_of_passes(self) -> Iterator[Problem]:
        """Settings of passes over a train batch, which is learnt from once here."""
        for name, text in NO_PASSES.items():
            if getattr(self, name) != AlgorithmConfig.model_fields[name].default:
                yield Problem(f"has no meaning for {self.algo_name}: {text}", name)


@lru_cache
def _steps_per_update(batch_size: int, training_intensity: float) -> Ratio:
    """Exact, also where the intensity is a decimal fraction such as 0.1."""
    return batch_size / Ratio(str(training_intensity))


def _env_steps_per_update(now: OffPolicyConfig) -> Ratio:
    return now.env_steps_per_update


def _updates_between_moves(now: OffPolicyConfig) -> Ratio:
    return now.updates_between_moves


class OffPolicyLearner(Learner[BatchT]):
    """Makes as many gradient steps as it is given batches for; target networks follow.

    Attributes:
        targets: the target networks.
    """

    config: OffPolicyConfig
    now: OffPolicyConfig
    shares_noise = True

    def __init__(self, config: AlgorithmConfig, spaces: Spaces) -> None:
        super().__init__(config, spaces)
        self.targets = self.make_targets()
        self.pace = Pace()
        self._period = Derived(_updates_between_moves)

    def need(self, *names: str) -> None:
        """Raise ``ConfigError`` unless the module has all these, which the algorithm trains by."""
        if missing := [name for name in names if not hasattr(self.module, name)]:
            default = self.config.get_default_rl_module_class().__name__
            text = (
                f"{type(self.module).__name__} has no {', '.join(missing)}, by which "
                f"{self.config.algo_name} is trained; {default}, to be subclassed, has"
            )
            raise ConfigError(Problem(text, "rl_module_spec"))

    @abstractmethod
    def make_targets(self) -> list[TargetNetwork]:
        """The target networks of the module, which follow its optimisers."""

    def draw_n(self) -> int:
        """Env steps whose rewards the steps of sequences add up: as set, or drawn."""
        n = self.now.n_step
        return n if isinstance(n, int) else int(self.rng.integers(n[0], n[1] + 1))

    def draw_noise(self, distribution: Distribution, inputs: Tensor) -> Tensor:
        """This learner's part of the noise that one learner would draw for the rows of all.

        Args:
            distribution: whose noise it is.
            inputs: [B, ...] of it; all learners have as many rows.
        """
        size = self.group.size
        if size == 1:
            return distribution.draw_noise(inputs)
        of_all = inputs.new_empty(size * len(inputs), *inputs.shape[1:])
        return distribution.draw_noise(of_all).chunk(size)[self.group.rank]

    def minibatches(self, batch: BatchT) -> Iterator[BatchT]:
        """Each has rows from all over the draw, which prioritised buffers give in their order."""
        return interleaved(batch, num_rows(batch) // self.config.train_batch_size_per_learner)

    def after_gradient_based_update(self, timestep: int) -> None:
        """Move the target networks if it is time."""
        if self.is_time_to_move():
            for target in self.targets:
                target.move(self.now.tau)

    def is_time_to_move(self) -> bool:
        """Count a gradient step, and say whether target networks move after it.

        By the env steps that gradient steps stand for, which are more exact than a timestep.
        """
        return self.pace.step(self.updates_between_moves)

    @property
    def updates_between_moves(self) -> Ratio:
        """Gradient steps from one move of the target networks to the next, at present."""
        return self._period.of(self.now)

    def get_state(self, components: Paths = None, **others: Any) -> dict[str, Any]:
        """State tree; how soon target networks move is part of it."""
        return super().get_state(components, **others) | {"pace": self.pace.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``."""
        super().set_state(state)
        self.pace.set_state(state["pace"])


def report_values(metrics: Metrics) -> None:
    """Turn what a loss reported of each row into RLlib's metrics, if there was one to train on."""
    values, errors = metrics.pop(Q_VALUES), metrics[TD_ERRORS]
    if not len(values):
        return
    metrics["qf_mean"] = _mean(values)
    metrics["qf_min"] = float(np.minimum.reduce(values))
    metrics["qf_max"] = float(np.maximum.reduce(values))
    metrics["td_error_mean"] = _mean(errors)


def _mean(values: NDArray[np.float32]) -> float:
    """As ``values.mean()``, which takes four times as long for a few dozen."""
    return float(np.add.reduce(values) / len(values))


class OffPolicy(Algorithm):
    """Samples, keeps, and learns from what it has kept.

    Attributes:
        replays: a replay buffer for each module that learns, by module id.
        seq_lens: steps of a sequence of each, of those with memory.
        owed: gradient steps that are due for what was sampled, and not made yet.
    """

    config: OffPolicyConfig

    def _connect(self) -> None:
        super()._connect()
        trained = filter(self.config.is_policy_to_train, self.interface.module_ids)
        self.configs = {name: self.interface.config_of(self.config, name) for name in trained}
        self.settings = OverTime(self.config)
        self.module_settings = {
            name: self.settings if each is self.config else OverTime(each)
            for name, each in self.configs.items()
        }
        self.seq_lens = {
            name: each.get_rl_module_spec(self.interface.spaces_of(name)).max_seq_len
            for name, each in self.configs.items()
        }
        self.replays = {
            name: make_replay(
                each.replay_buffer_config,
                derive_rng(each.seed, Role.REPLAY),
                max_seq_len=self.seq_lens[name],
                burn_in_len=each.burn_in_len,
            )
            for name, each in self.configs.items()
        }
        self.owed = Owed()
        self._period = Derived(_env_steps_per_update)

    def training_step(self) -> None:
        """Fragments into the replay buffer, the updates that they owe, and new weights for all."""
        self.owe_updates(self.collect())
        if num_updates := self.owed.take():
            self.learn(num_updates)
            self.env_runner_group.sync_weights(self.learner_group.get_weights())

    def collect(self) -> list[SampleStats]:
        """Add one fragment of every env runner to the replay buffers."""
        timestep = self.num_env_steps_sampled_lifetime
        self._set_timestep(timestep)
        is_beginning = timestep < self.config.num_steps_sampled_before_learning_starts
        samples = self.env_runner_group.sample(timestep, is_beginning)
        for handle, source, begins in zip(
            samples.batches, samples.sources, samples.begins, strict=True
        ):
            if begins:
                self._end_streams(source)
            batch = fetch_sample(handle, self.config.sample_timeout_s)
            for module_id, part in self.interface.by_module(batch).items():
                if module_id in self.replays:
                    self.replays[module_id].add(part, source)
        self.count_samples(samples.stats)
        return samples.stats

    def _end_streams(self, source: int) -> None:
        """What an env runner samples next goes on from nothing: its episodes begin anew."""
        for each in self.replays.values():
            each.end_streams(source)

    def owe_updates(self, stats: list[SampleStats]) -> None:
        """Gradient steps for what was sampled, once there is enough to learn from."""
        kept = max((each.num_added_lifetime for each in self.replays.values()), default=0)
        if kept > self.config.num_steps_sampled_before_learning_starts:
            num_env_steps = sum(each.num_env_steps for each in stats)
            self.owed.add(num_env_steps, self.env_steps_per_update)

    @property
    def env_steps_per_update(self) -> Ratio:
        """Env steps sampled for each gradient step, at present."""
        now = self.settings.at(self.num_env_steps_sampled_lifetime)
        return self._period.of(now)

    def learn(self, num_updates: int) -> None:
        """Gradient steps on new draws, and their TD errors back to the replay buffers."""
        self._set_timestep(self.num_env_steps_sampled_lifetime)
        draws = [self.draws(num_updates) for _ in range(max(1, self.config.num_learners))]
        update = self.learner_group.update(
            [self.interface.of_modules(each) for each in draws],
            timestep=self.num_env_steps_sampled_lifetime,
        )
        if any(isinstance(replay, PrioritizedReplay) for replay in self.replays.values()):
            metrics = self.interface.by_module(self.learner_group.fetch_metrics(update))
            for module_id, each in metrics.items():
                indices = _indices_of([draw[module_id] for draw in draws], num_updates)
                self.replays[module_id].update_priorities(indices, each[TD_ERRORS])
        self.count_update(update)

    def draws(self, num_updates: int) -> dict[str, Draw]:
        """What one learner gets for so many gradient steps, by module id."""
        return {
            name: self.draw(name, num_updates * self.configs[name].train_batch_size_per_learner)
            for name, replay in self.replays.items()
            if len(replay)
        }

    def draw(self, module_id: str, num_rows: int) -> Draw:
        """The same of one module: transitions or, with memory, as many sequences."""
        replay, config = self.replays[module_id], self.configs[module_id]
        if replay.has_memory:
            length = self.seq_lens[module_id]
            return replay.sample_sequences(num_rows, length, config.burn_in_len)
        now = self.module_settings[module_id].at(self.num_env_steps_sampled_lifetime)
        return replay.sample(num_rows, n_step=now.n_step, gamma=now.gamma)

    def _set_timestep(self, timestep: int) -> None:
        for replay in self.replays.values():
            replay.set_timestep(timestep)

    def _summary(self) -> dict[str, Any]:
        result = super()._summary()
        for module_id, learned in result["learners"].items():
            present = self.replays[module_id].scheduled_settings()
            learned |= {f"curr_{name}": value for name, value in present.items()}
        return result | {"replay_buffer": self._statistics()}

    def _statistics(self) -> dict[str, int]:
        """Of all replay buffers together."""
        each = [replay.statistics() for replay in self.replays.values()]
        return ReplayStatistics(*map(sum, zip(*each, strict=True)))._asdict()

    def _whole_state(self) -> dict[str, Any]:
        """The replay buffers are part of it."""
        replays = self.replays if self.config.store_buffer_in_checkpoints else {}
        return super()._whole_state() | {
            "replays": {name: self._state_of(name, replay) for name, replay in replays.items()},
            "updates_owed": list(self.owed.total.as_integer_ratio()),
        }

    def _state_of(self, name: str, replay: Replay) -> dict[str, Any]:
        """State tree of a replay buffer; rows that are on disk already are referred to."""
        if self.saved_rows is None:
            return replay.get_state()
        stop = replay.num_added_lifetime
        kept = self.saved_rows.kept(name, stop - len(replay), stop, replay.row_bytes)
        state = replay.get_state(since=kept[-1].piece.stop if kept else 0)
        if (ring := state["ring"]) is not None:
            fresh = ring["rows"]
            ring["rows"] = Rows(name, kept, fresh, fresh["first"], stop)
        return state

    def _set_state(self, state: dict[str, Any]) -> None:
        super()._set_state(state)
        self.owed = Owed(Ratio(*state["updates_owed"]))
        for name, replay in state["replays"].items():
            self.replays[name].set_state(replay)
        for source in map(int, state["env_runners"]):
            if source not in self.env_runner_group.resumed:
                self._end_streams(source)


def _indices_of(draws: list[Draw], num_updates: int) -> NDArray[np.int64]:
    """The indices of all draws, in the order in which gradient steps take their rows."""
    parts = [draw.indices.reshape(-1, num_updates).T.reshape(-1) for draw in draws]
    return np.concatenate(parts)
