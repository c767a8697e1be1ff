"""The settings that every algorithm shares: one small class per section, one line per setting.

A section's name is the builder method that sets it and the YAML heading it stands under. The string
below a setting is its documentation, its help text, and its description in the JSON schema. Where
it says "No effect here", RLlib needs the setting for a part that is built differently.
"""

import secrets
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationInfo,
    field_validator,
)
from pydantic.json_schema import SkipJsonSchema

from rllib.config.model import ModelConfig as ModelConfig
from rllib.config.modules import ModuleSpec
from rllib.config.multi_agent import Ids, Policies
from rllib.config.types import (
    SETTINGS,
    CallbackClasses,
    Code,
    Codes,
    Limit,
    LoggerClasses,
    Mark,
    Once,
    Overrides,
    Patience,
    PositiveFloat,
    ScheduleOr,
    Space,
    VectorizeMode,
)
from rllib.config.types import Fraction as Fraction

Resources = dict[str, NonNegativeFloat]
Environs = Annotated[dict[str, str], Mark.ENVIRON]
TrainBatchSize = Annotated[
    PositiveInt,
    Once("the layout of sampling goes by it; schedule minibatch_size or num_epochs"),
]


def or_default(cls: type[BaseModel], value: Any, info: ValidationInfo) -> Any:
    """RLlib's ``None`` for a number that is not said: the algorithm's default."""
    return cls.model_fields[str(info.field_name)].default if value is None else value


def _or_empty(value: Any) -> Any:
    return {} if value is None else value


class Section(BaseModel):
    """A group of settings; its own fields, and those of subclasses, belong to ``section``."""

    model_config = SETTINGS
    section: ClassVar[str]


class EnvironmentSection(Section):
    """What to train in."""

    section = "environment"

    env: str | SkipJsonSchema[Callable[..., Any]] | None = None
    """Gymnasium id ("CartPole-v1", or "module:Id-v0" to import the module that registers it), or
    "module:Name" of a class or function that takes ``env_config`` and is or returns an Env, or a
    name from ``register_env`` or a plug-in; in Python also the class or function itself."""
    env_config: Annotated[dict[str, Any], BeforeValidator(_or_empty)] = Field(default_factory=dict)
    """Keyword arguments for the environment's constructor."""
    observation_space: Space = None
    """Space of observations; null takes the environment's."""
    action_space: Space = None
    """Space of actions; null takes the environment's."""
    clip_rewards: bool | PositiveFloat | None = None
    """What training sees of a reward: its sign (true), or its value clipped to plus and minus this;
    returns are reported as they are."""
    normalize_actions: bool = True
    """Continuous actions: whether -1 and 1 stand for the bounds of the action space, to which the
    policy's actions are stretched and then clipped."""
    clip_actions: bool = False
    """Continuous actions that are not normalised: whether they are clipped to the action space;
    otherwise the environment gets them as they are."""
    disable_env_checking: bool = False
    """Whether observations, rewards and flags are taken as they are, without comparing them with
    the spaces; what is not finite is refused all the same."""
    is_atari: bool | None = None
    """No effect here: networks are chosen by the shape of observations."""
    action_mask_key: str = "action_mask"
    """Field of a Dict observation that says which actions are allowed; connectors and modules see
    it as "action_mask"."""


