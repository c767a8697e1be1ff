"""Settings with ``layout="auto"`` in, settings with a layout out.

What the user has set himself is never touched, and what was chosen is set from then on: a run's
``config.yaml`` and its checkpoints have the numbers, so that nothing is measured again and a
continued run is laid out as it was.
"""

from collections.abc import Iterator

from rllib import core
from rllib.config import AlgorithmConfig
from rllib.core import api
from rllib.cores import usable_cores
from rllib.layout.decide import Layout, Work, decide

RUNNERS, ENVS, LEARNERS = "num_env_runners", "num_envs_per_env_runner", "num_learners"
NAMES = (RUNNERS, ENVS, LEARNERS)


def open_settings(config: AlgorithmConfig) -> list[str]:
    """Names of the settings that the layout decides: none unless it is "auto"."""
    if config.layout != "auto":
        return []
    written = config.model_fields_set
    if RUNNERS in written:
        return [LEARNERS] if LEARNERS not in written else []
    return [RUNNERS, ENVS, *([LEARNERS] if LEARNERS not in written else [])]


def is_asynchronous(config: AlgorithmConfig) -> bool:
    """Whether env runners of this algorithm go on while the learner learns."""
    return "IMPALAConfig" in [base.__name__ for base in type(config).__mro__]


def work_of(config: AlgorithmConfig) -> Work:
    """What the settings ask for."""
    own = config.copy()
    own.num_env_runners = own.num_learners = 0
    return Work(
        own.num_envs_per_env_runner,
        own.get_rollout_fragment_length(),
        own.train_batch_size_per_learner,
        is_asynchronous(config),
        ENVS not in config.model_fields_set,
    )


def laid_out(
    config: AlgorithmConfig, *, is_serial: bool | None = None
) -> tuple[AlgorithmConfig, Layout | None]:
    """The settings with what ``layout="auto"`` decides, and why; themselves if it decides nothing.

    Args:
        config: settings that were checked.
        is_serial: whether actors run one after the other in this process; by default as the runtime
            has it that was begun.

    Raises:
        EnvError, TrainingError, ConfigError: as training would.
    """
    names = open_settings(config)
    if not names:
        return config, None
    from rllib.layout.costs import measure

    if is_serial is None:
        is_serial = core.is_initialized() and api.runtime().serial
    cores = 0 if is_serial else usable_cores()
    layout = decide(measure(config), work_of(config), cores)
    own = config.copy()
    for name in names:
        setattr(own, name, getattr(layout, name))
    return own, layout


def taken_over(config: AlgorithmConfig, earlier: AlgorithmConfig) -> AlgorithmConfig:
    """The settings with the layout of an earlier run, where they leave it open."""
    own = config.copy()
    for name in open_settings(config) if earlier.layout == "auto" else ():
        setattr(own, name, earlier[name])
    return own


def lines(config: AlgorithmConfig, layout: Layout) -> Iterator[str]:
    """What was chosen, for people."""
    speed = 1.0 / layout.seconds_per_step
    yield f"layout, as measured here; about {speed:,.0f} env steps/s:"
    for name in NAMES:
        is_own = config[name] != getattr(layout, name)
        why = "set by you" if is_own else layout.reasons[name]
        yield f"  {name}: {config[name]}; {why}"
