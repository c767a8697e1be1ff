"""What sampling and learning cost, measured in this process with the real environment."""

import time
from typing import Any, NamedTuple

from rllib.config import AlgorithmConfig
from rllib.dry_run.probe import small
from rllib.interface import interface_of
from rllib.layout.decide import Costs
from rllib.metrics.stages import STAGES
from rllib.schedules import point_values
from rllib.workers import fetch

SAMPLING_S = 0.1
"""How long sampling is measured with each number of environments."""
LEARNING_S = 0.25
"""How long training is measured."""
SPELL_S = 2e-3
"""How long one measurement takes, or one step: so short that few are interrupted by others."""
MOST_ENVS = 8
"""Further environments cost as much each as those up to here."""
FEWEST_ROWS, MOST_ROWS = 32, 512
"""Env steps between two updates while learning is measured."""


class VectorStep(NamedTuple):
    """Of one step of a vector: wall-clock seconds, and seconds of this process's CPUs."""

    wall_s: float
    cpu_s: float


def measure(config: AlgorithmConfig) -> Costs:
    """Sample and train a little, and throw it away.

    Raises:
        EnvError, TrainingError, ConfigError: as training would.
    """
    own = small(config)
    own.layout = "manual"
    many = max(2, min(config.num_envs_per_env_runner, MOST_ENVS))
    one, several = _vector_steps(own, (1, many))
    learning_s = _learning_s(own, several.wall_s / many)
    return costs_of(one, several, many, learning_s)


def costs_of(one: VectorStep, several: VectorStep, many: int, learning_s: float) -> Costs:
    """What vector steps with one environment and with ``many`` say of any number of them.

    Args:
        one: step of a single environment.
        several: step of ``many``.
        many: at least 2.
        learning_s: of the learner per env step.
    """
    env_step_s = min(max(0.0, (several.wall_s - one.wall_s) / (many - 1)), one.wall_s)
    share = several.cpu_s / several.wall_s
    return Costs(one.wall_s - env_step_s, env_step_s, min(1.0, max(0.0, share)), learning_s)


def _vector_steps(config: AlgorithmConfig, sizes: tuple[int, ...]) -> list[VectorStep]:
    """Of the fastest spell with each number of environments: others may use the machine as well."""
    interface = interface_of(config)
    learners = config.build_learner_group()
    weights = fetch(learners.get_weights())
    found = []
    for size in sizes:
        own = config.copy()
        own.num_envs_per_env_runner = size
        runner = interface.runner_class(own.resolved(), interface.env_spaces, 0, False)
        try:
            runner.set_weights(weights, 0)
            found.append(_fastest(runner, size))
        finally:
            runner.stop()
    learners.shutdown()
    return found


def _fastest(runner: Any, num_envs: int) -> VectorStep:
    """The least wall-clock and the least CPU time of a step."""
    _spell(runner, 1, num_envs)  # the first one warms up
    until = time.perf_counter() + SAMPLING_S
    spells = [_spell(runner, 1, num_envs)]
    rows = max(1, int(SPELL_S / spells[0].wall_s))
    while time.perf_counter() < until:
        spells.append(_spell(runner, rows, num_envs))
    return VectorStep(min(each.wall_s for each in spells), min(each.cpu_s for each in spells))


def _spell(runner: Any, rows: int, num_envs: int) -> VectorStep:
    wall, cpu = time.perf_counter(), time.process_time()
    runner.play(rows * num_envs, "timesteps")
    return VectorStep((time.perf_counter() - wall) / rows, (time.process_time() - cpu) / rows)


def _learning_s(config: AlgorithmConfig, env_step_s: float) -> float:
    """Seconds of the learner per env step that was sampled, in the fastest iteration."""
    rows = max(FEWEST_ROWS, min(MOST_ROWS, int(LEARNING_S / 2 / env_step_s)))
    with _with_rows(config, rows).build_algo() as algo:
        algo.train()
        while algo.num_env_steps_sampled_lifetime <= _start(algo.config):
            algo.train()
        until = time.perf_counter() + LEARNING_S
        found = [_learning_in(algo.train())]
        while time.perf_counter() < until:
            found.append(_learning_in(algo.train()))
    return min(found)


def _learning_in(result: dict[str, Any]) -> float:
    """Seconds per env step of all that is no sampling."""
    stages, seconds = result[STAGES], result["time_this_iter_s"]
    sampling = stages["env_step"] + stages["inference"] + stages["collecting"]
    num_steps: int = result["env_runners"]["num_env_steps_sampled"]
    return float(max(0.0, 1.0 - sampling) * seconds / max(1, num_steps))


def _with_rows(config: AlgorithmConfig, rows: int) -> AlgorithmConfig:
    """The same settings with iterations of about so many env steps."""
    own = config.copy()
    if "num_steps_sampled_before_learning_starts" in own:
        own.num_steps_sampled_before_learning_starts = min(_start(own), rows)
        return own
    rows = max(rows, own.num_envs_per_env_runner)
    own.train_batch_size_per_learner = min(own.train_batch_size_per_learner, rows)
    if own.rollout_fragment_length != "auto":
        most = max(2, rows // own.num_envs_per_env_runner)
        length = min(own.rollout_fragment_length, most)
        own.rollout_fragment_length = length
        own.train_batch_size_per_learner = length * own.num_envs_per_env_runner
    if own.minibatch_size is not None:
        own.minibatch_size = min(own.train_batch_size_per_learner, *_sizes(own.minibatch_size))
    return own


def _sizes(setting: Any) -> tuple[int, int]:
    """The first value, twice: ``min`` wants two."""
    first = int(next(iter(point_values(setting))))
    return first, first


def _start(config: AlgorithmConfig) -> int:
    return int(config.get("num_steps_sampled_before_learning_starts", 0))
