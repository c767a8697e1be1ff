"""Calls that have ended, as a recorded session knows them."""

from __future__ import annotations

from collections.abc import Iterable

from rllib.core.facts import TaskFacts
from rllib.core.trace import Process, Span

TYPES = {
    "task": "NORMAL_TASK",
    "actor_task": "ACTOR_TASK",
    "actor_creation": "ACTOR_CREATION_TASK",
}
"""Of `TaskFacts`, by the category of a span."""


def ended_tasks(processes: Iterable[Process]) -> list[TaskFacts]:
    """One row for each span of a call."""
    return [
        _task(span, process.pid)
        for process in processes
        for span in process.spans
        if span.category in TYPES
    ]


def _task(span: Span, pid: int) -> TaskFacts:
    return TaskFacts(
        span.task_id,
        span.name,
        span.name,
        TYPES[span.category],
        "FAILED" if span.failed else "FINISHED",
        pid=pid,
        start_ns=span.start_ns,
        end_ns=span.end_ns,
    )
