"""What a measurement in one process comes to with the layout that is wanted; pure functions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rllib.config import AlgorithmConfig
from rllib.dry_run.probe import Probe
from rllib.layout.choose import is_asynchronous
from rllib.runs.record import ENV_STEPS

ROW_BYTES = 32
"""Of a row beside its observation: action, reward, flags, what the policy said; about."""
FRAGMENTS_KEPT = 2
"""Of each env runner, at least: the one that is learnt from, and the one that is written."""
LINE_BYTES = 1500
"""Of one result in ``progress.jsonl``, and about as much in TensorBoard's file."""


@dataclass(frozen=True)
class Layout:
    """Who does what, on how many cores.

    Attributes:
        asynchronous: whether env runners go on while the learner learns.
    """

    num_env_runners: int
    num_learners: int
    num_cores: int
    asynchronous: bool

    @property
    def num_processes(self) -> int:
        """All of them, with the main one."""
        return 1 + self.num_env_runners + self.num_learners


def layout_of(config: AlgorithmConfig, num_cores: int) -> Layout:
    """The layout that the settings ask for."""
    overlaps = is_asynchronous(config) and config.num_env_runners > 0
    return Layout(config.num_env_runners, config.num_learners, num_cores, overlaps)


def seconds_per_step(probe: Probe, layout: Layout) -> float:
    """Wall-clock seconds per env step, sampling and learning together.

    Env runners and learners divide their work; as far as there are cores for them, at the same
    time. Synchronous algorithms take turns.
    """
    runners = min(max(1, layout.num_env_runners), layout.num_cores)
    learners = min(max(1, layout.num_learners), layout.num_cores)
    sampling, learning = probe.sampling_s / runners, probe.learning_s / learners
    if not layout.asynchronous:
        return sampling + learning
    work = (probe.sampling_s + probe.learning_s) / layout.num_cores
    return max(sampling, learning, work)


def duration_s(stop: Mapping[str, float], per_step_s: float) -> float | None:
    """Seconds until the criteria that count steps or time are reached; None without such."""
    limits = [stop[ENV_STEPS] * per_step_s] if ENV_STEPS in stop else []
    limits += [stop["time_total_s"]] if "time_total_s" in stop else []
    return min(limits, default=None)


@dataclass(frozen=True)
class Shapes:
    """How much goes through each stage.

    Attributes:
        rows: of one fragment, T.
        envs: of one env runner, N.
        train_rows: env steps of a train batch of one learner.
        minibatch_rows: env steps of a gradient step.
        num_epochs: passes over the train batch.
    """

    rows: int
    envs: int
    train_rows: int
    minibatch_rows: int
    num_epochs: int

    @property
    def gradient_steps(self) -> int:
        """In one update."""
        return self.num_epochs * math.ceil(self.train_rows / self.minibatch_rows)


def shapes_of(config: AlgorithmConfig) -> Shapes:
    """Sizes that the settings come to; of schedules, those at the beginning."""
    now = config.at(0)
    train_rows = now.train_batch_size_per_learner
    minibatch = now.minibatch_size or train_rows
    return Shapes(
        now.get_rollout_fragment_length(),
        now.num_envs_per_env_runner,
        train_rows,
        min(minibatch, train_rows),
        now.num_epochs,
    )


@dataclass(frozen=True)
class Bytes:
    """Room that a run needs, about; in bytes.

    Attributes:
        memory: of all processes, without what is shared.
        replay: of that, what experience is kept in.
        shared: fragments and weights on their way between processes.
        disk: checkpoints that are kept, and results.
    """

    memory: int
    replay: int
    shared: int
    disk: int


def bytes_of(config: AlgorithmConfig, probe: Probe, layout: Layout, iterations: int) -> Bytes:
    """Room that a run needs.

    Args:
        config: its settings.
        probe: the measurement.
        layout: who does what.
        iterations: expected number of results.
    """
    shapes = shapes_of(config)
    row = ROW_BYTES + sum(each.obs_bytes for each in probe.modules.values())
    states = sum(each.state_bytes for each in probe.modules.values())
    replay = _capacity(config) * row + round(_capacity(config) * states)
    fragment = shapes.rows * shapes.envs * row
    # Of several rounds, all fragments wait until the train batch is complete.
    rounds = 1 if replay else config.rounds_of(config.total_train_batch_size)
    kept = max(FRAGMENTS_KEPT, rounds)
    weights = 4 * sum(each.num_parameters for each in probe.modules.values())
    runners = layout.num_env_runners
    is_remote = layout.num_processes > 1
    return Bytes(
        probe.process_bytes * layout.num_processes + replay,
        replay,
        (kept * fragment * runners + 2 * weights) if is_remote else 0,
        (config.checkpoint_num_to_keep + 1) * (probe.checkpoint_bytes + replay)
        + 2 * LINE_BYTES * iterations,
    )


def _capacity(config: AlgorithmConfig) -> int:
    """Env steps that are kept for learning."""
    buffer: Any = config.get("replay_buffer_config") or {}
    return int(buffer.get("capacity", 0))