class EnvRunnersSection(Section):
    """Who collects experience, and in which portions."""

    section = "env_runners"

    env_runner_cls: Code | None = None
    """Class of env runners; null takes the algorithm's."""
    num_env_runners: NonNegativeInt = 0
    """Env runner actors that sample in parallel; 0 samples in the main process."""
    num_envs_per_env_runner: PositiveInt = 1
    """Environments that one env runner steps as one vector."""
    gym_env_vectorize_mode: VectorizeMode = "auto"
    """How the vector is made: "auto" takes the environment's own vector form if it has one, "ale"
    is that of Atari games, "envpool" that of the package."""
    num_cpus_per_env_runner: NonNegativeFloat = 1
    """CPU cores that the runtime sets aside for an env runner actor. With 1, as everywhere in the
    runtime, an actor needs a core to be placed and none afterwards; any other number it keeps."""
    num_gpus_per_env_runner: NonNegativeFloat = 0
    """GPUs, or parts of one, for an env runner actor."""
    custom_resources_per_env_runner: Resources = Field(default_factory=dict)
    """Further resources, by name, for an env runner actor."""
    rollout_fragment_length: PositiveInt | Literal["auto"] = "auto"
    """Env steps per environment in one sample; "auto" fits the train batch. PPO joins as many
    samples of every env runner as a train batch takes."""
    batch_mode: Literal["truncate_episodes", "complete_episodes"] = "truncate_episodes"
    """Whether a sample ends in the midst of episodes, or has whole ones: each environment plays
    until it has ended one and stepped ``rollout_fragment_length`` times, and every sample begins
    with new episodes."""
    explore: bool = True
    """Whether env runners sample actions; otherwise they take the most likely ones."""
    exploration_noise_correlation: ScheduleOr[Annotated[float, Field(ge=0, lt=1)]] = 0.0
    """Continuous actions: how much one step's random deviation resembles the one before it. 0 is
    independent; near 1 exploration keeps its direction, which moves what has inertia."""
    sample_timeout_s: Patience = 60.0
    """Seconds that one sample of an env runner actor may take before it is an error; null for
    eleven days. Wherever whole episodes are sampled, they are also those in which one has to end.
    """
    max_requests_in_flight_per_env_runner: PositiveInt = 1
    """Samples that an asynchronous algorithm asks of an env runner ahead of time."""
    observation_filter: Literal["NoFilter", "MeanStdFilter"] = "NoFilter"
    """Whether observations are normalised by their running mean and standard deviation."""
    env_to_module_connector: Code | None = None
    """Function (env, spaces, device) that returns one or several connectors, which observations
    pass through on the way to the module."""
    module_to_env_connector: Code | None = None
    """Function (env, spaces, device) that returns one or several connectors, which actions pass
    through on the way to the environment."""
    add_default_connectors_to_env_to_module_pipeline: bool = True
    """No effect here: batching and conversion are no connectors."""
    add_default_connectors_to_module_to_env_pipeline: bool = True
    """Always: actions are drawn and fitted to their space without connectors;
    ``normalize_actions`` says how."""
    merge_env_runner_states: bool | Literal["training_only"] = "training_only"
    """Always those of training: states of connectors are merged wherever there are any."""
    broadcast_env_runner_states: bool = True
    """Always: merged states go to all env runners wherever there are any."""
    use_env_runner_state_server: bool = False
    """No effect here: weights go straight from the learner to every env runner."""
    create_local_env_runner: bool = True
    """Always: there is a local env runner if, and only if, there are no others."""
    validate_env_runners_after_construction: bool = True
    """No effect here: an env runner that cannot be made is an error at once."""
    episodes_to_numpy: bool = True
    """No effect here: samples are arrays from the start."""
    episode_lookback_horizon: NonNegativeInt = 1
    """No effect here: a connector keeps what it needs of the past."""


class TrainingSection(Section):
    """Settings of the optimisation that all algorithms share."""

    section = "training"

    gamma: ScheduleOr[Fraction] = 0.99
    """Discount factor per env step."""
    lr: ScheduleOr[NonNegativeFloat] = 1e-3
    """Learning rate of the optimiser; as every schedule, a number or [[timestep, value], ...]."""
    grad_clip: Limit = None
    """Limit for gradients, measured as ``grad_clip_by`` says; null clips nothing."""
    grad_clip_by: Literal["value", "norm", "global_norm"] = "global_norm"
    """Clip each element, each tensor's norm, or the norm of all gradients together."""
    torch_skip_nan_gradients: bool = False
    """Whether a gradient step whose loss or gradients are not finite is left out; else it is an
    error."""
    train_batch_size: TrainBatchSize | None = None
    """Env steps that go into one training iteration, which the learners share; another way to say
    ``train_batch_size_per_learner``, and of the two that goes which is set last."""
    train_batch_size_per_learner: TrainBatchSize = 32
    """Env steps that go into one training iteration, per learner."""
    num_epochs: ScheduleOr[PositiveInt] = 1
    """Passes over the train batch in one iteration."""
    minibatch_size: ScheduleOr[PositiveInt] | None = None
    """Env steps per gradient step; null takes the whole train batch at once."""
    shuffle_batch_per_epoch: bool = False
    """Whether every epoch draws its minibatches in a new order."""


