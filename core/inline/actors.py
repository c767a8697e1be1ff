"""Actors of the inline engine: instances, their names, their deaths."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from typing import Any

from rllib.core.actor import ActorExit
from rllib.core.exceptions import ActorDiedError, RuntimeClosedError, to_raise
from rllib.core.facts import ActorFacts, Where
from rllib.core.inline.executor import Executor
from rllib.core.inline.jobs import Job, Setting
from rllib.core.inline.objects import InlineRef, Objects
from rllib.core.records import ActorOptions, ActorShape, RemoteCode
from rllib.core.results import exit_code
from rllib.core.runtime import ActorLink
from rllib.core.serialization import Packed, unpack

Key = tuple[str, str]
"""Namespace and name."""


class InlineActor(ActorLink):
    """An actor's instance and the story of its death, if it is dead."""

    __slots__ = (
        "arguments",
        "code",
        "death",
        "instance",
        "key",
        "options",
        "restarts",
        "running",
        "setting",
        "shape",
    )

    def __init__(
        self,
        code: RemoteCode,
        shape: ActorShape,
        key: Key,
        options: ActorOptions,
        setting: Setting,
        arguments: Packed,
    ) -> None:
        super().__init__(os.urandom(16))
        self.code = code
        self.shape = shape
        self.key = key
        self.options = options
        self.setting = setting
        self.arguments = arguments
        self.restarts = 0
        self.instance: Any = None
        self.death: Exception | None = None
        self.running = False

    @property
    def may_restart(self) -> bool:
        """Whether it is constructed again after it was killed."""
        most = self.options.max_restarts
        return most < 0 or self.restarts < most

    def facts(self) -> ActorFacts:
        """What is known of it."""
        alive = self.death is None
        where = Where()
        self.setting.describe(where)
        return ActorFacts(
            id=self.actor_id,
            class_name=self.code.name,
            state="ALIVE" if alive else "DEAD",
            name=self.options.name,
            namespace=self.key[0],
            pid=os.getpid() if alive else 0,
            restarts=self.restarts,
            detached=self.options.detached,
            group=bytes.fromhex(where.placement_group_id or ""),
            resources=self.options.resources,
            death="" if alive else str(self.death),
        )


class ActorInValue(InlineRef):
    """Goes with a handle inside a value, and keeps the actor alive as long as the value."""

    __slots__ = ("actor",)

    actor: InlineActor


class Actors:
    """The actors of one runtime: constructs them, finds them by name, buries them."""

    def __init__(self, objects: Objects, executor: Executor) -> None:
        self._objects = objects
        self._executor = executor
        # Weak, so that an actor ends with its last handle.
        self._all: weakref.WeakSet[InlineActor] = weakref.WeakSet()
        self._named: weakref.WeakValueDictionary[Key, InlineActor] = weakref.WeakValueDictionary()
        self._detached: set[InlineActor] = set()

    def __iter__(self) -> Iterator[InlineActor]:
        """Those that somebody still holds, living or dead."""
        return iter(list(self._all))

    def find(self, key: Key) -> InlineActor | None:
        """The living one of that name."""
        return self._named.get(key)

    def names(self) -> list[Key]:
        """Of the living."""
        return sorted(self._named)

    def add(self, actor: InlineActor) -> None:
        """Construct it, unless something speaks against it: then it is dead."""
        self._all.add(actor)
        if actor.options.name:
            self._named[actor.key] = actor
        if actor.options.detached:
            self._detached.add(actor)
        if actor.death is None:
            self._construct(actor)

    def kill(self, actor: InlineActor, no_restart: bool) -> None:
        """Forget the instance; make a new one of an actor that may be restarted."""
        if no_restart or actor.death is not None or not actor.may_restart:
            self.bury(actor, "it was killed by kill()")
        else:
            actor.restarts += 1
            self._construct(actor)

    def _construct(self, actor: InlineActor) -> None:
        name = f"{actor.code.name}.__init__"
        resources = actor.options.resources
        job = Job("actor_creation", name, name, resources, actor.setting, actor)
        try:
            args, kwargs = self._objects.arguments(actor.arguments)
            with self._executor.running(job):
                actor.instance = unpack(actor.code.blob)(*args, **kwargs)
        except SystemExit as error:
            self.bury(actor, f"its constructor exited with code {exit_code(error)}")
        except Exception as error:
            story = job.failure(error)
            self.bury(actor, f"its constructor raised:\n{story}", to_raise(story))

    def bury(self, actor: InlineActor, reason: str, cause: Exception | None = None) -> Exception:
        """It is dead from now on; the error that its calls get."""
        if actor.death is None:
            actor.death = ActorDiedError(f"actor {actor.code.name} is dead: {reason}")
            actor.death.__cause__ = cause
        actor.instance = None
        self._detached.discard(actor)
        if self._named.get(actor.key) is actor:
            del self._named[actor.key]
        return actor.death

    def bury_all(self) -> None:
        """At the end of the runtime."""
        for actor in self:
            self.bury(actor, "the runtime was shut down")


def own(actor: ActorLink) -> InlineActor:
    """An actor of this engine. Raises `RuntimeClosedError` for that of an earlier runtime."""
    if not isinstance(actor, InlineActor):
        raise RuntimeClosedError("the handle belongs to a runtime that was shut down")
    return actor


def how_it_exited(error: SystemExit) -> str:
    """The reason of a death."""
    if isinstance(error, ActorExit):
        return "exit_actor() was called"
    return f"it exited with code {exit_code(error)}"
