"""A short training of the algorithm itself, in this process, to see shapes and take the time."""

import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from rllib.config import AlgorithmConfig
from rllib.envs.packing import packed_dtype
from rllib.metrics.stages import STAGES, Stages
from rllib.schedules import point_values

MEASURE_S = 1.0
MOST_ROWS = 1024
"""Env steps of an iteration at most while measuring; in a larger one a row costs the same."""


@dataclass(frozen=True)
class ModuleFacts:
    """Of one module.

    Attributes:
        observation: what it sees, as a space in words.
        action: what it does.
        num_parameters: that are trained.
        obs_bytes: of one observation in memory.
        state_bytes: of a recurrent state, by the steps of a sequence; 0 without memory.
    """

    observation: str
    action: str
    num_parameters: int
    obs_bytes: int
    state_bytes: float = 0.0


@dataclass(frozen=True)
class Probe:
    """What a short training in this process shows.

    Attributes:
        modules: by id.
        sampling_s: seconds per env step of one env runner.
        learning_s: seconds per env step sampled of one learner.
        stages: shares of the time.
        measured_s: seconds of the measurement.
        num_env_steps: in it.
        process_bytes: memory of the process that sampled and learnt.
        checkpoint_bytes: of a checkpoint with as much replay as there was.
    """

    modules: Mapping[str, ModuleFacts]
    sampling_s: float
    learning_s: float
    stages: Stages
    measured_s: float
    num_env_steps: int
    process_bytes: int
    checkpoint_bytes: int


def small(config: AlgorithmConfig) -> AlgorithmConfig:
    """The same settings in one process, with iterations that take a moment."""
    own = config.copy()
    own.num_env_runners = own.num_learners = own.evaluation_num_env_runners = 0
    own.evaluation_interval = None
    own.min_time_s_per_iteration = None
    own.min_sample_timesteps_per_iteration = own.min_train_timesteps_per_iteration = 0
    if "num_steps_sampled_before_learning_starts" in own:
        start = min(own.num_steps_sampled_before_learning_starts, MOST_ROWS)
        own.num_steps_sampled_before_learning_starts = start
        return own
    envs, length = own.num_envs_per_env_runner, own.rollout_fragment_length
    smallest = max(MOST_ROWS, 2 * envs) if length == "auto" else envs * length
    smallest = max(smallest, *point_values(own.minibatch_size or 1))
    size = min(own.train_batch_size_per_learner, smallest)
    fragment = 1 if length == "auto" else envs * length
    own.train_batch_size_per_learner = -(-size // fragment) * fragment
    return own


def probe(config: AlgorithmConfig, seconds: float = MEASURE_S) -> Probe:
    """Train a little, and throw it away.

    Raises:
        EnvError, TrainingError, ConfigError: as training would.
    """
    with small(config).build_algo() as algo:
        modules = _modules(algo)
        results = [algo.train()]
        if results[0]["time_this_iter_s"] < seconds or not _learns(algo, config):
            results = _measured(algo, config, seconds)  # the first one warmed up, or filled replay
        steps = sum(each["env_runners"]["num_env_steps_sampled"] for each in results)
        elapsed = sum(each["time_this_iter_s"] for each in results)
        stages = _mean_stages(results)
        sampling = stages.env_step + stages.inference + stages.collecting
        return Probe(
            modules,
            sampling * elapsed / steps,
            max(0.0, 1.0 - sampling) * elapsed / steps,
            stages,
            elapsed,
            steps,
            psutil.Process().memory_info().rss,
            _checkpoint_bytes(algo),
        )


def _measured(algo: Any, config: AlgorithmConfig, seconds: float) -> list[dict[str, Any]]:
    """Results of so many seconds in which it learns."""
    while not _learns(algo, config):
        algo.train()
    results: list[dict[str, Any]] = []
    began = time.perf_counter()
    while not results or time.perf_counter() - began < seconds:
        results.append(algo.train())
    return results


def _learns(algo: Any, config: AlgorithmConfig) -> bool:
    """Whether what is measured from now on is learning, too."""
    start = config.get("num_steps_sampled_before_learning_starts", 0)
    return bool(algo.num_env_steps_sampled_lifetime > min(start, MOST_ROWS))


def _mean_stages(results: list[dict[str, Any]]) -> Stages:
    """Of all iterations, each by its time."""
    total = sum(each["time_this_iter_s"] for each in results)
    return Stages(
        *(
            sum(each[STAGES][name] * each["time_this_iter_s"] for each in results) / total
            for name in Stages._fields
        )
    )


def _modules(algo: Any) -> dict[str, ModuleFacts]:
    return {name: _facts_of(algo, name) for name in algo.interface.module_ids}


def _facts_of(algo: Any, module_id: str) -> ModuleFacts:
    spaces = algo.interface.spaces_of(module_id)
    module = algo.get_module(module_id)
    state = module.initial_state(1) if module.is_stateful() else {}
    dtype, shape = packed_dtype(spaces.observation)
    return ModuleFacts(
        str(spaces.observation),
        str(spaces.action),
        sum(each.numel() for each in module.parameters()),
        dtype.itemsize * math.prod(shape),
        sum(part.nbytes for part in state.values()) / module.max_seq_len,
    )


def _checkpoint_bytes(algo: Any) -> int:
    with tempfile.TemporaryDirectory() as folder:
        algo.save_to_path(str(Path(folder) / "checkpoint"))
        return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