class LearnersSection(Section):
    """Who computes the updates, and on what."""

    section = "learners"

    num_learners: NonNegativeInt = 0
    """Learner actors, whose gradients are averaged; 0 learns in the main process."""
    num_cpus_per_learner: PositiveInt | NonNegativeFloat | Literal["auto"] = "auto"
    """CPU cores of one learner, which is the number of threads that torch may use there, of which
    there is always one; "auto" is one: small networks get slower by more. With "auto" in the main
    process, what is compiled for those may have all cores."""
    num_gpus_per_learner: NonNegativeFloat = 0
    """GPUs, or parts of one, of one learner."""
    custom_resources_per_learner: Resources = Field(default_factory=dict)
    """Further resources, by name, for a learner actor."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where learners compute; "auto" takes the GPU if ``num_gpus_per_learner`` gives one."""
    local_gpu_idx: NonNegativeInt = 0
    """Which GPU a learner in the main process takes."""
    mixed_precision: Literal["auto", "bfloat16", "float16"] | None = None
    """Number format of forward and backward passes; null is float32 throughout, "auto" is bfloat16
    where the processor, or the GPU, has instructions for it: elsewhere it is slower. Where bfloat16
    convolutions are compiled (AVX-512), env runners act by them, too."""
    num_aggregator_actors_per_learner: NonNegativeInt = 0
    """No effect here: fragments are arrays from the start, and learners take them as they are."""
    max_requests_in_flight_per_aggregator_actor: PositiveInt = 3
    """No effect here: there are no aggregators."""
    max_requests_in_flight_per_learner: PositiveInt = 3
    """Updates that may wait for a learner: bounds how old experience may get."""
    learner_class: Code | None = None
    """Class of learners; null takes the algorithm's."""
    learner_connector: Code | None = None
    """Function (observation space, action space) that returns one or several learner connectors,
    which what is learnt from passes through before it becomes a train batch."""
    add_default_connectors_to_learner_pipeline: bool = True
    """Whether the algorithm makes the train batch; otherwise it is what comes out of
    ``learner_connector``."""
    learner_config_dict: dict[str, Any] = Field(default_factory=dict)
    """Settings of a learner class of one's own."""

    _no_gpus = field_validator("num_gpus_per_learner", mode="before")(or_default)


class RLModuleSection(Section):
    """What the policy looks like."""

    section = "rl_module"

    model: ModelConfig = Field(default_factory=ModelConfig)
    """The networks (in Python this is the attribute ``config.model``)."""
    rl_module_spec: ModuleSpec = None
    """Class, spaces and networks of the module, or of several; what it does not say comes from the
    algorithm, the environment, and ``model_config``."""
    algorithm_config_overrides_per_module: dict[str, Overrides] = Field(default_factory=dict)
    """Settings of single modules that differ from those above, by the module's id."""

    @field_validator("model", mode="before")
    @classmethod
    def _complete_model(cls, value: Any) -> Any:
        """What is not said of the networks is as the algorithm has it by default."""
        default = cls.model_fields["model"].get_default(call_default_factory=True)
        if isinstance(value, ModelConfig):
            return default.updated(value)
        if isinstance(value, dict):
            return {name: default[name] for name in default.model_fields_set} | value
        return value


