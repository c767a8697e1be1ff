"""Training from a plan to the end: one run, its folder, and what happens when it is interrupted.

::

    plan -> folder (held) -> algorithm -> train() -> result -> progress.jsonl, TensorBoard, console
                                 ^                     |
                                 '---- checkpoint <----'
"""

import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rllib.config import AlgorithmConfig
from rllib.config.plan import RunPlan
from rllib.errors import CheckpointError, RunError
from rllib.profiling.profile import FLAME, TRACE, Profile
from rllib.runs.console import Console
from rllib.runs.copies import Copies
from rllib.runs.folder import RunFolder, writing_to
from rllib.runs.loggers import Loggers
from rllib.runs.media import Media
from rllib.runs.progress import Progress
from rllib.runs.record import ENV_STEPS, ITERATION, PROGRESS, flatten
from rllib.runs.saver import Saver
from rllib.runs.score import Score
from rllib.runs.settings import telling
from rllib.runs.signals import StopSignals
from rllib.runs.stopping import reached
from rllib.runs.tags import tagged
from rllib.runs.tensorboard import TENSORBOARD, Curves
from rllib.runs.watchdog import Watchdog

if TYPE_CHECKING:
    from rllib.algorithm import Algorithm


class CheckpointClock:
    """Says when the next checkpoint is due, by iterations or by seconds, whichever comes first.

    Args:
        config: the settings.
        iteration: after which training goes on.
        now: the time (s).
    """

    def __init__(self, config: AlgorithmConfig, iteration: int, now: float) -> None:
        self._iterations = config.checkpoint_frequency
        self._seconds = config.checkpoint_every_s
        self.saved(iteration, now)

    def is_due(self, iteration: int, now: float) -> bool:
        """Whether to write one after this iteration, at this time (s), if not before."""
        every = self._iterations
        by_count = every > 0 and iteration // every > self._iteration // every
        by_time = self._seconds is not None and now - self._saved_at >= self._seconds
        return by_count or by_time

    def saved(self, iteration: int, now: float) -> None:
        """Note that one was begun."""
        self._iteration, self._saved_at = iteration, now


def train(
    plan: RunPlan,
    folder: RunFolder,
    console: Console,
    signals: StopSignals,
    profile_s: float | None = None,
    *,
    resume_with_changes: bool = False,
) -> None:
    """Train until a stop criterion is reached, from the latest checkpoint if there is one.

    Args:
        plan: what to train.
        folder: where; held by this process.
        console: whom to tell.
        signals: what may interrupt it; installed by the caller.
        profile_s: seconds for which all processes are looked at; see ``rllib.profiling``.
        resume_with_changes: whether it may go on with another configuration than before.

    Raises:
        RunError: if ``folder`` has a run of another configuration, and that is not allowed.
        ConfigError: a logger lacks what it needs.
        Interrupted: after a signal, with a checkpoint written if the iteration ended in time.
        RLlibError, core.exceptions.CoreError: if training fails; the latest checkpoint stays.
    """
    changes = folder.changes(plan) if resume_with_changes else []
    if not resume_with_changes:
        folder.refuse_changes(plan)
    _say_changes(changes, console)
    if _is_finished(plan, folder, console):
        return
    for logger in plan.config.loggers:
        getattr(logger, "check", lambda: None)()
    try:
        with _algorithm(plan, folder, console, is_changed=bool(changes)) as algo:
            folder.write_config(plan, algo.iteration)
            _Loop(plan, folder, console, signals, algo, profile_s).run()
    except BaseException:
        if not folder.has_results():
            folder.remove()
        raise


def _say_changes(changes: list[str], console: Console) -> None:
    for line in ["changed since the run was started:", *changes] if changes else ():
        console.say(line)


def _is_finished(plan: RunPlan, folder: RunFolder, console: Console) -> bool:
    last = folder.last_row()
    reason = reached(plan.stop, last) if last else None
    if last is None or reason is None:
        return False
    console.say(f"{folder.path}: finished already, {reason} {_at(last)}")
    console.say("to train on, raise the criterion (--stop KEY=VALUE); to start over, use --fresh")
    _say_where(folder, console)
    return True


@contextmanager
def _algorithm(
    plan: RunPlan, folder: RunFolder, console: Console, *, is_changed: bool
) -> Iterator["Algorithm"]:
    """Build the algorithm, give it the state of the latest checkpoint, and stop it at the end."""
    console.say(_intentions(plan))
    algo = plan.config.build_algo()
    try:
        latest = folder.checkpoints.latest()
        if latest:
            _restore(algo, latest, folder, is_changed=is_changed)
            console.say(f"continuing from {latest} {_at(folder.last_row() or {})}")
        yield algo
    finally:
        algo.stop()


def _restore(algo: "Algorithm", latest: Path, folder: RunFolder, *, is_changed: bool) -> None:
    try:
        algo.restore_from_path(str(latest))
    except CheckpointError as error:
        way = _WITHOUT_CHANGES if is_changed else _way_around(latest, folder)
        raise RunError(f"{error}\n{way}") from error


_WITHOUT_CHANGES = (
    "what has changed may not fit what the run has learnt; go on without these changes, or start "
    "over with --fresh"
)
"""Older checkpoints would fit no better: nobody is told to delete the newest one for them."""


def _way_around(damaged: Path, folder: RunFolder) -> str:
    others = [path for path in folder.checkpoints.all() if path != damaged]
    if not others:
        return "there is no older checkpoint; start over with --fresh"
    return f"an older checkpoint is {others[-1]}; delete {damaged} to continue from there"


