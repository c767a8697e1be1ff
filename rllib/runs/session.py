"""One ``rllib train``: from the order to the exit code, with the runtime around it.

::

    order -> draft (parsed) -> runtime starts, if actors are wanted, while torch is imported
                 '-> plan (checked) -> folder held -> run.train -> runtime ends -> exit code
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rllib import core
from rllib.config.file import Draft, read_draft
from rllib.errors import ConfigError, RLlibError, RunError
from rllib.preload import preload_for
from rllib.profiling.profile import duration, recorded_calls
from rllib.runs.console import Console, complain
from rllib.runs.signals import Interrupted, StopSignals

if TYPE_CHECKING:
    from rllib.config.plan import RunPlan
    from rllib.runs.folder import RunFolder


@dataclass(frozen=True)
class Order:
    """What the user asked for, as written on the command line.

    Attributes:
        config: preset or path.
        overrides: ``key=value`` settings.
        stop: ``metric=number`` criteria.
        fresh: remove what an earlier run has left.
        resume_with_changes: continue a run also with another configuration.
        name: of the run; None takes the config's.
        runs_dir: folder of all runs.
        address: what actors run on: ``native`` for this machine, or what `rllib.core.init` takes.
        dry_run: only say what the run would be.
        profile: how long all processes are looked at, as ``30s``.
    """

    config: str
    overrides: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    fresh: bool = False
    resume_with_changes: bool = False
    name: str | None = None
    runs_dir: Path = Path("runs")
    address: str = "native"
    dry_run: bool = False
    profile: str | None = None


def with_seeds(order: Order, seeds: str | None) -> list[Order]:
    """The order, or one for each seed, of a run that is named after it.

    Args:
        order: of one run.
        seeds: ``1..5``, ``1,4,7``, or None.

    Raises:
        ConfigError: that is no list of seeds.
    """
    if seeds is None:
        return [order]
    name = order.name or Path(order.config).stem
    return [
        replace(order, overrides=(*order.overrides, f"seed={seed}"), name=f"{name}_seed{seed}")
        for seed in _seeds(seeds)
    ]


def _seeds(text: str) -> list[int]:
    first, dots, last = text.partition("..")
    with contextlib.suppress(ValueError):
        if not dots:
            return [int(part) for part in text.split(",")]
        if int(first) <= int(last):
            return list(range(int(first), int(last) + 1))
    raise ConfigError(f"--seeds {text!r}: write them as 1..5 or 1,4,7")


class Session:
    """Carries out one order."""

    def __init__(self, order: Order, console: Console | None = None) -> None:
        self._order = order
        self._console = console or Console()
        self._path: Path | None = None
        self._folder: RunFolder | None = None

    def execute(self, signals: StopSignals) -> int:
        """Train, and return the exit code; every failure has been explained to the user then.

        Args:
            signals: what may interrupt it; installed by the caller.
        """
        try:
            with self._console:
                return self._foresee(signals) if self._order.dry_run else self._train(signals)
        except Interrupted as interruption:
            complain(f"stopped by {interruption}{self._whereabouts()}")
            return interruption.exit_code
        except RLlibError as error:
            return self._fail(error, error.exit_code)
        except OSError as error:
            return self._fail(self._of_a_run(error), 1)
        except Exception as error:
            return self._fail(error, 1)

    def _foresee(self, signals: StopSignals) -> int:
        order = self._order
        draft = read_draft(order.config, order.overrides, order.stop)
        plan = _checked(draft, signals)
        from rllib.dry_run.report import dry_run
        from rllib.runs.layout import laid_out_plan

        plan = laid_out_plan(plan, None, self._console.say, is_serial=self._is_inline)
        return dry_run(plan, order.runs_dir, self._console.say)

    def _train(self, signals: StopSignals) -> int:
        order = self._order
        profile_s = None if order.profile is None else duration(order.profile)
        draft = read_draft(order.config, order.overrides, order.stop)
        self._path = path = order.runs_dir / _checked_name(order.name or draft.name)
        self._console.say(f"rllib train: {draft.name} -> {path}")
        with self._runtime(draft):
            plan = _checked(draft, signals)
            from rllib.runs.folder import hold
            from rllib.runs.layout import laid_out_plan
            from rllib.runs.run import train

            keep = plan.config.checkpoint_num_to_keep
            with hold(path, keep=keep, fresh=order.fresh) as self._folder:
                url = plan.config.checkpoint_url
                self._folder.copy_from(url, fresh=order.fresh, say=self._console.say)
                earlier = self._folder.earlier_plan()
                plan = laid_out_plan(plan, earlier, self._console.say, is_serial=self._is_inline)
                self._ensure_runtime(plan)
                changed = order.resume_with_changes
                folder, console = self._folder, self._console
                train(plan, folder, console, signals, profile_s, resume_with_changes=changed)
        return 0

    @property
    def _is_inline(self) -> bool:
        return self._order.address == "inline"

    @contextlib.contextmanager
    def _runtime(self, draft: Draft) -> Iterator[None]:
        """End the runtime whatever happens; begin it early, so that processes start meanwhile."""
        recording = contextlib.nullcontext() if self._order.profile is None else recorded_calls()
        try:
            with recording:
                if draft.wants_actors and not self._is_inline:
                    self._begin(draft.algorithm)
                yield
        finally:
            core.shutdown()

    def _ensure_runtime(self, plan: "RunPlan") -> None:
        """Begin the runtime if the plan, with its defaults, needs one that the draft did not."""
        if (plan.config.num_env_runners or plan.config.num_learners) and not core.is_initialized():
            self._begin(plan.config.algo_name)

    def _begin(self, algorithm: object) -> None:
        """Begin the runtime. Raises `RunError` where there is none at that address."""
        address = self._order.address
        try:
            local = address == "native"
            core.init(address=None if local else address, preload=preload_for(algorithm))
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise RunError(f"--address {address}: {error}") from error

    def _of_a_run(self, error: OSError) -> Exception:
        """Of a file of the run, whose error is no defect, what and where says all."""
        name, path = error.filename, self._path
        is_one = isinstance(name, str) and path and Path(name).is_relative_to(path)
        return RunError(f"{name}: {error.strerror}") if is_one else error

    def _fail(self, error: Exception, exit_code: int) -> int:
        from rllib.runs.failures import describe

        failed = "training failed: " if exit_code == 1 else "error: "
        complain(f"{failed}{describe(error)}")
        if exit_code == 1 and self._folder:
            complain(self._whereabouts().removeprefix("; "))
        return exit_code

    def _whereabouts(self) -> str:
        if self._folder is None:  # a signal may have come while torch was half imported
            return ""
        from rllib.runs.run import whereabouts

        try:
            return f"; {whereabouts(self._folder)}"
        except OSError as error:
            return f"; where the run stands cannot be read: {error.strerror}"


def _checked(draft: Draft, signals: StopSignals) -> "RunPlan":
    """The plan of a draft, for which torch is imported: raised within its C++, what a signal
    raises would abort the process."""
    with signals.held_back():
        plan = draft.plan()
    signals.heed()
    return plan


def _checked_name(name: str) -> str:
    if name in ("", ".", "..") or Path(name).name != name:
        raise RunError(f"--name {name!r}: should be the name of a folder, without slashes")
    return name