class EvaluationSection(Section):
    """How good the policy is, apart from training."""

    section = "evaluation"

    evaluation_interval: NonNegativeInt | None = None
    """Training iterations between two evaluations; null or 0 evaluates only when asked to."""
    evaluation_duration: PositiveInt | Literal["auto"] = 10
    """How much is evaluated; "auto" goes on for as long as training does beside it."""
    evaluation_duration_unit: Literal["episodes", "timesteps"] = "episodes"
    """What ``evaluation_duration`` counts."""
    evaluation_auto_duration_min_env_steps_per_sample: PositiveInt = 100
    """Duration "auto": fewest env steps that each env runner plays."""
    evaluation_auto_duration_max_env_steps_per_sample: PositiveInt = 2000
    """Duration "auto": most env steps that an env runner plays before it looks again whether
    training is done."""
    evaluation_num_env_runners: NonNegativeInt = 0
    """Env runner actors for evaluation alone; 0 evaluates in the main process."""
    evaluation_parallel_to_training: bool = False
    """Whether evaluation runs beside the training iteration, with the weights of its beginning."""
    evaluation_config: Overrides | None = None
    """Settings that differ while evaluating: {explore: false}, another ``env_config``."""
    evaluation_sample_timeout_s: Patience = 120.0
    """Seconds that an evaluation by actors may take before it is an error; null for eleven days.
    Wherever episodes are counted, they are also those in which one has to end."""
    evaluation_force_reset_envs_before_iteration: bool = True
    """Whether every evaluation begins with new episodes."""
    evaluation_unhealthy_workers_timeout_s: NonNegativeFloat = 0.0
    """Seconds that an evaluation waits for an env runner if all of them have failed."""
    evaluation_error_after_n_consecutive_skips: PositiveInt | None = None
    """So many evaluations in a row that nobody could play are an error; null for no number."""
    custom_evaluation_function: Code | None = None
    """Function (algorithm, env runners of evaluation) that evaluates instead, and returns metrics,
    env steps and agent steps."""


class FaultToleranceSection(Section):
    """What happens when an env runner actor or an environment fails.

    It fails when it dies, raises, does not answer in time, or sends what is not finite. What it was
    asked for is dropped and counted.
    """

    section = "fault_tolerance"

    restart_failed_env_runners: bool = True
    """Whether an env runner that failed is started anew, with the weights and connectors of now."""
    ignore_env_runner_failures: bool = False
    """Whether training goes on without it otherwise; if neither, its failure ends training."""
    max_num_env_runner_restarts: NonNegativeInt = 1000
    """How often one env runner is started anew before it ends training."""
    env_runner_restart_intensity: PositiveInt = 5
    """How often in ``env_runner_restart_period_s`` one is started anew at once although it
    delivers nothing in between; then it rests. When all of them rest, training ends."""
    env_runner_restart_period_s: PositiveFloat = 30.0
    """Seconds after which a failure is no longer held against an env runner."""
    delay_between_env_runner_restarts_s: NonNegativeFloat = 60.0
    """Seconds that such an env runner rests before it is tried again."""
    restart_failed_sub_environments: bool = False
    """Whether a single environment that failed is made anew, and its episode left out, while those
    beside it go on. Takes gym_env_vectorize_mode "sync" or, where processes may die and steps may
    hang, "async"."""
    sub_environment_timeout_s: PositiveFloat = 30.0
    """Seconds that a step of an environment in a process of its own may take before it failed, if
    such are made anew. Environments of several agents have none, and it is an error there."""
    num_consecutive_env_runner_failures_tolerance: NonNegativeInt = 100
    """Failures in a row, of all env runners, without anything delivered in between, after which
    the next one ends training."""
    env_runner_health_probe_timeout_s: PositiveFloat = 30.0
    """Seconds that an env runner may take to say that it is alive. It is asked when it has let
    others wait for as long, if ``sample_timeout_s`` is more than twice that."""
    env_runner_restore_timeout_s: PositiveFloat = 1800.0
    """Seconds that an env runner started anew may take to make its environments."""
    restart_failed_learners: bool = True
    """Whether a learner actor that died is started anew, with the state of another one or else the
    newest snapshot; otherwise it ends training."""
    max_num_learner_restarts: NonNegativeInt = 100
    """How often learners are started anew in all before it is an error."""
    learner_timeout_s: PositiveFloat | None = 600.0
    """Seconds that an update may take; a learner actor that takes longer is started anew, and so is
    one for which the others of its group have waited half as long. Null waits for ever."""
    learner_snapshot_every_s: PositiveFloat = 10.0
    """Seconds from one snapshot of the learners' state in memory to the next."""
    stall_timeout_s: PositiveFloat | None = 1800.0
    """Seconds without the end of an iteration after which ``rllib train`` writes down what every
    process is doing, below ``stalls`` in the folder of the run; null for never."""
    stall_action: Literal["report", "stop"] = "report"
    """Whether that is all, or the run also ends, as it does with SIGTERM."""