class _Loop:
    """The training loop of one run and what it needs around each iteration."""

    def __init__(
        self,
        plan: RunPlan,
        folder: RunFolder,
        console: Console,
        signals: StopSignals,
        algo: "Algorithm",
        profile_s: float | None,
    ) -> None:
        self._plan, self._folder, self._algo = plan, folder, algo
        self._profile_s = profile_s
        self._profile: Profile | None = None
        self._console, self._signals = console, signals
        self._score = Score(plan.config, console.note)
        self._clock = CheckpointClock(plan.config, algo.iteration, time.monotonic())
        timeout, action = plan.config.stall_timeout_s, plan.config.stall_action
        self._watchdog = Watchdog(folder.path, timeout, action, console.note)

    def run(self) -> None:
        media = Media(self._algo)
        with writing_to(self._folder.path):
            loggers = Loggers(
                self._folder.path,
                after_iteration=self._algo.iteration,
                more=[*self._curves(), *self._plan.config.loggers],
                tell=self._console.note,
            )
            self._score.rank(self._folder.checkpoints, loggers.history)
        url, tell = self._plan.config.checkpoint_url, self._console.note
        copy = None if url is None else partial(self._folder.copy_to, url)
        copies = Copies(self._folder.checkpoints, copy, tell)
        saver = Saver(self._algo, self._folder.checkpoints, loggers, copies, tell)
        progress = Progress(self._plan.stop, time.monotonic(), loggers.history)
        with self._closing(loggers), saver, media as self._media, self._console, self._watchdog:
            self._console.begin(progress)
            with self._signals.deferred(self._announce):
                self._begin_profile()
                reason = self._iterate(loggers, saver)
                self._tell_profile(self._profile.close() if self._profile else None)
        if reason is None:
            self._signals.leave()
        self._console.say(f"finished: {reason} {_at(progress.metrics)}")
        _say_where(self._folder, self._console)

    @contextmanager
    def _closing(self, loggers: Loggers) -> Iterator[None]:
        """Loggers have time to write what is left, unless a signal has said to hurry."""
        try:
            yield
        finally:
            loggers.close(hurried=self._signals.received is not None)

    def _curves(self) -> list[Curves]:
        config = self._plan.config
        rename = partial(tagged, style=config.tag_style)
        return [Curves(rename, telling(config))] if config.tensorboard else []

    def _begin_profile(self) -> None:
        if self._profile_s is not None:
            self._profile = Profile(self._algo, self._profile_s, self._folder.path)

    def _tell_profile(self, folder: Path | None) -> None:
        if folder is not None:
            self._console.say(f"profile: {folder / FLAME}; {folder / TRACE} for ui.perfetto.dev")

    def _announce(self) -> None:
        self._console.note("stopping after this iteration; once more (Ctrl-C) stops at once")

    def _iterate(self, loggers: Loggers, saver: Saver) -> str | None:
        """Train until a criterion is reached, and return it, or until a signal came."""
        while True:
            result = self._algo.train()
            self._watchdog.progress()
            reason = reached(self._plan.stop, result)
            loggers.log(result)
            metrics = flatten(result)
            self._media.add(loggers, metrics)
            self._console.update(metrics)
            if self._profile is not None and not self._profile.is_over:
                self._tell_profile(self._profile.add(result))
            score = self._score.of(result, metrics)
            if reason is not None or self._signals.received is not None:
                saver.finish(score, hurried=self._signals.received is not None)
                return reason
            if saver.settle() and self._clock.is_due(self._algo.iteration, time.monotonic()):
                saver.begin(score)
                self._clock.saved(self._algo.iteration, time.monotonic())


def _intentions(plan: RunPlan) -> str:
    config = plan.config
    runners, learners = config.num_env_runners, config.num_learners
    sampling = f"{runners} env runner{'s' * (runners > 1)}" if runners else "sampling"
    learning = f"{learners} learner{'s' * (learners > 1)}" if learners else "learning"
    where = "" if runners and learners else " in this process"
    what = f"{config.algo_name} in {config.env}: {sampling} and {learning}{where}"
    until = "" if plan.stop else "; no stop criterion, so until it is interrupted"
    return f"{what}, seed {config.seed}{until}"


def whereabouts(folder: RunFolder) -> str:
    """Where a run that has ended early stands, and how to go on."""
    if folder.path.is_dir() and not folder.is_held:
        return f"{folder.path} is another run's by now"
    latest = folder.checkpoints.latest()
    if latest is None:
        return "there is no checkpoint yet"
    at = _at(folder.last_row() or {})
    return f"the last checkpoint is {latest} {at}; the same command continues from there"


def _at(metrics: Mapping[str, Any]) -> str:
    if ITERATION not in metrics:
        return ""
    return f"(iteration {metrics[ITERATION]:,}, {metrics.get(ENV_STEPS, 0):,} env steps)"


def _say_where(folder: RunFolder, console: Console) -> None:
    """Where the results are, and how to look at them."""
    console.say(f"  checkpoint  {folder.checkpoints.latest()}")
    console.say(f"  results     {folder.path / PROGRESS}")
    curves = folder.path / TENSORBOARD
    if curves.is_dir():
        hint = "" if find_spec("tensorboard") else "   (pip install tensorboard)"
        console.say(f"  curves      tensorboard --logdir {shlex.quote(str(curves))}{hint}")
    console.say(f"  look at it  rllib evaluate {shlex.quote(str(folder.path))} --video film.mp4")
