"""Tables of calls and references, from what all processes tell: see `accounts`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from rllib.core.facts import ObjectFacts, TaskFacts, WorkerFacts
from rllib.core.native import accounts

Answers = Mapping[bytes, bytes | None]
"""By process: nothing of the dead, ``None`` of the silent."""


def tables(
    answers: Answers, workers: Iterable[WorkerFacts]
) -> tuple[list[tuple[WorkerFacts, accounts.Table]], str]:
    """What each process has told, and in words what is missing."""
    known = {worker.id: worker for worker in workers}
    told = [
        (known.get(process, WorkerFacts(process, 0)), accounts.read_table(body))
        for process, body in answers.items()
        if body
    ]
    silent = [process for process, body in answers.items() if body is None]
    missing = [f"process {_pid(known, each)} did not answer" for each in silent]
    for worker, table in told:
        rows = len(table.tasks) + len(table.objects)
        if rows < table.total:
            missing.append(f"process {worker.pid} told only of {rows} of its {table.total} rows")
    return told, "; ".join(missing)


def _pid(known: Mapping[bytes, WorkerFacts], process: bytes) -> str:
    return str(known[process].pid) if process in known else process.hex()[:12]


def tasks(
    told: Iterable[tuple[WorkerFacts, accounts.Table]], class_names: Mapping[bytes, str]
) -> list[TaskFacts]:
    """One row for each call: what its caller knows, and what its callee knows better."""
    rows = [(worker, row) for worker, table in told for row in table.tasks]
    found: dict[bytes, TaskFacts] = {}
    unnumbered: list[TaskFacts] = []
    for _worker, row in rows:
        if row.arrived:
            continue
        if row.task == accounts.NOBODY:
            unnumbered.append(_task(row, class_names))
        else:
            found[row.task] = _task(row, class_names)
    for worker, row in rows:
        if row.arrived:
            known = found.get(row.task) or _task(row, class_names)
            found[row.task] = dataclasses.replace(
                known, state=row.state, worker_id=worker.id.hex(), pid=worker.pid
            )
    return [*found.values(), *unnumbered]


def _task(row: accounts.TaskRow, class_names: Mapping[bytes, str]) -> TaskFacts:
    function = _function(row, class_names.get(row.actor, ""))
    return TaskFacts(
        row.task.hex(),
        function if row.name == row.function else row.name,
        function,
        row.type,
        row.state,
        row.actor.hex(),
        row.parent.hex(),
        resources=row.resources,
        group_id=row.group.hex(),
    )


def _function(row: accounts.TaskRow, class_name: str) -> str:
    if row.type == "ACTOR_CREATION_TASK":
        return f"{row.function}.__init__"
    return f"{class_name}.{row.function}" if class_name else row.function


def objects(told: Iterable[tuple[WorkerFacts, accounts.Table]]) -> list[ObjectFacts]:
    """One row for each reference in each process."""
    return [
        ObjectFacts(row.object.hex(), row.size, row.status, row.held, worker.pid, worker.is_driver)
        for worker, table in told
        for row in table.objects
    ]
