"""A profile of all processes of a run, for some seconds."""

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rllib import core
from rllib.checkpoints.files import write_atomically
from rllib.errors import ConfigError
from rllib.metrics.stages import STAGES, Stages
from rllib.profiling import flame, trace
from rllib.profiling.sampler import ProcessSamples, begin, end

if TYPE_CHECKING:
    from rllib.algorithm import Algorithm

FOLDER = "profile"
FLAME, TRACE = "flame.html", "trace.json"
VARIABLE = "RLLIB_PROFILING"
"""Has the runtime record calls, if it is set before it begins."""
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0}


def duration(text: str) -> float:
    """Seconds of ``30s``, ``2m`` or ``30``.

    Raises:
        ConfigError: it is none of these, or nothing.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|m|)", text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if seconds <= 0:
        raise ConfigError(f"--profile {text!r}: write it as 30s or 2m")
    return seconds


@contextlib.contextmanager
def recorded_calls() -> Iterator[None]:
    """Have a runtime that begins within this record what is called when."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


class Profile:
    """Looks at an algorithm's processes; make it before the first iteration.

    Args:
        algo: whose processes.
        seconds: how long, to the end of the iteration under way.
        folder: of the run.
    """

    def __init__(self, algo: "Algorithm", seconds: float, folder: Path) -> None:
        self._algo, self._seconds, self._folder = algo, seconds, folder / FOLDER
        self._iterations: list[trace.IterationSpan] = []
        self.is_over = False
        _everywhere(algo, _begin)  # which waits until all of them are there
        begin("rllib train")
        self._started = self._last = time.time_ns()

    def add(self, result: Mapping[str, Any]) -> Path | None:
        """Take in the result of an iteration; returns the folder if both files were written now."""
        now = time.time_ns()
        number, stages = result["training_iteration"], Stages(**result[STAGES])
        self._iterations.append(trace.IterationSpan(number, self._last, now, stages))
        self._last = now
        return self.close() if now - self._started >= self._seconds * 1e9 else None

    def close(self) -> Path | None:
        """Write what there is, unless that was done; returns the folder.

        Raises:
            OSError: the disk does not take it.
        """
        if self.is_over:
            return None
        self.is_over = True
        processes = list(self._collected())
        now = time.time_ns()
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._folder / FLAME, flame.page(processes, (now - self._started) / 1e9))
        write_atomically(self._folder / TRACE, json.dumps(list(self._events(processes, now))))
        return self._folder

    def _collected(self) -> Iterator[ProcessSamples]:
        """One of each process: learner and env runners may live in the main one."""
        others = _everywhere(self._algo, _end)
        yield from (each for each in (end(), *others) if each is not None)

    def _events(self, processes: list[ProcessSamples], now: int) -> Iterator[trace.Event]:
        if core.is_initialized():
            with contextlib.suppress(RuntimeError):  # of a runtime that does not record its calls
                yield from trace.within(core.timeline() or (), self._started, now)
        yield from trace.stage_events(self._iterations)
        for process in processes:  # last, for their names of processes say more
            yield from trace.stack_events(process)


def _everywhere(algo: "Algorithm", function: Any) -> list[Any]:
    """Call a function in the process of every env runner and learner."""
    groups = filter(None, (algo.env_runner_group, algo.eval_env_runner_group))
    found = [each for group in groups for each in group.foreach_env_runner(function)]
    return [*found, *algo.learner_group.foreach_learner(function)]


def _begin(worker: Any) -> None:
    begin(type(worker).__name__)


def _end(worker: Any) -> ProcessSamples | None:
    return end()
