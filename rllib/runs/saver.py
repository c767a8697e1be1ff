"""Checkpoints of a run, written while it goes on.

::

    begin: snapshot (a copy)  ->  a thread: record on disk, checkpoint, ``latest``
                                    '-> another one: copies elsewhere (``copies``)
    settle: what came of it: told once where the disk refuses, raised where it is a defect
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from safetensors import SafetensorError

from rllib.checkpoints.checkpoint import saved_rows
from rllib.checkpoints.folder import CheckpointFolder
from rllib.checkpoints.rows import SavedRows
from rllib.checkpoints.snapshot import Snapshot
from rllib.errors import CheckpointError
from rllib.runs.copies import Copies
from rllib.runs.loggers import Loggers
from rllib.runs.signals import Interrupted

if TYPE_CHECKING:
    from rllib.algorithm import Algorithm

T = TypeVar("T")

LAST_S = 1.0
"""Seconds that an interrupted run waits for a checkpoint; it has few for cleaning up."""


class Saver:
    """Writes the checkpoints of one algorithm to one folder, one after the other.

    Args:
        algo: of which.
        checkpoints: where to.
        loggers: whose record goes to disk before each checkpoint.
        copies: publishes them, and copies them elsewhere.
        tell: says something to the user.
    """

    def __init__(
        self,
        algo: "Algorithm",
        checkpoints: CheckpointFolder,
        loggers: Loggers,
        copies: Copies,
        tell: Callable[[str], None],
    ) -> None:
        self._algo, self._checkpoints = algo, checkpoints
        self._loggers, self._copies, self._tell = loggers, copies, tell
        self._hurry = threading.Event()
        self._writing: Future[SavedRows] | None = None
        self._path = Path()
        self._is_skipping = False
        self._rows = _rows_of(checkpoints.latest())

    def begin(self, score: float | None) -> None:
        """Copy the present state; a thread writes it.

        Args:
            score: how good it is, if that is known.
        """
        assert self._writing is None, "one after the other"
        self._path = self._checkpoints.path_for(self._algo.iteration)
        try:
            sync = self._loggers.synced()
        except OSError as error:
            self._writing = _failed(error)
            return
        snapshot = self._algo.snapshot(self._rows)
        self._writing = in_thread(lambda: self._write(snapshot, self._path, sync, score))

    def _write(
        self, snapshot: Snapshot, path: Path, sync: Callable[[], None], score: float | None
    ) -> SavedRows:
        sync()
        rows = snapshot.write(path, self._hurry)
        self._copies.publish(path, score)
        return rows

    def settle(self) -> bool:
        """Whether nothing is being written; what was, is told of.

        A disk that is full for a while costs checkpoints, and is told of once.

        Raises:
            CheckpointError: the state cannot be saved at all.
        """
        if self._writing is not None and self._writing.done():
            try:
                self._finish()
            except CheckpointError as error:
                if not isinstance(error.__cause__, OSError | SafetensorError):
                    raise
                if not self._is_skipping:
                    self._tell(f"a checkpoint is left out: {error}; the last one is kept")
                self._is_skipping = True
        return self._writing is None

    def finish(self, score: float | None, *, hurried: bool = False) -> None:
        """Write the last checkpoint, after what is being written, and wait for it and its copy.

        Args:
            score: how good it is, if that is known.
            hurried: whether there is no time to wait for env runners in the middle of something.

        Raises:
            CheckpointError: it cannot be written.
        """
        if hurried:
            self._hurry.set()
        if self._writing is not None:
            self._writing.exception()  # waits
            self.settle()
        self.begin(score)
        self._finish()
        self._copies.wait(hurried=hurried)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Training has ended, for whatever reason: what is being written may still be of use."""
        if self._writing is not None:
            wait([self._writing], LAST_S if isinstance(error, Interrupted) else None)
        if isinstance(error, Exception):
            self._copies.wait()

    def _finish(self) -> None:
        writing, self._writing = self._writing, None
        assert writing is not None, "something was begun"
        # What is in files is known again with the next one that is written.
        self._rows = SavedRows()
        try:
            self._rows = writing.result()
        except OSError as error:
            where = self._checkpoints.path.parent
            raise CheckpointError(f"{where}: cannot be written: {error.strerror}") from error
        self._is_skipping = False
        self._algo.tell_saved(self._path)


def _rows_of(latest: Path | None) -> SavedRows:
    return SavedRows(saved_rows(latest)) if latest is not None else SavedRows()


def in_thread(job: Callable[[], T]) -> "Future[T]":
    """Begin a job in a thread that does not outlive the process: what hangs there keeps nobody."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(job())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="rllib-saver", daemon=True).start()
    return future


def _failed(error: Exception) -> "Future[SavedRows]":
    future: Future[SavedRows] = Future()
    future.set_exception(error)
    return future
