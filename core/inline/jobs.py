"""What runs on the inline engine, where, and how often it is tried."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rllib.core import trace
from rllib.core.exceptions import TaskError
from rllib.core.facts import TaskFacts, Where
from rllib.core.records import ActorOptions, RetryOn, TaskOptions

if TYPE_CHECKING:
    from rllib.core.inline.actors import InlineActor
    from rllib.core.labels import Alternatives


@dataclass(frozen=True, slots=True)
class Setting:
    """Where something runs: what it has of its options, and of whoever started it."""

    strategy: Any = None
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    labels: Alternatives = ()

    def describe(self, where: Where) -> None:
        """Fill in what is known."""
        where.runtime_env = self.runtime_env
        group = getattr(self.strategy, "placement_group", None)
        if group is not None:
            where.placement_group_id = group.id.hex()
            where.captures_children = self.captures

    @property
    def captures(self) -> bool:
        """Whether what it starts runs in its placement group, too."""
        return bool(getattr(self.strategy, "placement_group_capture_child_tasks", False))

    def of_child(self, options: TaskOptions | ActorOptions) -> Setting:
        """Of something with these options that is started from here."""
        strategy, runtime_env = options.strategy, options.runtime_env
        if strategy is None and self.captures:
            strategy = self.strategy
        if strategy is None and not (runtime_env or self.runtime_env or options.label_selector):
            return _NOWHERE
        from rllib.core.labels import alternatives
        from rllib.core.runtime_env import merge

        wanted = alternatives(options.label_selector, options.fallback_strategy)
        return Setting(strategy, merge(self.runtime_env, runtime_env), wanted)


_NOWHERE = Setting()

NOBODY = "ff" * 24
"""The id of no task."""


class Policy:
    """How many results a call has, and how often it is run again after an exception."""

    def __init__(self, num_returns: int, retries: int, retry_on: RetryOn) -> None:
        self.num_returns = num_returns
        self._retries = retries
        self._retry_on = retry_on

    def retries_after(self, failure: TaskError) -> bool:
        """Whether to run it again; uses up a retry."""
        if self._retries == 0 or self._retry_on is False:
            return False
        self._retries -= self._retries > 0
        return self._retry_on is True or isinstance(failure.cause, self._retry_on)


class Job:
    """What runs: the facts behind `RuntimeContext`. ``kind`` is one of `trace.Span`'s."""

    def __init__(
        self,
        kind: str,
        name: str,
        function: str,
        resources: Mapping[str, float],
        setting: Setting,
        actor: InlineActor | None = None,
    ) -> None:
        self.name = name
        self.setting = setting
        self._kind = kind
        self._function = function
        self._resources = resources
        self._actor = actor
        self.id = os.urandom(24).hex()
        self.parent: Job | None = None
        """Within which it runs."""

    def failure(self, error: BaseException) -> TaskError:
        """What callers get to see of an exception of it."""
        return TaskError.from_exception(self.name, error, os.getpid())

    def span(self, began_ns: int, failed: bool) -> trace.Span:
        """For the timeline, now that it has ended."""
        thread = threading.get_native_id()
        return trace.Span(self.name, self._kind, began_ns, time.time_ns(), thread, self.id, failed)

    def facts(self) -> TaskFacts:
        """It runs."""
        from rllib.core.history import TYPES

        actor = "" if self._actor is None else self._actor.actor_id.hex()
        return TaskFacts(
            self.id,
            self.name,
            self._function,
            TYPES[self._kind],
            "RUNNING",
            actor,
            NOBODY if self.parent is None else self.parent.id,
            pid=os.getpid(),
            resources=self._resources,
        )

    def describe(self, where: Where) -> None:
        """Fill in what is known."""
        where.task_id = self.id
        where.task_name = self.name
        where.function_name = self._function
        where.resources = self._resources
        self.setting.describe(where)
        if self._actor is not None:
            where.actor_id = self._actor.actor_id.hex()
            where.actor_name = self._actor.options.name
            where.resources = self._actor.options.resources
            where.actor = self._actor
            where.restarts = self._actor.restarts
            where.shape = self._actor.shape
