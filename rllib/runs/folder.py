"""The folder of one run: who may write it, and whether a configuration may continue it.

::

    runs/NAME/config.yaml      the complete configuration
              starts.jsonl     when, where and by which command it was begun and continued
              progress.jsonl   one line per training iteration
              tensorboard/     the same as curves
              checkpoints/     what to continue from
              stalls/          what processes did while nothing went on
              profile/         where the time of --profile went
              .lock            held by the process that trains
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rllib.checkpoints.checkpoint import load_metadata
from rllib.checkpoints.files import write_atomically
from rllib.checkpoints.folder import CheckpointFolder, Contents
from rllib.checkpoints.remote import Remote
from rllib.config import AlgorithmConfig
from rllib.config.file import load_plan
from rllib.config.plan import RunPlan
from rllib.errors import CheckpointError, ConfigError, RunError
from rllib.profiling.profile import FOLDER as PROFILE
from rllib.runs.copies import when_slow
from rllib.runs.csv_logger import FILE as TABLE
from rllib.runs.mlflow_logger import FILE as MLFLOW
from rllib.runs.record import PROGRESS, Metrics, read_json_lines
from rllib.runs.starts import STARTS, write_start
from rllib.runs.tensorboard import TENSORBOARD, half_made
from rllib.runs.wandb_logger import FOLDER as WANDB
from rllib.runs.watchdog import STALLS

CONFIG, CHECKPOINTS, LOCK = "config.yaml", "checkpoints", ".lock"
_FILES = (LOCK, CONFIG, PROGRESS, STARTS, TABLE, MLFLOW)
_FOLDERS = (CHECKPOINTS, TENSORBOARD, STALLS, PROFILE, WANDB)
# Sections that say nothing about how training goes, so a run may continue with other ones.
FREE_SECTIONS = frozenset({"reporting", "checkpointing"})


class RunFolder:
    """A run's folder, held by this process; make one with ``hold``."""

    def __init__(self, path: Path, keep: int) -> None:
        self.path = path
        self.checkpoints = CheckpointFolder(path / CHECKPOINTS, keep)

    def last_row(self) -> Metrics | None:
        """The result at which the latest checkpoint was written, or None."""
        latest = self.checkpoints.latest()
        if latest is None:
            return None
        until = self.checkpoints.iteration_of(latest)
        return max(
            read_json_lines(self.path / PROGRESS, until=until),
            key=lambda row: row["training_iteration"],
            default=None,
        )

    @property
    def _beside_checkpoints(self) -> tuple[Path, ...]:
        """What it takes to continue, besides a checkpoint."""
        return self.path / CONFIG, self.path / PROGRESS, self.path / STARTS

    def copy_to(self, url: str, contents: Contents) -> None:
        """Copy what it takes to continue to the URL of a folder of runs.

        Args:
            url: of the folder.
            contents: the checkpoints, which stay meanwhile.

        Raises:
            CheckpointError: that is not possible now.
        """
        Remote(f"{url}/{self.path.name}").mirror(contents, self._beside_checkpoints)

    def copy_from(self, url: str | None, *, fresh: bool, say: Callable[[str], None]) -> None:
        """Fetch what it takes to continue, if what is there is newer than what is here.

        Args:
            url: of a folder of runs.
            fresh: whether to remove what is there instead.
            say: tells the user what came of it, and from another thread that it takes long.

        Raises:
            RunError: it cannot be fetched, and nothing is here.
        """
        if url is None:
            return
        latest = self.checkpoints.latest()
        try:
            with when_slow(
                lambda: say(f"waiting for {url}, where this run may have been copied to")
            ):
                is_fetched = self._fetch(url, latest, fresh=fresh)
        except CheckpointError as error:
            if latest is None:
                raise RunError(f"checkpoint_url: {error}") from error
            say(f"checkpoint_url: {error}; this run goes on from what is here")
        else:
            if is_fetched:
                say(f"fetched from {url}")

    def _fetch(self, url: str, latest: Path | None, *, fresh: bool) -> bool:
        here = -1 if latest is None else self.checkpoints.iteration_of(latest)
        remote = Remote(f"{url}/{self.path.name}")
        if fresh:
            remote.clear()
        return remote.restore(self.checkpoints, self._beside_checkpoints, after=here)

    def has_results(self) -> bool:
        """Whether there is a checkpoint, or a training iteration was ever logged here."""
        return bool(self.checkpoints.all()) or any(read_json_lines(self.path / PROGRESS))

    def write_config(self, plan: RunPlan, iteration: int) -> None:
        """Write the complete configuration of the run, and that it goes on after an iteration."""
        with writing_to(self.path):
            write_atomically(self.path / CONFIG, plan.to_yaml())
            write_start(self.path, iteration)
        checkpoints = self.checkpoints.path
        if checkpoints.is_dir() and not os.access(checkpoints, os.W_OK | os.X_OK):
            raise RunError(f"{checkpoints}: cannot be written: {os.strerror(errno.EACCES)}")

    def earlier_plan(self) -> RunPlan | None:
        """What the training that is here was started with; None if there is none to continue.

        Where the file is gone, what the latest checkpoint says of it, or None if that names code.

        Raises:
            RunError: it cannot be read.
        """
        latest = self.checkpoints.latest()
        if latest is None:
            return None
        if not (self.path / CONFIG).exists():
            with contextlib.suppress(CheckpointError, ConfigError):
                config = AlgorithmConfig.from_state(load_metadata(latest))
                return RunPlan(self.path.name, config, {})
            return None
        try:
            return load_plan(str(self.path / CONFIG))
        except ConfigError as error:
            text = f"{self.path}: its {CONFIG} cannot be read, so it cannot be continued:\n{error}"
            raise RunError(f"{text}\n{_WAYS_OUT}") from error

    def changes(self, plan: RunPlan) -> list[str]:
        """A line for each setting by which ``plan`` differs from the training that is here."""
        old = self._earlier_settings(plan)
        return list(_changes(old, _fixed(plan))) if old else []

    def _earlier_settings(self, plan: RunPlan) -> dict[str, Any] | None:
        """Those that must stay the same, from the file or else from the latest checkpoint."""
        latest = self.checkpoints.latest()
        if latest is not None and not (self.path / CONFIG).exists():
            with contextlib.suppress(CheckpointError):  # it will be refused when it is loaded
                return _written_beside(load_metadata(latest), _fixed(plan))
            return None
        earlier = self.earlier_plan()
        return _fixed(earlier) if earlier else None

    def refuse_changes(self, plan: RunPlan) -> None:
        """Raise ``RunError`` if ``plan`` would not continue the training that is here."""
        if changes := self.changes(plan):
            text = f"{self.path}: this run was started with another configuration:"
            text = "\n".join([text, *changes, "go on with these changes: --resume-with-changes;"])
            raise RunError(f"{text} or {_WAYS_OUT}")

    def clear(self) -> None:
        """Remove everything that a run has written."""
        folders = (self.path / name for name in _FOLDERS)
        for folder in (*folders, *half_made(self.path / TENSORBOARD)):
            shutil.rmtree(folder, ignore_errors=True)
        for name in _FILES:
            if name != LOCK:
                (self.path / name).unlink(missing_ok=True)

    @property
    def is_held(self) -> bool:
        """Whether the folder is still the one that this process holds: it may have been removed
        meanwhile, and made anew by another one."""
        try:
            return (self.path / LOCK).read_text().strip() == str(os.getpid())
        except OSError:
            return False

    def remove(self) -> None:
        """Remove the folder of a run that never came to a result, as far as the disk lets it."""
        if not self.is_held:
            return
        with contextlib.suppress(OSError):
            self.clear()
            if self._has_but_the_lock():  # something of the user's is in it: it stays a run's
                return
            (self.path / LOCK).unlink(missing_ok=True)
            self.path.rmdir()

    def _has_but_the_lock(self) -> bool:
        return any(path.name != LOCK for path in self.path.iterdir())


