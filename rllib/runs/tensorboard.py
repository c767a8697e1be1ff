"""TensorBoard: curves over env steps, hyperparameters, and pictures (histograms, films)."""

import os
import shutil
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from rllib.metrics.stages import bottleneck, stages_of, verdict
from rllib.runs.logger_thread import Logger
from rllib.runs.record import ENV_STEPS, TIMESTAMP, Metrics
from rllib.runs.settings import Settings
from rllib.runs.stopping import RETURN

TENSORBOARD = "tensorboard"
FLUSH_EVERY_S = 2.0


def half_made(folder: Path) -> tuple[Path, Path]:
    """What is beside the folder of curves while that is made anew: the new one, and the old one."""
    return folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")


_loading = threading.Lock()


def load_tensorboardx() -> None:
    """Import the whole of it, before a part: of two threads that each import a part, as that of
    curves and the one that trains, one may find half of what the other is importing."""
    with _loading:
        import_module("tensorboardX")


class Curves:
    """Makes the logger of a run.

    Args:
        rename: see ``TensorBoard``.
        settings: as well.
    """

    __name__ = "TensorBoard"

    def __init__(
        self,
        rename: Callable[[Metrics], Metrics] | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._rename, self._settings = rename, settings

    def __call__(self, folder: Path, history: Iterable[Metrics]) -> Logger:
        """As the loggers of others are made."""
        return TensorBoard(folder / TENSORBOARD, history, self._rename, self._settings)


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
        settings: Settings | None = None,
    ) -> None:
        """Begin the folder anew.

        Args:
            folder: all that is in it goes, but for pictures of steps that ``history`` has.
            history: rows to begin with.
            rename: gives metrics the names that curves have.
            settings: for the tab of hyperparameters.
        """
        load_tensorboardx()
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.record_writer import RecordWriter
        from tensorboardX.summary import text

        self._event, self._summary, self._text = Event, Summary, text
        self._bottleneck, self._rename = "", rename or dict
        beside, before = half_made(folder)
        shutil.rmtree(beside, ignore_errors=True)
        if before.exists() and not folder.exists():  # a process was killed between the two renames
            before.rename(folder)
        beside.mkdir(parents=True)
        name = f"events.out.tfevents.{time.time_ns() // 10**9}.{socket.gethostname()}.{os.getpid()}"
        self._writer = RecordWriter(str(beside / name))
        self._write(file_version="brain.Event:2", step=0)
        # A viewer that has the old file open drops what it has from step 0 on.
        self._write(session_log=SessionLog(status=SessionLog.START), step=0)
        self._write_settings(settings or {})
        step = 0
        for row in history:
            self._add(row)
            step = int(row.get(ENV_STEPS, 0))
        for event in pictures(folder, step):
            self._writer.write(event)
        self._flush()
        shutil.rmtree(before, ignore_errors=True)
        if folder.exists():
            folder.rename(before)
        beside.rename(folder)
        shutil.rmtree(before, ignore_errors=True)

    def _write_settings(self, settings: Settings) -> None:
        from tensorboardX.summary import hparams

        if settings:
            (metric,) = self._rename({RETURN: 0.0})
            for summary in hparams(dict(settings), {metric: 0.0}):
                self._write(summary=summary, step=0)

    def log(self, metrics: Metrics) -> None:
        """Add one event; it reaches the disk within a few seconds."""
        self._add(metrics)
        if time.monotonic() - self._flushed >= FLUSH_EVERY_S:
            self._flush()

    def add(self, values: Iterable[Any], step: int) -> None:
        """Add pictures at an env step: values of a summary."""
        self._write(summary=self._summary(value=list(values)), step=step)
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


def pictures(folder: Path, until_step: int) -> Iterator[bytes]:
    """Events that no record has, of the files in a folder: histograms and films up to a step."""
    from tensorboardX.proto.event_pb2 import Event

    for file in sorted(folder.glob("events*")):
        for data in _records(file):
            event = Event.FromString(data)
            kinds = {value.WhichOneof("value") for value in event.summary.value}
            if kinds & {"histo", "image"} and event.step <= until_step:
                yield data


def _records(path: Path) -> Iterator[bytes]:
    """Records of a file in TensorFlow's format; one that was torn off at the end is none."""
    head, tail = 12, 4  # length and its checksum, and the checksum of what is between
    left = path.stat().st_size
    with path.open("rb") as file:
        while len(begin := file.read(head)) == head:
            (size,) = struct.unpack("<Q", begin[:8])
            left -= head + size + tail
            if left < 0:
                return
            yield file.read(size)
            file.seek(tail, os.SEEK_CUR)
