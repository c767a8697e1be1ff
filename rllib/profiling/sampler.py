"""A thread that looks at what the other threads of its process are doing."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple

HZ = 100
"""Looks per second."""
MAX_DEPTH = 128

Stack = tuple[str, ...]
"""Functions as ``name (file)``, outermost first."""


class Seen(NamedTuple):
    """A stack that a thread had at every look between two times.

    Attributes:
        start_ns, end_ns: since the epoch.
        looks: how many.
        stack: what it had.
    """

    start_ns: int
    end_ns: int
    looks: int
    stack: Stack


class ProcessSamples(NamedTuple):
    """What was seen in one process.

    Attributes:
        role: what the process is there for.
        pid: its id.
        threads: name to what was seen of it, in the order of time.
    """

    role: str
    pid: int
    threads: dict[str, list[Seen]]


class Sampler:
    """Looks until it is told to stop; there is no more than one in a process."""

    def __init__(self, role: str, hz: int = HZ) -> None:
        self.role, self._pause = role, 1.0 / hz
        self._threads: dict[str, list[Seen]] = {}
        self._spent: dict[int | None, int | None] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rllib-sampler", daemon=True)
        self._thread.start()

    def stop(self) -> ProcessSamples:
        """End, and return what was seen."""
        self._over.set()
        self._thread.join()
        return ProcessSamples(self.role, os.getpid(), self._threads)

    def _run(self) -> None:
        before = time.time_ns()
        while not self._over.wait(self._pause):
            now = time.time_ns()
            self._look(before, now)
            before = now

    def _look(self, before: int, now: int) -> None:
        """The main thread counts always, others while they compute."""
        threads = {thread.ident: thread for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            thread = threads.get(ident)
            if thread is None or thread is self._thread:
                continue
            if thread is threading.main_thread() or self._computes(thread):
                add(self._threads.setdefault(thread.name, []), before, now, stack_of(frame))

    def _computes(self, thread: threading.Thread) -> bool:
        """Whether it had time on a processor since the look before, as far as the system says."""
        spent = _processor_ns(thread)
        before, self._spent[thread.ident] = self._spent.get(thread.ident, spent), spent
        return spent is None or before is None or spent > before


def _processor_ns(thread: threading.Thread) -> int | None:
    """Time that a thread has had on a processor; ``None`` where the system does not tell."""
    try:
        return int(Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[0])
    except (OSError, IndexError, ValueError):
        return None


def add(seen: list[Seen], before: int, now: int, stack: Stack) -> None:
    """Count a look: the last entry goes on if it has the same stack and ended at ``before``."""
    last = seen[-1] if seen else None
    if last is not None and last.stack == stack and last.end_ns == before:
        seen[-1] = last._replace(end_ns=now, looks=last.looks + 1)
    else:
        seen.append(Seen(before, now, 1, stack))


def stack_of(frame: FrameType) -> Stack:
    """Its functions, the innermost ``MAX_DEPTH`` of them."""
    return tuple(_names(frame))[:MAX_DEPTH][::-1]


def _names(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        code = frame.f_code
        yield f"{code.co_qualname} ({'/'.join(code.co_filename.split('/')[-2:])})"
        frame = frame.f_back


_here: Sampler | None = None


def begin(role: str) -> None:
    """Look at this process from now on; whoever is in it as well only adds to its name."""
    global _here
    if _here is None:
        _here = Sampler(role)
    else:
        _here.role = f"{_here.role}, {role}"


def end() -> ProcessSamples | None:
    """Stop looking at this process; ``None`` if nobody does."""
    global _here
    sampler, _here = _here, None
    return sampler.stop() if sampler else None
