"""Results to files: JSON lines, which are the record of a run, and TensorBoard, derived from them.

The x axis is env steps. When a run continues from a checkpoint, what was logged after it is taken
back: the record is cut there and the TensorBoard events are written anew from it, so that the
curves have no step back, no gap and no double points, whenever the run was killed.
"""

import contextlib
import errno
import json
import math
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any, Protocol

from rllib.checkpoints.files import write_atomically
from rllib.metrics.stages import bottleneck, stages_of, verdict

ITERATION = "training_iteration"
ENV_STEPS = "num_env_steps_sampled_lifetime"
TIMESTAMP = "timestamp"
PROGRESS = "progress.jsonl"
TENSORBOARD = "tensorboard"
FLUSH_EVERY_S = 2.0

Metrics = dict[str, float]


def flatten(result: Mapping[str, Any]) -> Metrics:
    """The finite numbers of a nested result, nested keys joined by ``/``; the rest is left out."""
    return {path: _plain(value) for path, value in leaves(result) if _is_finite(value)}


def leaves(result: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a nested result with its path, but for those that say what ran where."""
    for key, value in result.items():
        if isinstance(value, Mapping) and key != "config":
            yield from leaves(value, f"{prefix}{key}/")
        elif key not in ("config", "pid"):
            yield f"{prefix}{key}", value


def _is_finite(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def _plain(value: Any) -> float:
    """A number of numpy's as one of Python's."""
    return int(value) if hasattr(value, "__index__") else float(value)


class JsonLines:
    """One flat JSON object per training iteration, complete on disk before the next one begins.

    Lines that the disk does not take are owed, and written with the next one; of a line there is
    never a part.
    """

    def __init__(self, path: Path, history: Iterable[Metrics]) -> None:
        """Begin ``path`` anew with the rows of ``history``."""
        write_atomically(path, "".join(map(_line, history)))
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        self._size = path.stat().st_size
        self._owed: list[bytes] = []

    def log(self, metrics: Metrics) -> None:
        """Append one line.

        Raises:
            OSError: the disk does not take it now.
        """
        self._owed.append(_line(metrics).encode())
        self._pay()

    def _pay(self) -> None:
        data = b"".join(self._owed)
        try:
            written = os.write(self._descriptor, data) if data else 0
            if written < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += written
        self._owed.clear()

    def synced(self) -> Callable[[], None]:
        """Write what is owed; what is returned waits until it is on disk, in whatever thread.

        Raises:
            OSError: the disk does not take it.
        """
        self._pay()
        return partial(os.fsync, self._descriptor)

    def close(self) -> None:
        """Close the file; what is still owed is lost."""
        os.close(self._descriptor)


def _line(metrics: Metrics) -> str:
    return json.dumps(metrics) + "\n"


def read_json_lines(path: Path, until: float = math.inf) -> Iterator[Metrics]:
    """Rows of a progress file up to a training iteration; a torn last line is no row."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            with contextlib.suppress(ValueError):
                row = json.loads(text) if text.endswith("\n") else None
                if isinstance(row, dict) and row.get(ITERATION, math.inf) <= until:
                    yield row


class TensorBoard:
    """An event file with one event per training iteration, which holds all of its scalars.

    tensorboardX's record writer is used without its queue: one serialised event costs less here
    than handing each scalar to another thread.
    """

    def __init__(
        self,
        folder: Path,
        history: Iterable[Metrics],
        rename: Callable[[Metrics], Metrics] | None = None,
    ) -> None:
        """Begin the folder anew with the rows of ``history``, under the names of ``rename``."""
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.record_writer import RecordWriter
        from tensorboardX.summary import text

        self._event, self._summary, self._text = Event, Summary, text
        self._bottleneck, self._rename = "", rename or dict
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        name = f"events.out.tfevents.{time.time_ns() // 10**9}.{socket.gethostname()}.{os.getpid()}"
        self._writer = RecordWriter(str(folder / name))
        self._write(file_version="brain.Event:2", step=0)
        # A viewer that has the old file open drops what it has from step 0 on.
        self._write(session_log=SessionLog(status=SessionLog.START), step=0)
        for row in history:
            self._add(row)
        self._flush()

    def log(self, metrics: Metrics) -> None:
        """Add one event; it reaches the disk within a few seconds."""
        self._add(metrics)
        if time.monotonic() - self._flushed >= FLUSH_EVERY_S:
            self._flush()

    def close(self) -> None:
        """Flush and close the file."""
        self._flush()
        self._writer.close()

    def _add(self, metrics: Metrics) -> None:
        shown = {tag: v for tag, v in metrics.items() if tag not in (ENV_STEPS, TIMESTAMP)}
        values = [
            self._summary.Value(tag=tag, simple_value=value)
            for tag, value in self._rename(shown).items()
        ]
        values += self._news_of_bottleneck(metrics)
        self._write(
            summary=self._summary(value=values),
            step=int(metrics.get(ENV_STEPS, 0)),
            wall_time=metrics.get(TIMESTAMP),
        )

    def _news_of_bottleneck(self, metrics: Metrics) -> Iterable[Any]:
        """What holds training up, as text, whenever that is something else than before."""
        stages = stages_of(metrics)
        if stages is None or (name := bottleneck(stages)) == self._bottleneck:
            return ()
        self._bottleneck = name
        news: Iterable[Any] = self._text("bottleneck", verdict(stages)).value
        return news

    def _write(self, wall_time: float | None = None, **fields: Any) -> None:
        event = self._event(wall_time=wall_time or time.time(), **fields)
        self._writer.write(event.SerializeToString())

    def _flush(self) -> None:
        self._writer.flush()
        self._flushed = time.monotonic()


class Logger(Protocol):
    """What takes the results of a run; one of the group ``rllib.loggers`` is made with the run's
    folder and the rows from which it goes on, so that its curve has no step back either.
    """

    def log(self, metrics: Metrics) -> None:
        """Take one flat result."""

    def close(self) -> None:
        """Write what is left, and close."""


MakeLogger = Callable[[Path, Iterable[Metrics]], Logger]


class _Curves:
    """Makes TensorBoard's logger, with other names if need be."""

    def __init__(self, rename: Callable[[Metrics], Metrics] | None) -> None:
        self._rename = rename

    def __call__(self, folder: Path, history: Iterable[Metrics]) -> Logger:
        return TensorBoard(folder / TENSORBOARD, history, self._rename)


class Loggers:
    """Everything that writes the results of one run to files.

    A disk that is full, or gone, does not stop training: the record is written when the disk takes
    it again, and everything else is then written anew from it.

    Attributes:
        history: the rows that were there when the logs were opened, until the first ``log``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        after_iteration: int,
        tensorboard: bool,
        more: Sequence[MakeLogger] = (),
        rename: Callable[[Metrics], Metrics] | None = None,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Continue the logs in ``folder`` after that iteration; 0 begins them anew.

        Args:
            folder: of the run.
            after_iteration: the last one that counts.
            tensorboard: whether there are curves.
            more: makes further loggers.
            rename: gives metrics the names that curves have.
            tell: says to the user that results cannot be written, once.
        """
        self._folder, self._tell = folder, tell
        self.history = list(read_json_lines(folder / PROGRESS, until=after_iteration))
        self._json = JsonLines(folder / PROGRESS, self.history)
        curves: list[MakeLogger] = [_Curves(rename)] if tensorboard else []
        self._makers = [*curves, *more]
        self._is_failing = False
        self._derived: list[Logger] | None = self._begun(self.history)

    def _begun(self, rows: Iterable[Metrics]) -> list[Logger]:
        rows = list(rows)
        return [make(self._folder, rows) for make in self._makers]

    def log(self, result: Mapping[str, Any]) -> None:
        """Write one training result everywhere, or as soon as that is possible."""
        self.history = []
        metrics = flatten(result) | {TIMESTAMP: round(time.time(), 3)}
        with self._failing():
            self._json.log(metrics)
            self._derive(metrics)

    def _derive(self, metrics: Metrics) -> None:
        """Write what comes from the record alone, anew if it was dropped."""
        if self._derived is None:
            self._derived = self._begun(self._rows())
            return
        for logger in self._derived:
            logger.log(metrics)

    def _rows(self) -> Iterator[Metrics]:
        return read_json_lines(self._folder / PROGRESS)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self._is_failing:
                text = f"{self._folder}: results cannot be written: {error.strerror}"
                self._tell(f"{text}; they are kept, and training goes on")
            self._is_failing = True
            self._drop()
        else:
            self._is_failing = False

    def _drop(self) -> None:
        """Half an event may be in a file, after which nobody reads on."""
        dropped, self._derived = self._derived, None
        for logger in dropped or ():
            with contextlib.suppress(OSError):
                logger.close()

    def synced(self) -> Callable[[], None]:
        """What waits until the record is on disk, so that no checkpoint is ahead of it.

        Raises:
            OSError: the disk does not take it.
        """
        return self._json.synced()

    def close(self) -> None:
        """Close every file."""
        self._json.close()
        for logger in self._derived or ():
            logger.close()
