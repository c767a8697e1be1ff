"""What a dry run tells, in words of at most 80 columns."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from rllib.config.plain import differences, plain
from rllib.config.plan import RunPlan
from rllib.cores import usable_cores
from rllib.dry_run.forecast import (
    Layout,
    bytes_of,
    duration_s,
    layout_of,
    seconds_per_step,
    shapes_of,
)
from rllib.dry_run.probe import Probe, probe
from rllib.envs.check import check_env
from rllib.envs.check.findings import LEVELS
from rllib.metrics.stages import headline
from rllib.registry import default_config
from rllib.runs.progress import clock
from rllib.runs.record import ENV_STEPS

CHECK_STEPS, CHECK_S = 300, 0.5
WIDTH = 80
SHARED_MEMORY = Path("/dev/shm")

Say = Callable[[str], Any]


def dry_run(plan: RunPlan, runs_dir: Path, say: Say) -> int:
    """Say what a run would be.

    Args:
        plan: of the run.
        runs_dir: where it would write.
        say: is told each line.

    Returns:
        1 if the environment has errors, else 0.

    Raises:
        RLlibError: what training would end with at once.
    """
    started = time.perf_counter()
    config = plan.config
    for line in changes(plan):
        say(line)
    if _say_environment(plan, say):
        return 1
    found, layout = probe(config), layout_of(config, usable_cores())
    for label, text in [*_shapes(plan, found), *_speed(plan, found, layout)]:
        say(f"{label:<12} {text}")
    for label, text in _room(plan, found, layout, runs_dir):
        say(f"{label:<12} {text}")
    say(f"dry run: nothing was written; {time.perf_counter() - started:.1f} s")
    return 0


def changes(plan: RunPlan) -> Iterator[str]:
    """Every setting that is not the algorithm's default, with that."""
    default = default_config(plan.config.algo_name).to_sections()
    yield f"{'settings':<12} {plan.config.algo_name}; what is not by default:"
    for key, before, now in differences(default, plan.config.to_sections()):
        yield f"  {key}: {_short(now)} (default {_short(before)})"


def _short(value: Any) -> str:
    text = " ".join(str(plain(value)).split())
    return text if len(text) <= WIDTH // 2 else f"{text[: WIDTH // 2]}..."


def _say_environment(plan: RunPlan, say: Say) -> int:
    """The findings that matter; returns the number of errors."""
    source = plan.config.resolved().env
    assert source is not None, "a plan names an environment"
    findings = check_env(source, plan.config.env_config, CHECK_STEPS, CHECK_S)
    counts = {level: sum(f.level == level for f in findings) for level in LEVELS}
    say(f"{'environment':<12} {plan.config.env}: {counts['error']} errors, "
        f"{counts['warning']} warnings (all: rllib check-env)")  # fmt: skip
    for finding in findings:
        if finding.level != "note":
            say(f"  {finding}")
    return counts["error"]


def _shapes(plan: RunPlan, found: Probe) -> Iterator[tuple[str, str]]:
    shapes = shapes_of(plan.config)
    for name, module in found.modules.items():
        label = "module" if len(found.modules) == 1 else name[:12]
        yield label, f"{module.num_parameters:,} parameters"
        yield "  sees", _short(module.observation)
        yield "  does", _short(module.action)
    yield "fragment", f"[{shapes.rows}, {shapes.envs}] env steps of one env runner"
    passes = f"{shapes.num_epochs} passes in minibatches of {shapes.minibatch_rows:,}"
    yield "train batch", f"{shapes.train_rows:,} env steps; {passes}"
    yield "", f"= {shapes.gradient_steps:,} gradient steps in an update"


def _speed(plan: RunPlan, found: Probe, layout: Layout) -> Iterator[tuple[str, str]]:
    runners, learners = layout.num_env_runners, layout.num_learners
    who = f"env runner actors: {runners}, learner actors: {learners}"
    processes = f"{layout.num_processes} process{'es' * (layout.num_processes > 1)}"
    yield "layout", f"{who}; {processes} on {layout.num_cores} cores"
    measured = 1.0 / (found.sampling_s + found.learning_s)
    yield "measured", f"{measured:,.0f} env steps/s in one process, for {found.measured_s:.1f} s"
    yield "", f"bottleneck {headline(found.stages)}"
    per_step = seconds_per_step(found, layout)
    yield "forecast", f"about {1.0 / per_step:,.0f} env steps/s"
    left = duration_s(plan.stop, per_step)
    if left is not None:
        yield "", f"about {clock(left)} if no other criterion is reached before"


def _room(plan: RunPlan, found: Probe, layout: Layout, runs_dir: Path) -> Iterator[tuple[str, str]]:
    steps = plan.stop.get(ENV_STEPS, 0)
    iterations = int(steps // max(1, plan.config.total_train_batch_size))
    needed = bytes_of(plan.config, found, layout, iterations)
    kept = f", of that {_size(needed.replay)} replay" if needed.replay else ""
    free = psutil.virtual_memory().available
    yield "memory", f"about {_size(needed.memory)}{kept}{_beside(needed.memory, free)}"
    if needed.shared and SHARED_MEMORY.is_dir():
        room = shutil.disk_usage(SHARED_MEMORY).free
        yield "shared", f"about {_size(needed.shared)}{_beside(needed.shared, room)}"
    room = shutil.disk_usage(_existing(runs_dir)).free
    yield "disk", f"about {_size(needed.disk)}{_beside(needed.disk, room)}"


def _beside(needed: int, free: int) -> str:
    return f"; {_size(free)} are free" + (", which is TOO LITTLE" if needed > free else "")


def _existing(path: Path) -> Path:
    """The nearest folder that is there."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.is_dir())


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"