_WAYS_OUT = "start over with --fresh, or give the new run a --name of its own"


@contextlib.contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Say of a full or read-only disk which run it keeps from starting."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def hold(path: Path, *, keep: int, fresh: bool) -> Iterator[RunFolder]:
    """Take the run's folder for this process, making it if need be.

    Args:
        path: the folder.
        keep: number of checkpoints to keep.
        fresh: whether to remove what an earlier run has left there.

    Raises:
        RunError: if another process trains there, or if the folder holds something else, or what
            leads out of it.
    """
    if path.exists() and not path.is_dir():
        raise RunError(f"{path}: is a file; give the run another --name")
    if path.is_dir() and any(path.iterdir()) and not os.path.lexists(path / LOCK):
        raise RunError(f"{path}: has no run of rllib in it; give the run another --name")
    _refuse_links(path)
    with writing_to(path):
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, path)
        folder = RunFolder(path, keep)
        folder.checkpoints.clean()
        if fresh:
            folder.clear()
        yield folder
    finally:
        os.close(descriptor)


def _refuse_links(path: Path) -> None:
    """A run may come from somebody else: what it writes and removes is in its folder, and a file
    that waits for a writer is none.

    Raises:
        RunError: one of its files is no plain file, or one of its folders no folder.
    """
    for name in (*_FILES, *_FOLDERS):
        kind, is_one = ("file", stat.S_ISREG) if name in _FILES else ("folder", stat.S_ISDIR)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if not is_one((path / name).lstat().st_mode):
                text = f"{path / name}: is no plain {kind} (links are not followed)"
                raise RunError(f"{text}; remove it, or link the whole folder of the run")


def _lock(descriptor: int, path: Path) -> None:
    """Lock by record (POSIX), which forked children do not inherit; it ends with the process."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        text = f"{path}: another process ({holder}) is training in this folder"
        raise RunError(f"{text}; wait for it, stop it, or give this run another --name") from None
    if not (path / LOCK).exists() or os.fstat(descriptor).st_ino != (path / LOCK).stat().st_ino:
        raise RunError(f"{path}: another process has just removed this folder; try again")
    with writing_to(path):
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _fixed(plan: RunPlan) -> dict[str, Any]:
    """The settings, by ``section.key``, that must stay the same while a run lasts."""
    settings: dict[str, Any] = {"algorithm": plan.config.algo_name}
    for section, values in plan.config.to_sections().items():
        if section not in FREE_SECTIONS:
            settings |= {f"{section}.{key}": value for key, value in values.items()}
    return settings


def _written_beside(metadata: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The fixed settings in a checkpoint, by the names of those of now; imports nothing."""
    settings = dict(metadata.get("config") or {})
    if "algorithm" in metadata:
        settings["algorithm"] = metadata["algorithm"]
    before = {}
    for name, value in now.items():
        same = json.loads(json.dumps(value, default=str))
        written = settings.get(name.rpartition(".")[2], same)
        before[name] = value if written == same else written
    return before


def _changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield f"  {key}: was {old.get(key)!r}, now {new.get(key)!r}"
