"""Results to files: JSON lines, which are the record of a run, and TensorBoard, derived from them.

The x axis is env steps. When a run continues from a checkpoint, what was logged after it is taken
back: the record is cut there and the TensorBoard events are written anew from it, so that the
curves have no step back, no gap and no double points, whenever the run was killed.
"""

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rllib.metrics.stages import bottleneck, stages_of, verdict
from rllib.runs.logger_thread import Logger, LoggerThread, MakeLogger
from rllib.runs.record import (
    ENV_STEPS,
    PROGRESS,
    TIMESTAMP,
    JsonLines,
    Metrics,
    flatten,
    read_json_lines,
)

TENSORBOARD = "tensorboard"
FLUSH_EVERY_S = 2.0


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


class _Curves:
    """Makes TensorBoard's logger, with other names if need be."""

    __name__ = "TensorBoard"

    def __init__(self, rename: Callable[[Metrics], Metrics] | None) -> None:
        self._rename = rename

    def __call__(self, folder: Path, history: Iterable[Metrics]) -> Logger:
        return TensorBoard(folder / TENSORBOARD, history, self._rename)


class Loggers:
    """Everything that writes the results of one run to files.

    A disk that is full, or gone, does not stop training: the record is written when the disk takes
    it again, and everything else is then written anew from it. All but the record has threads.

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
        self._is_failing = False
        curves: list[MakeLogger] = [_Curves(rename)] if tensorboard else []
        rows = partial(read_json_lines, folder / PROGRESS)
        self._derived = [
            LoggerThread(make, folder, rows, after_iteration, tell) for make in (*curves, *more)
        ]

    def log(self, result: Mapping[str, Any]) -> None:
        """Write one training result everywhere, or as soon as that is possible."""
        self.history = []
        metrics = flatten(result) | {TIMESTAMP: round(time.time(), 3)}
        try:
            self._json.log(metrics)
        except OSError as error:
            self._tell_failure(error)
            for each in self._derived:
                each.miss()
            return
        self._is_failing = False
        for each in self._derived:
            each.log(metrics)

    def _tell_failure(self, error: OSError) -> None:
        if not self._is_failing:
            text = f"{self._folder}: results cannot be written: {error.strerror}"
            self._tell(f"{text}; they are kept, and training goes on")
        self._is_failing = True

    def synced(self) -> Callable[[], None]:
        """What waits until the record is on disk, so that no checkpoint is ahead of it.

        Raises:
            OSError: the disk does not take it.
        """
        return self._json.synced()

    def close(self) -> None:
        """Close every file."""
        self._json.close()
        for logger in self._derived:
            logger.close()