class MultiAgentSection(Section):
    """Which policy acts for which agent."""

    section = "multi_agent"

    policies: Policies = None
    """Ids of the policies, or each with what is particular about it; null is one policy,
    "default_policy", for all agents."""
    policy_mapping_fn: Code | None = None
    """Function (agent id, episode) that returns a policy's id; null maps all to one policy."""
    policies_to_train: Ids | Code | None = None
    """Ids of the policies that learn, or a function (policy id, batch) that says whether one does;
    null trains all."""
    count_steps_by: Literal["env_steps", "agent_steps"] = "env_steps"
    """Unit of batch sizes: steps of the environment, or of single agents."""
    policy_map_capacity: PositiveInt = 100
    """No effect here: all modules stay in memory."""
    policy_states_are_swappable: bool = False
    """No effect here: all modules stay in memory."""


class CallbacksSection(Section):
    """Code of one's own at every stage; see ``rllib.callbacks`` for what each is called with."""

    section = "callbacks"

    callbacks_class: CallbackClasses = ()
    """Class, or list of classes, with methods of the names below."""
    on_algorithm_init: Codes = ()
    """Called once the algorithm is complete."""
    on_train_result: Codes = ()
    """Called with the result of each training iteration."""
    on_evaluate_start: Codes = ()
    """Called before each evaluation."""
    on_evaluate_end: Codes = ()
    """Called with the result of each evaluation."""
    on_env_runners_recreated: Codes = ()
    """Called after env runner actors were started anew."""
    on_checkpoint_loaded: Codes = ()
    """Called after a checkpoint was restored."""
    on_checkpoint_saved: Codes = ()
    """Called after a checkpoint was written."""
    on_environment_created: Codes = ()
    """Called in an env runner once it has its environments."""
    on_episode_created: Codes = ()
    """Called before an environment is reset."""
    on_episode_start: Codes = ()
    """Called after an environment was reset."""
    on_episode_step: Codes = ()
    """Called after each env step; costs time."""
    on_episode_end: Codes = ()
    """Called after the last step of an episode."""
    on_sample_end: Codes = ()
    """Called with each sample before it leaves the env runner."""


class ResourcesSection(Section):
    """Who is placed where, and what the main process takes."""

    section = "resources"

    layout: Literal["manual", "auto"] = "manual"
    """Who decides how many env runners, environments of each, and learners there are: "auto"
    measures for about half a second what they cost and places them by that. A number that is
    written anywhere stays; where ``num_env_runners`` is not, ``num_envs_per_env_runner`` is what a
    synchronous algorithm has in all."""
    num_cpus_for_main_process: PositiveInt = 1
    """No effect here: the main process is the one you have started."""
    custom_resources_for_main_process: Resources = Field(default_factory=dict)
    """No effect here: the main process is the one you have started."""
    placement_strategy: Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"] = "SPREAD"
    """Where env runner actors go on a cluster: "SPREAD" to the node that is least in use, "PACK" to
    the main process's own as long as it has room. They are placed one by one, so there are no
    strict forms."""


class PythonEnvironmentSection(Section):
    """Environment variables of the processes."""

    section = "python_environment"

    extra_python_environs_for_driver: Environs = Field(default_factory=dict)
    """Environment variables that the main process sets for itself before it makes anything."""
    extra_python_environs_for_worker: Environs = Field(default_factory=dict)
    """Environment variables of env runner and learner actors."""


