"""A whole run from Python: what ``rllib train`` does, with a config that is there already."""

import contextlib
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rllib import core
from rllib.config import AlgorithmConfig
from rllib.config.plan import RunPlan
from rllib.errors import ConfigError, Problem
from rllib.preload import preload_for
from rllib.runs.console import Console
from rllib.runs.folder import hold
from rllib.runs.notebook import console_here
from rllib.runs.run import train
from rllib.runs.signals import Interrupted, StopSignals
from rllib.runs.stopping import RETURN, criterion_problem

if TYPE_CHECKING:
    from rllib.results.saved import SavedRun


def train_run(
    config: AlgorithmConfig,
    until: float | None = None,
    stop: Mapping[str, float] | None = None,
    name: str | None = None,
    runs_dir: str | Path = "runs",
    fresh: bool = False,
    resume_with_changes: bool = False,
    console: Console | None = None,
) -> "SavedRun":
    """Train until a criterion is reached; see ``AlgorithmConfig.train``.

    Args:
        console: whom to tell of progress.
    """
    from rllib.results.saved import SavedRun

    config.validate()
    plan = RunPlan(name or default_name(config), config.copy(), criteria(until, stop))
    path = Path(runs_dir) / plan.name
    keep = config.checkpoint_num_to_keep
    try:
        with (
            StopSignals().installed() as signals,
            _runtime(config),
            hold(path, keep=keep, fresh=fresh) as folder,
        ):
            console = console or console_here()
            folder.copy_from(config.checkpoint_url, fresh=fresh, say=console.say)
            train(plan, folder, console, signals, resume_with_changes=resume_with_changes)
    except Interrupted as interruption:
        if interruption.signum == signal.SIGINT:
            raise KeyboardInterrupt(str(interruption)) from interruption
        raise SystemExit(interruption.exit_code) from interruption
    return SavedRun(path)


def criteria(until: float | None, stop: Mapping[str, float] | None) -> dict[str, float]:
    """When to stop, in one dict.

    Raises:
        ConfigError: there is no criterion, or one that makes no sense.
    """
    found = dict(stop or {}) | ({} if until is None else {RETURN: until})
    if not found:
        raise ConfigError("train() needs a criterion: until=475, or stop={metric: number}")
    texts = {metric: criterion_problem(metric, value) for metric, value in found.items()}
    if problems := [Problem(text, metric, "train()") for metric, text in texts.items() if text]:
        raise ConfigError(problems)
    return found


def default_name(config: AlgorithmConfig) -> str:
    """``ppo_cartpole_v1`` for PPO on CartPole-v1."""
    env = config.env if isinstance(config.env, str) else getattr(config.env, "__name__", "env")
    words = f"{config.algo_name.rpartition(':')[2]}_{str(env).rpartition(':')[2]}"
    return "".join(char if char.isalnum() else "_" for char in words).lower()


@contextlib.contextmanager
def _runtime(config: AlgorithmConfig) -> Iterator[None]:
    """Begin the runtime if actors are wanted and there is none, and end what was begun."""
    needed = config.num_env_runners or config.num_learners
    if not needed or core.is_initialized():
        yield
        return
    core.init(preload=preload_for(config.algo_name))
    try:
        yield
    finally:
        core.shutdown()
