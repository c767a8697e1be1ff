"""What a process asks its node: names, resources, placement groups."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from rllib.core import trace
from rllib.core.exceptions import CoreSystemError, TaskPlacementGroupRemoved
from rllib.core.facts import (
    ActorFacts,
    Found,
    GroupFacts,
    ObjectFacts,
    StoreFacts,
    TaskFacts,
    WorkerFacts,
)
from rllib.core.labels import parse
from rllib.core.measurements import Measurement
from rllib.core.native import wire
from rllib.core.native.groups import facts
from rllib.core.native.objects import NativeRef, Stored
from rllib.core.native.reactor import Reactor
from rllib.core.native.sites import key_of, node_key
from rllib.core.native.values import Values
from rllib.core.object_ref import ObjectRef
from rllib.core.runtime import Runtime

LESSEES_S = 1.0
"""How long to wait for those who have leases to say which of them are idle."""


class NodeQuestions(Runtime):
    """The verbs of a runtime that need no more than a question and its answer."""

    lock: Any
    reactor: Reactor
    values: Values

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._questions: dict[int, list[Any]] = {}
        self._unsettled: dict[int, tuple[NativeRef, Stored]] = {}
        self._closed = False

    @abstractmethod
    def new_ref(self) -> NativeRef:
        """A reference of this process."""

    @abstractmethod
    def _tell_node(self, record: Any) -> None:
        """Send the node a message."""

    @abstractmethod
    def _check_open(self) -> None:
        """Raise `RuntimeClosedError` after the end."""

    def _ask(self, question: Any, send: Callable[[Any], None] | None = None) -> Any:
        """Send the node a question and wait for the answer with the same number."""
        return self._answers(question, lambda answers: True, None, send)[0]

    def _answers(
        self,
        question: Any,
        complete: Callable[[list[Any]], bool],
        timeout: float | None,
        send: Callable[[Any], None] | None = None,
    ) -> list[Any]:
        """The first answer, and those that follow it within ``timeout`` seconds until they are
        ``complete``."""
        with self.asked(question, send) as answers:
            self.reactor.run_until(lambda: bool(answers) or self._closed, None)
            self._check_open()
            if not complete(answers):
                deadline = None if timeout is None else time.monotonic() + timeout
                self.reactor.run_until(lambda: complete(answers) or self._closed, deadline)
                self._check_open()
        return answers

    @contextlib.contextmanager
    def asked(
        self, question: Any, send: Callable[[Any], None] | None = None
    ) -> Iterator[list[Any]]:
        """Send the node a question; what it answers comes into the list."""
        answers: list[Any] = []
        with self.lock:
            self._check_open()
            self._questions[question.seq] = answers
            (send or self._tell_node)(question)
        try:
            yield answers
        finally:
            del self._questions[question.seq]

    def new_number(self) -> int:
        """For a question, or an object."""
        return next(self._numbers)

    def _ask_all(self, topic: wire.Topic, timeout: float | None) -> dict[bytes, bytes | None]:
        """What every process that it concerns has said within ``timeout`` seconds; the dead say
        nothing, and ``None`` stands for the silent."""
        question = wire.AskAll(next(self._numbers), topic)
        surveyed, *told = self._answers(question, _all_have_told, timeout)
        said = {each.process: each.body for each in told}
        return {process: said.get(process) for process in surveyed.processes}

    def on_answer(self, answer: Any) -> None:
        """The node has answered, to somebody who may have given up."""
        if answer.seq in self._questions:
            self._questions[answer.seq].append(answer)

    def resources(self) -> tuple[dict[str, float], dict[str, float]]:
        """Ask who has leases on which nothing runs, then the node."""
        from rllib.core.native import accounts

        said = self._ask_all("idle leases", LESSEES_S).items()
        idle = [(process, accounts.read_leases(body)) for process, body in said if body]
        answer = self._ask(wire.AskResources(next(self._numbers), idle))
        return answer.total, answer.free

    def nodes(self) -> list[dict[str, Any]]:
        """Ask the node with the scheduler."""
        rows: list[wire.NodeRow] = self._ask(wire.AskNodes(next(self._numbers))).nodes
        return [_node_facts(row) for row in rows]

    def labels(self) -> dict[str, str]:
        """Ask the node."""
        found: dict[str, str] = self._ask(wire.AskResources(next(self._numbers))).labels
        return found

    def actor_names(self) -> list[tuple[str, str]]:
        """Ask the node."""
        names: list[tuple[str, str]] = self._ask(wire.AskNames(next(self._numbers))).names
        return names

    def actors(self) -> list[ActorFacts]:
        """Ask the node for actors, processes and nodes."""
        pids = {row.worker: row.pid for row in self._worker_rows()}
        nodes = self._nodes_by_key()
        table: wire.ActorTable = self._ask(wire.AskActors(next(self._numbers)))
        return [
            ActorFacts(
                row.actor,
                row.class_name,
                row.state,
                row.name,
                row.namespace,
                pids.get(row.worker, 0),
                row.restarts,
                row.detached,
                row.group,
                row.resources,
                row.death,
                nodes.get(key_of(row.worker), ""),
            )
            for row in table.actors
        ]

    def workers(self) -> list[WorkerFacts]:
        """Ask the node."""
        nodes = self._nodes_by_key()
        driver, *others = self._worker_rows()
        return [
            WorkerFacts(row.worker, row.pid, row is driver, nodes.get(key_of(row.worker), ""))
            for row in (driver, *others)
        ]

    def _nodes_by_key(self) -> dict[bytes, str]:
        """Ids of nodes."""
        rows: list[wire.NodeRow] = self._ask(wire.AskNodes(next(self._numbers))).nodes
        return {node_key(row.node): row.node for row in rows}

    def stores(self, timeout: float) -> list[StoreFacts]:
        """Ask the service of every node."""
        from rllib.core.native.accounts import read_store as read

        nodes = self._nodes_by_key()
        answers = self._ask_all("stores", timeout).items()
        return [
            StoreFacts(nodes.get(key_of(process), ""), *read(body))
            for process, body in answers
            if body
        ]

    def _worker_rows(self) -> list[wire.WorkerRow]:
        rows: list[wire.WorkerRow] = self._ask(wire.AskWorkers(next(self._numbers))).workers
        return rows

    def task_table(self, timeout: float) -> Found[TaskFacts]:
        """Ask all processes, and look at what was recorded."""
        from rllib.core.history import ended_tasks
        from rllib.core.native import surveys

        told, missing = surveys.tables(self._ask_all("tasks", timeout), self.workers())
        names = {actor.id: actor.class_name for actor in self.actors()}
        under_way = surveys.tasks(told, names)
        return Found([*under_way, *ended_tasks(self.recorded())], missing)

    def object_table(self, timeout: float) -> Found[ObjectFacts]:
        """Ask all processes."""
        from rllib.core.native import surveys

        told, missing = surveys.tables(self._ask_all("objects", timeout), self.workers())
        return Found(surveys.objects(told), missing)

    @abstractmethod
    def recorded(self) -> list[trace.Process]:
        """What all processes have recorded; nothing in a session that is not recorded."""

    def report(self, measurements: list[Measurement]) -> None:
        """Tell the node."""
        with self.lock:
            self._check_open()
            self._tell_node(wire.Measured(measurements))

    def measurements(self) -> list[Measurement]:
        """Ask the node."""
        found: list[Measurement] = self._ask(wire.AskMeasurements(next(self._numbers))).found
        return found

    # -- placement groups ----------------------------------------------------------------------

    def create_group(
        self,
        bundles: list[dict[str, float]],
        strategy: str,
        name: str,
        selectors: list[dict[str, str]],
    ) -> bytes:
        """Order it; whether its name is taken is all that is waited for."""
        group = os.urandom(16)
        seq = next(self._numbers)
        labels = tuple(parse(selector) for selector in selectors)
        order = wire.CreateGroup(seq, group, bundles, strategy, name, self.namespace, labels)
        if not name:
            with self.lock:
                self._check_open()
                self._tell_node(order)
        elif self._ask(order).name_taken:
            raise CoreSystemError(f"the placement group name {name!r} is taken")
        return group

    def group_ready(self, group: bytes, value: Any) -> ObjectRef[Any]:
        """A reference that the node's answer resolves."""
        stored, ref = self.values.store(value), self.new_ref()
        seq = next(self._numbers)
        with self.lock:
            self._check_open()
            self._unsettled[seq] = ref, stored
            self._tell_node(wire.WatchGroup(seq, group))
        return ref

    def on_group_settled(self, answer: wire.GroupSettled) -> None:
        """A group is there, or will never be."""
        ref, stored = self._unsettled.pop(answer.seq)
        if answer.removed:
            ref.resolve(TaskPlacementGroupRemoved("the placement group was removed"))
        else:
            ref.resolve(stored)

    def remove_group(self, group: bytes) -> None:
        """Tell the node."""
        with self.lock:
            self._check_open()
            self._tell_node(wire.RemoveGroup(group))

    def groups(self) -> list[GroupFacts]:
        """Ask the node."""
        return facts(self._ask(wire.AskGroups(next(self._numbers))))


def _node_facts(row: wire.NodeRow) -> dict[str, Any]:
    """Under Ray's keys."""
    return {
        "NodeID": row.node,
        "Alive": not row.death,
        "alive": not row.death,
        "NodeName": row.host,
        "NodeManagerAddress": row.address.rpartition(":")[0] or "127.0.0.1",
        "NodeManagerHostname": row.host,
        "Resources": {} if row.death else row.total,
        "Labels": row.labels,
        "DeathReasonMessage": row.death,
    }


def _all_have_told(answers: list[Any]) -> bool:
    """Whether each of those who were asked, of whom the first answer tells, has said something."""
    return len(answers) > len(answers[0].processes)
