"""The record of a run: one line of JSON for each training iteration.

The x axis of curves is env steps. When a run continues from a checkpoint, what was logged after it
is taken back: the record is cut there.
"""

import contextlib
import errno
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

from rllib.checkpoints.files import sync_file, write_atomically, write_lines_atomically

ITERATION = "training_iteration"
ENV_STEPS = "num_env_steps_sampled_lifetime"
TIMESTAMP = "timestamp"
PROGRESS = "progress.jsonl"

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
    never a part. A folder that was deleted, or whose disk is not mounted any more, takes nothing:
    what is open could still be written, and nobody would ever find it.
    """

    def __init__(self, path: Path, until: float) -> None:
        """Go on with ``path`` after that training iteration; later ones are taken back."""
        _cut(path, until)
        self._folder, self._identity = path.parent, _identity(path.parent)
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
        if _identity(self._folder) != self._identity:
            raise OSError(errno.ENOENT, GONE)
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


GONE = "its folder is gone (deleted, or its disk is not mounted)"


def _identity(folder: Path) -> tuple[int, int] | None:
    """Of a folder that is there, what no other one has."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _line(metrics: Metrics) -> str:
    return json.dumps(metrics) + "\n"


class Rows:
    """Rows of a progress file up to a training iteration, read anew by whoever goes through them:
    after a week they do not fit into memory many times."""

    def __init__(self, path: Path, until: float) -> None:
        self._path, self._until = path, until

    def __iter__(self) -> Iterator[Metrics]:
        return read_json_lines(self._path, self._until)


def read_json_lines(path: Path, until: float = math.inf) -> Iterator[Metrics]:
    """Rows of a progress file up to a training iteration; a torn last line is no row."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if (row := _row(line, until)) is not None:
                yield row


def _row(line: bytes, until: float) -> Metrics | None:
    """The row that a line is, unless that is of a later training iteration, torn, or no result."""
    with contextlib.suppress(ValueError, RecursionError):
        row = json.loads(line.decode(errors="replace")) if line.endswith(b"\n") else None
        if isinstance(row, dict) and all(map(_is_number, row.values())):
            return row if row.get(ITERATION, math.inf) <= until else None
    return None


def _is_number(value: object) -> bool:
    """Whether a value may be in a record: what ``flatten`` leaves."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # type: ignore[arg-type]  # one of the two


def _cut(path: Path, until: float) -> None:
    """Leave the rows of a progress file up to a training iteration, without having all at once."""
    if not path.exists():
        write_atomically(path, "")
        return
    end = position = 0
    is_one_piece = True
    with path.open("rb") as file:
        for line in file:
            position += len(line)
            if _row(line, until) is not None:
                is_one_piece = is_one_piece and end == position - len(line)
                end = position
    if not is_one_piece:
        write_lines_atomically(path, (_line(row).encode() for row in Rows(path, until)))
    elif end < position:
        os.truncate(path, end)
        sync_file(path)
