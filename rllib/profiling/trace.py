"""Events of Chrome's trace format, also Perfetto's; times in microseconds since the epoch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rllib.metrics.stages import Stages
from rllib.profiling.sampler import ProcessSamples, Seen

Event = dict[str, Any]
STAGES_PID = 0
"""A process of the trace that there is not: its threads are the two clocks of ``Stages``."""
CLOCKS = {
    "env runners": ("env_step", "inference", "collecting", "env_runner_waiting"),
    "learner": ("learning", "transfer", "learner_waiting"),
}


class IterationSpan(NamedTuple):
    """A training iteration.

    Attributes:
        number: of the iteration.
        start_ns, end_ns: since the epoch.
        stages: shares of that time.
    """

    number: int
    start_ns: int
    end_ns: int
    stages: Stages


def stack_events(process: ProcessSamples) -> Iterator[Event]:
    """Functions as spans within one another, a row for each thread."""
    yield _name("process_name", process.pid, 0, f"{process.role} {process.pid}")
    for row, (name, seen) in enumerate(process.threads.items(), start=1):
        yield _name("thread_name", process.pid, row, f"{name}: stacks")
        for start, end, function in spans(seen):
            yield _span(function, "stack", process.pid, row, start, end)


def spans(seen: Sequence[Seen]) -> Iterator[tuple[int, int, str]]:
    """Start, end and name of every function that was there without a break."""
    open_since: list[tuple[str, int]] = []
    end = 0
    for each in seen:
        common = _common(open_since, each.stack) if each.start_ns == end else 0
        yield from ((start, end, name) for name, start in reversed(open_since[common:]))
        open_since[common:] = [(name, each.start_ns) for name in each.stack[common:]]
        end = each.end_ns
    yield from ((start, end, name) for name, start in reversed(open_since))


def _common(opened: Sequence[tuple[str, int]], stack: Sequence[str]) -> int:
    """How many of the outermost functions are the same."""
    pairs = zip(opened, stack, strict=False)
    return next(
        (depth for depth, ((name, _), now) in enumerate(pairs) if name != now),
        min(len(opened), len(stack)),
    )


def stage_events(iterations: Iterable[IterationSpan]) -> Iterator[Event]:
    """Stages of each iteration, one after the other in the order of their names: what is true of
    them is how long they are, not when within the iteration.
    """
    yield _name("process_name", STAGES_PID, 0, "stages: shares of each iteration")
    for row, clock in enumerate(CLOCKS, start=1):
        yield _name("thread_name", STAGES_PID, row, clock)
    for iteration in iterations:
        for row, names in enumerate(CLOCKS.values(), start=1):
            yield from _stages(iteration, row, names)


def _stages(iteration: IterationSpan, row: int, names: Sequence[str]) -> Iterator[Event]:
    start, lasts = iteration.start_ns, iteration.end_ns - iteration.start_ns
    for name in names:
        share = getattr(iteration.stages, name)
        end = start + int(share * lasts)
        if end > start:
            arguments = {"iteration": iteration.number, "share": round(share, 4)}
            yield _span(name, "stage", STAGES_PID, row, start, end) | {"args": arguments}
        start = end


def within(events: Iterable[Event], start_ns: int, end_ns: int) -> Iterator[Event]:
    """Those of a time, and all names."""
    for event in events:
        if event["ph"] == "M" or start_ns <= event["ts"] * 1000 <= end_ns:
            yield event


def _name(kind: str, pid: int, tid: int, name: str) -> Event:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": name}}


def _span(name: str, category: str, pid: int, tid: int, start: int, end: int) -> Event:
    times: Mapping[str, float] = {"ts": start / 1000, "dur": (end - start) / 1000}
    return {"ph": "X", "name": name, "cat": category, "pid": pid, "tid": tid, **times}
