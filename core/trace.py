"""What ran when: spans of time of all processes, for `rllib.core.timeline`.

Recording is switched on by ``RLLIB_PROFILING=1`` in the environment of whoever calls ``init``. Each
process then appends to a file of its own, before the reply leaves: whoever has a result finds its
span, also when the process is gone meanwhile, in whatever way. Of a process that has much to tell
the last `FILE_BYTES` are kept, and as much before.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

VARIABLE = "RLLIB_PROFILING"
FOLDER = "trace"
FILE_BYTES = 16 << 20
_TOGETHER = 256
"""Spans that are written at once where nobody asks for them earlier."""


class Span(NamedTuple):
    """Something that took time."""

    name: str
    category: str
    """``task``, ``actor_task``, ``actor_creation``, or ``wait``."""
    start_ns: int
    """Since the epoch."""
    end_ns: int
    thread: int
    task_id: str = ""
    failed: bool = False


class Process(NamedTuple):
    """A process and its spans."""

    role: str
    pid: int
    spans: list[Span]


_decode = msgspec.json.Decoder(Span).decode
_encode = msgspec.json.Encoder().encode


def is_wanted() -> bool:
    """Whether the user has switched recording on."""
    return os.environ.get(VARIABLE, "0") not in ("", "0")


class Recorder:
    """Appends the spans of this process to its file. Threads may share it."""

    def __init__(self, folder: Path, role: str) -> None:
        self._path = folder / f"{role}-{os.getpid()}"
        self._lines: list[bytes] = []
        self._written = 0
        self._lock = threading.Lock()

    def note(
        self, name: str, category: str, start_ns: int, task_id: str = "", failed: bool = False
    ) -> None:
        """Something that began at ``start_ns`` has ended now."""
        thread = threading.get_native_id()
        span = Span(name, category, start_ns, time.time_ns(), thread, task_id, failed)
        self._lines.append(_encode(span))
        if len(self._lines) >= _TOGETHER:
            self.flush()

    @contextlib.contextmanager
    def span(self, name: str, category: str) -> Iterator[None]:
        """Note how long the block takes."""
        began = time.time_ns()
        try:
            yield
        finally:
            self.note(name, category, began)

    def flush(self) -> None:
        """Write what was noted."""
        if not self._lines:
            return
        with self._lock:
            lines, self._lines = self._lines, []
            data = b"\n".join([*lines, b""])
            self._written += len(data)
            if self._written > FILE_BYTES:
                self._path.replace(self._path.with_suffix(".old"))
                self._written = len(data)
            with self._path.open("ab", buffering=0) as file:
                file.write(data)


def recorder(directory: Path, role: str) -> Recorder | None:
    """This process's recorder, if the session is being recorded."""
    folder = directory / FOLDER
    return Recorder(folder, role) if folder.is_dir() else None


def read(directory: Path) -> list[Process]:
    """What all processes of a session have written. Raises `RuntimeError` if it is not recorded."""
    folder = directory / FOLDER
    if not folder.is_dir():
        raise RuntimeError(not_recorded())
    found: dict[str, list[Span]] = {}
    for path in sorted(folder.iterdir(), key=lambda path: (path.stem, path.suffix != ".old")):
        *lines, _incomplete = path.read_bytes().split(b"\n")
        found.setdefault(path.stem, []).extend(map(_decode, lines))
    return [Process(*_role_and_pid(stem), spans) for stem, spans in found.items()]


def _role_and_pid(stem: str) -> tuple[str, int]:
    role, pid = stem.rsplit("-", 1)
    return role, int(pid)


def not_recorded() -> str:
    """How to have something to look at."""
    return f"nothing was recorded: set {VARIABLE}=1 in the environment before init()"


def chrome_events(processes: Iterable[Process]) -> list[dict[str, Any]]:
    """Events in the format of Chrome's trace viewer (also Perfetto's); times in microseconds."""
    events: list[dict[str, Any]] = []
    for process in processes:
        name = {"name": f"{process.role} {process.pid}"}
        events.append({"ph": "M", "name": "process_name", "pid": process.pid, "args": name})
        events += (_event(process.pid, span) for span in process.spans)
    return events


def _event(pid: int, span: Span) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": span.name,
        "cat": span.category,
        "pid": pid,
        "tid": span.thread,
        "ts": span.start_ns / 1000,
        "dur": (span.end_ns - span.start_ns) / 1000,
        "args": {"task_id": span.task_id, "failed": span.failed},
    }