class DebuggingSection(Section):
    """Reproducibility."""

    section = "debugging"

    seed: NonNegativeInt = 0
    """Root of all random numbers: same seed and same layout, same run. Null draws one."""
    log_level: Literal["DEBUG", "INFO", "WARN", "WARNING", "ERROR"] = "WARN"
    """No effect here: what there is to say is printed, raised, or part of the result."""

    @field_validator("seed", mode="before")
    @classmethod
    def _draw_seed(cls, value: Any) -> Any:
        return secrets.randbits(31) if value is None else value


class ReportingSection(Section):
    """What is written while training."""

    section = "reporting"

    metrics_num_episodes_for_smoothing: PositiveInt = 100
    """Number of last episodes over which episode metrics are averaged."""
    min_time_s_per_iteration: NonNegativeFloat | None = None
    """Seconds that a training iteration takes at least, by more training steps: what is learnt
    stays the same, but not what stands in one result; null for one training step."""
    min_train_timesteps_per_iteration: NonNegativeInt = 0
    """Env steps that an iteration trains on at least."""
    min_sample_timesteps_per_iteration: NonNegativeInt = 0
    """Env steps that an iteration samples at least."""
    _no_least = field_validator(
        "min_train_timesteps_per_iteration", "min_sample_timesteps_per_iteration", mode="before"
    )(or_default)

    log_gradients: bool = False
    """Whether the norm of every tensor's gradient is reported."""
    tensorboard: bool = True
    """Whether ``rllib train`` writes TensorBoard curves."""
    tensorboard_histograms_every: NonNegativeInt = 0
    """Training iterations between histograms of weights and of their last gradients in TensorBoard;
    0 for none."""
    tensorboard_videos_every: NonNegativeInt = 0
    """Training iterations between films in TensorBoard, each of an episode of evaluation with the
    most likely actions; 0 for none. They need the extra "video"."""
    tag_style: Literal["native", "rllib", "sb3", "cleanrl"] = "native"
    """Whose names the curves have in TensorBoard, W&B and MLflow: our own, those that Ray's Tune
    gives RLlib's, those of Stable-Baselines3, or CleanRL's."""
    loggers: LoggerClasses = ()
    """Further loggers of ``rllib train``: "csv" writes ``progress.csv``; "wandb" and "mlflow" need
    the extras of those names; packages add others by the entry-point group ``rllib.loggers``."""


class CheckpointingSection(Section):
    """When ``rllib train`` writes checkpoints; one is always written at the end."""

    section = "checkpointing"

    checkpoint_frequency: NonNegativeInt = 0
    """Training iterations between two checkpoints; 0 leaves it to ``checkpoint_every_s``."""
    checkpoint_every_s: PositiveFloat | None = 10.0
    """Seconds between two checkpoints; null leaves it to ``checkpoint_frequency``."""
    checkpoint_num_to_keep: PositiveInt = 2
    """Number of newest checkpoints that are kept."""
    checkpoint_score_metric: str | None = None
    """Metric ("env_runners/episode_return_mean") by whose best value one more checkpoint is kept,
    however old it is; ``checkpoints/best`` names it. Null keeps the newest alone."""
    checkpoint_score_order: Literal["max", "min"] = "max"
    """Whether the greatest value of that metric is the best, or the least."""
    checkpoint_url: str | None = None
    """Where checkpoints are copied to besides, on whatever file system fsspec knows
    ("s3://bucket/runs"), below the name of the run. A run goes on from the latest one there if it
    is newer than those on its disk."""


class Sections(
    EnvironmentSection,
    EnvRunnersSection,
    TrainingSection,
    LearnersSection,
    RLModuleSection,
    EvaluationSection,
    FaultToleranceSection,
    MultiAgentSection,
    CallbacksSection,
    ResourcesSection,
    PythonEnvironmentSection,
    DebuggingSection,
    ReportingSection,
    CheckpointingSection,
):
    """All of them, in the order in which they are written out."""


SECTIONS: tuple[type[Section], ...] = Sections.__bases__
