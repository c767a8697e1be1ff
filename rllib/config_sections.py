"""The settings that every algorithm shares: one small class per section, one line per setting.

A section's name is the builder method that sets it and the YAML heading it stands under. The string
below a setting is its documentation, its help text, and its description in the JSON schema.
"""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic.json_schema import SkipJsonSchema

SETTINGS = ConfigDict(
    strict=True,
    extra="forbid",
    validate_assignment=True,
    use_attribute_docstrings=True,
    allow_inf_nan=False,
    populate_by_name=True,
)

PositiveFloat = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
ConvFilter = Annotated[tuple[PositiveInt, PositiveInt, PositiveInt], Field(strict=False)]


class Section(BaseModel):
    """A group of settings; its own fields, and those of subclasses, belong to ``section``."""

    model_config = SETTINGS
    section: ClassVar[str]


class ModelConfig(BaseModel):
    """The default networks: fully connected layers for the policy and for the value function."""

    model_config = SETTINGS | ConfigDict(frozen=True)

    fcnet_hiddens: Annotated[tuple[PositiveInt, ...], Field(strict=False)] = (256, 256)
    """Widths of the hidden layers, from the observation on."""
    fcnet_activation: Literal["tanh", "relu", "silu", "linear"] = "tanh"
    """Activation after every hidden layer."""
    encoder: Literal["auto", "mlp", "nature", "impala"] = "auto"
    """What reads images: the convolutions of DQN's Nature paper or of IMPALA; "auto" takes "nature"
    for images and "mlp", which flattens everything, for the rest."""
    conv_filters: Annotated[tuple[ConvFilter, ...], Field(strict=False)] | None = None
    """Own convolutions instead: (channels, kernel, stride) of each layer."""
    conv_activation: Literal["tanh", "relu", "silu", "linear"] = "relu"
    """Activation after every convolution."""
    head_fcnet_hiddens: Annotated[tuple[PositiveInt, ...], Field(strict=False)] = ()
    """Widths of further hidden layers of each head, after everything that is shared."""
    use_lstm: bool = False
    """Whether an LSTM follows the hidden layers, so that the policy remembers."""
    use_gru: bool = False
    """Whether a GRU does."""
    lstm_cell_size: PositiveInt = 256
    """Width of the LSTM's or GRU's state."""
    max_seq_len: PositiveInt = 20
    """Longest sequence of env steps through which a recurrent policy's gradients go back."""
    vf_share_layers: bool = False
    """Whether policy and value function share their hidden layers."""
    free_log_std: bool = True
    """Continuous actions: log standard deviation as a parameter of its own, not an output."""
    log_std_clip_param: PositiveFloat = 20.0
    """Continuous actions: the log standard deviation is kept within plus and minus this."""


class EnvironmentSection(Section):
    """What to train in."""

    section = "environment"

    env: str | SkipJsonSchema[Callable[..., Any]] | None = None
    """Gymnasium id ("CartPole-v1", or "module:Id-v0" to import the module that registers it); in
    Python also an Env class, or a function that takes ``env_config`` and returns an Env."""
    env_config: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments for the environment's constructor."""


class EnvRunnersSection(Section):
    """Who collects experience, and in which portions."""

    section = "env_runners"

    num_env_runners: NonNegativeInt = 0
    """Env runner actors that sample in parallel; 0 samples in the main process."""
    num_envs_per_env_runner: PositiveInt = 1
    """Environments that one env runner steps as one vector."""
    gym_env_vectorize_mode: Literal["auto", "sync", "async", "vector_entry_point"] = "auto"
    """How the vector is made; "auto" takes the environment's own vector form if it has one."""
    rollout_fragment_length: PositiveInt | Literal["auto"] = "auto"
    """Env steps per environment in one sample; "auto" fits the train batch."""
    explore: bool = True
    """Whether env runners sample actions; otherwise they take the most likely ones."""
    sample_timeout_s: PositiveFloat = 60.0
    """Seconds that one sample of an env runner actor may take before it is an error."""


class TrainingSection(Section):
    """Settings of the optimisation that all algorithms share."""

    section = "training"

    gamma: Fraction = 0.99
    """Discount factor per env step."""
    lr: NonNegativeFloat = 1e-3
    """Learning rate of the optimiser."""
    grad_clip: PositiveFloat | None = None
    """Limit for gradients, measured as ``grad_clip_by`` says; null clips nothing."""
    grad_clip_by: Literal["value", "norm", "global_norm"] = "global_norm"
    """Clip each element, each tensor's norm, or the norm of all gradients together."""
    train_batch_size_per_learner: PositiveInt = 4000
    """Env steps that go into one training iteration, per learner."""
    num_epochs: PositiveInt = 1
    """Passes over the train batch in one iteration."""
    minibatch_size: PositiveInt | None = None
    """Env steps per gradient step; null takes the whole train batch at once."""
    shuffle_batch_per_epoch: bool = True
    """Whether every epoch draws its minibatches in a new order."""


class LearnersSection(Section):
    """Who computes the updates."""

    section = "learners"

    num_learners: NonNegativeInt = 0
    """Learner actors; 0 learns in the main process. More than one is not supported yet."""
    num_cpus_per_learner: PositiveInt = 1
    """CPU cores of one learner, which is the number of threads that torch may use there."""


class RLModuleSection(Section):
    """What the policy looks like."""

    section = "rl_module"

    # pydantic keeps the attribute ``model_config`` to itself, so in Python it is ``config.model``.
    model: ModelConfig = Field(default_factory=ModelConfig, alias="model_config")
    """The networks (in Python this is the attribute ``config.model``)."""


class DebuggingSection(Section):
    """Reproducibility."""

    section = "debugging"

    seed: NonNegativeInt = 0
    """Root of all random numbers: same seed and same layout, same run."""


class ReportingSection(Section):
    """What is written while training."""

    section = "reporting"

    metrics_num_episodes_for_smoothing: PositiveInt = 100
    """Number of last episodes over which episode metrics are averaged."""
    tensorboard: bool = True
    """Whether ``rllib train`` writes TensorBoard curves."""


class CheckpointingSection(Section):
    """When ``rllib train`` writes checkpoints; one is always written at the end."""

    section = "checkpointing"

    checkpoint_frequency: NonNegativeInt = 0
    """Training iterations between two checkpoints; 0 leaves it to ``checkpoint_every_s``."""
    checkpoint_every_s: PositiveFloat | None = 10.0
    """Seconds between two checkpoints; null leaves it to ``checkpoint_frequency``."""
    checkpoint_num_to_keep: PositiveInt = 2
    """Number of newest checkpoints that are kept."""
