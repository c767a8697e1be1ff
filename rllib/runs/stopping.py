"""When a run is finished: metrics of the result dict that have reached a number."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from rllib.config.names import nearest
from rllib.errors import ConfigError, Problem
from rllib.metrics.names import ALL_MODULES
from rllib.runs.record import flatten, leaves

# Metrics that every run has, though some only once an episode has ended.
RETURN = "env_runners/episode_return_mean"
COMMON_METRICS = (
    "training_iteration",
    "time_total_s",
    "num_env_steps_sampled_lifetime",
    RETURN,
    "env_runners/episode_return_min",
    "env_runners/episode_return_max",
    "env_runners/episode_len_mean",
    "env_runners/episode_len_min",
    "env_runners/episode_len_max",
    "env_runners/num_episodes",
    "env_runners/num_episodes_lifetime",
    "env_runners/num_env_steps_sampled_lifetime",
)

# Those that go from 0 upwards.
COUNTERS = COMMON_METRICS[:3]

# What the kit itself reports of env runners, and of those of evaluation.
OF_ENV_RUNNERS = (
    *(name.removeprefix("env_runners/") for name in COMMON_METRICS if "/" in name),
    *("env_step_timer", "num_env_steps_sampled", "sample", "weights_seq_no"),
    *("num_agent_steps_sampled", "num_env_steps_dropped_lifetime", "num_module_steps_sampled"),
    *("num_env_step_failures_lifetime",),
    *("agent_episode_returns_mean", "module_episode_returns_mean"),
    "least_agent_episode_return_mean",
)
SECTIONS = (
    *("env_runners", "evaluation", "learners", "timers", "replay_buffer", "env_runner_group"),
    "fault_tolerance",
)

# What else comes with the first finished episode, or begins like that.
OF_AGENTS = (
    "env_runners/agent_episode_returns_mean/",
    "env_runners/module_episode_returns_mean/",
    "env_runners/least_agent_episode_return_mean",
)

# Sections of which the first results may have nothing.
LATE = ("evaluation", "learners")

# Names of other libraries and of RLlib's older releases.
RENAMED_METRICS = {
    "episode_reward_mean": "env_runners/episode_return_mean",
    "ep_rew_mean": "env_runners/episode_return_mean",
    "reward": "env_runners/episode_return_mean",
    "return": "env_runners/episode_return_mean",
    "timesteps": "num_env_steps_sampled_lifetime",
    "timesteps_total": "num_env_steps_sampled_lifetime",
    "total_timesteps": "num_env_steps_sampled_lifetime",
    "steps": "num_env_steps_sampled_lifetime",
    "iterations": "training_iteration",
    "iters": "training_iteration",
}


def criterion_problem(metric: str, threshold: object) -> str | None:
    """Say what is wrong with one stop criterion as far as it shows before training."""
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        return f"should be a number, got {threshold!r}"
    if not math.isfinite(threshold):
        return f"should be a finite number, got {threshold!r}"
    if metric in COUNTERS and threshold <= 0:
        return f"should be greater than 0, got {threshold!r}"
    if "/" in metric or metric in COMMON_METRICS:
        return None
    guess = RENAMED_METRICS.get(metric) or _near(metric, COMMON_METRICS)
    hint = f"did you mean {guess!r}?" if guess else f"for example {RETURN!r}"
    return f"unknown metric; {hint}"


def foreseen_problem(metric: str, module_ids: Iterable[str]) -> str | None:
    """Say whether results can never have a metric, where nobody adds metrics of their own.

    What single learners and timers report is known by the first result, and not here.
    """
    section, _, rest = metric.partition("/")
    if section not in SECTIONS:
        known = [*(f"{name}/" for name in SECTIONS), *COMMON_METRICS]
        return _impossible(metric, known, f"{metric.rpartition('/')[0]}/") if rest else None
    if section == "learners":
        known = [f"learners/{name}/" for name in (*module_ids, ALL_MODULES)]
        return _impossible(metric, known, metric[: metric.rfind("/") + 1])
    prefix = {"env_runners": "env_runners/", "evaluation": "evaluation/env_runners/"}.get(section)
    if prefix is None:
        return None
    return _impossible(metric, [prefix + name for name in OF_ENV_RUNNERS], metric)


def _impossible(metric: str, known: list[str], part: str) -> str | None:
    """Unless the metric is one of the known, or below one: the nearest of them to ``part``."""
    if any(metric == name or metric.startswith(f"{name.rstrip('/')}/") for name in known):
        return None
    guess = _near(part, known)
    if guess is None:
        return "results will have no such metric"
    whole = guess + metric.removeprefix(part) if guess.endswith("/") else guess
    return f"results will have no such metric; did you mean {whole!r}?"


def reached(stop: Mapping[str, float], result: Mapping[str, Any]) -> str | None:
    """The first criterion that ``result`` fulfils, as ``metric = value``, or None.

    Args:
        stop: metric (nested keys joined by ``/``) to the number at which to stop, or above.
        result: what ``Algorithm.train`` returned.

    Raises:
        ConfigError: if a metric is not in the result and is none of those that come with the first
            finished episode, evaluation or update.
    """
    known = {path for path, _ in leaves(result)}
    problems = [_unknown(key, known) for key in stop if not may_come(key, known)]
    if problems:
        raise ConfigError(problems)
    metrics = flatten(result)
    for key, threshold in stop.items():
        if key in metrics and metrics[key] >= threshold:
            return f"{key} = {metrics[key]:g}"
    return None


def may_come(metric: str, known: Iterable[str]) -> bool:
    """Whether it is there, or may be as soon as there is anything at all of its section."""
    known = {*known}
    if metric in {*known, *COMMON_METRICS}:
        return True
    if metric.startswith(OF_AGENTS):
        return RETURN not in known
    section = metric.partition("/")[0]
    return section in LATE and not any(path.startswith(f"{section}/") for path in known)


def _unknown(metric: str, metrics: Iterable[str]) -> Problem:
    guess = _near(metric, metrics)
    hint = f"; did you mean {guess!r}?" if guess else ""
    return Problem(f"results have no such metric{hint}", metric, "stop")


def _near(metric: str, known: Iterable[str]) -> str | None:
    """Nearest by the whole path, else by its last part."""
    known = list(known)
    by_tail = {key.rpartition("/")[2]: key for key in known}
    whole = nearest(metric, known)
    tail = nearest(metric.rpartition("/")[2], by_tail)
    return whole or (by_tail[tail] if tail else None)
