"""`InlineRuntime`: the verbs of the runtime, each done when it returns."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rllib.core.actor import bound_method
from rllib.core.exceptions import (
    ActorAlreadyExistsError,
    RuntimeClosedError,
    TaskCancelledError,
    WorkerCrashedError,
    to_raise,
)
from rllib.core.facts import (
    ActorFacts,
    Found,
    GroupFacts,
    ObjectFacts,
    TaskFacts,
    Where,
    WorkerFacts,
)
from rllib.core.inline.actors import ActorInValue, Actors, InlineActor, how_it_exited, own
from rllib.core.inline.executor import Executor
from rllib.core.inline.jobs import Job, Policy, Setting
from rllib.core.inline.objects import InlineRef, Objects, stored
from rllib.core.inline.streams import InlineStream
from rllib.core.labels import NODE_ID
from rllib.core.measurements import Measurement, Measurements
from rllib.core.object_ref import ObjectRef
from rllib.core.records import (
    ActorOptions,
    ActorShape,
    Args,
    CallOptions,
    Kwargs,
    RemoteCode,
    TaskOptions,
)
from rllib.core.results import exit_code
from rllib.core.runtime import ActorLink, ResultStream, Runtime, Waitable
from rllib.core.serialization import unpack

if TYPE_CHECKING:
    from rllib.core.inline.groups import InlineGroups


class InlineRuntime(Runtime):
    """Puts the parts together: what is called, where it runs, and what comes of it."""

    serial = True

    def __init__(
        self,
        namespace: str,
        amounts: Mapping[str, float],
        runtime_env: Mapping[str, Any],
        labels: Mapping[str, str],
    ) -> None:
        self.namespace = namespace
        self._labels = labels
        self._amounts = {"CPU": float(os.cpu_count() or 1), **amounts}
        self._setting = Setting(runtime_env=runtime_env)  # of what the driver starts
        self._objects = Objects()
        self._executor = Executor(self._objects)
        self._actors = Actors(self._objects, self._executor)
        self._groups: InlineGroups | None = None
        self._measurements = Measurements()
        self._closed = False

    def shutdown(self) -> None:
        """Drop all actors and values."""
        self._closed = True
        self._actors.bury_all()

    def after_fork(self) -> InlineRuntime:
        """A child goes on with its own copy."""
        return self

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeClosedError("the runtime was shut down; call init() again")

    # -- tasks ---------------------------------------------------------------------------------

    def submit(
        self, code: RemoteCode, args: Args, kwargs: Kwargs, options: TaskOptions
    ) -> list[ObjectRef[Any]]:
        """Run the task now."""
        job = self._task(code, options)
        refusal = self._refusal(job.setting)
        if refusal is not None:
            return self._executor.failed(refusal, options.num_returns)
        policy = Policy(options.num_returns, options.max_retries, options.retry_exceptions)
        try:
            return self._executor.run(job, _loader(code), args, kwargs, policy)
        except SystemExit as error:
            story = f"task {job.name} failed: it exited with code {exit_code(error)}"
            return self._executor.failed(WorkerCrashedError(story), options.num_returns)

    def stream(
        self, code: RemoteCode, args: Args, kwargs: Kwargs, options: TaskOptions
    ) -> InlineStream:
        """Begin the generator."""
        job = self._task(code, options)
        refusal = self._refusal(job.setting)
        if refusal is not None:
            return self._executor.failed_stream(refusal)
        policy = Policy(1, options.max_retries, options.retry_exceptions)
        return self._executor.stream(job, _loader(code), args, kwargs, policy)

    def _task(self, code: RemoteCode, options: TaskOptions) -> Job:
        self._check_open()
        setting = self._setting_of(options)
        return Job("task", options.name or code.name, code.name, options.resources, setting)

    def cancel(self, what: ObjectRef[Any] | ResultStream, force: bool, recursive: bool) -> None:
        """What was called has ended, except for a generator, which goes no further."""
        if isinstance(what, InlineStream):
            error = TaskCancelledError("the generator was cancelled")
            what.stop(self._objects.ready(error))

    # -- actors --------------------------------------------------------------------------------

    def create_actor(
        self,
        code: RemoteCode,
        shape: ActorShape,
        args: Args,
        kwargs: Kwargs,
        options: ActorOptions,
    ) -> ActorLink:
        """Construct the actor now."""
        self._check_open()
        key = (options.namespace or self.namespace, options.name)
        existing = self._actors.find(key)
        if existing is not None and options.get_if_exists:
            return existing
        if existing is not None:
            raise ActorAlreadyExistsError(
                f"the actor name {options.name!r} is taken in namespace {key[0]!r}"
            )
        setting = self._setting_of(options)
        actor = InlineActor(code, shape, key, options, setting, stored((args, kwargs)))
        actor.death = self._refusal(setting)
        self._actors.add(actor)
        return actor

    def find_actor(self, name: str, namespace: str) -> tuple[ActorLink, ActorShape]:
        """Look ``name`` up among the living."""
        actor = self._actors.find((namespace or self.namespace, name))
        if actor is None:
            raise ValueError(f"there is no living actor named {name!r}")
        return actor, actor.shape

    def call(
        self, actor: ActorLink, method: str, args: Args, kwargs: Kwargs, options: CallOptions
    ) -> list[ObjectRef[Any]]:
        """Run the method now."""
        actor = self._callable(actor, method)
        if actor.death is not None:
            return self._executor.failed(actor.death, options.num_returns)
        job = _call_of(actor, method, options)
        policy = Policy(options.num_returns, options.max_task_retries, options.retry_exceptions)
        nested, actor.running = actor.running, True
        try:
            function = bound_method(actor.instance, method)
            return self._executor.run(job, function, args, kwargs, policy)
        except SystemExit as error:
            death = self._actors.bury(actor, how_it_exited(error))
            return self._executor.failed(death, options.num_returns)
        finally:
            actor.running = nested

    def stream_call(
        self, actor: ActorLink, method: str, args: Args, kwargs: Kwargs, options: CallOptions
    ) -> InlineStream:
        """Begin the generator."""
        actor = self._callable(actor, method)
        if actor.death is not None:
            return self._executor.failed_stream(actor.death)
        job = _call_of(actor, method, options)
        policy = Policy(1, options.max_task_retries, options.retry_exceptions)
        function = bound_method(actor.instance, method)
        return self._executor.stream(job, function, args, kwargs, policy)

    def _callable(self, actor: ActorLink, method: str) -> InlineActor:
        self._check_open()
        actor = own(actor)
        if actor.running and not actor.code.is_async:
            raise RuntimeError(
                f"{actor.code.name}.{method} was called while a call of the same actor is running: "
                "two calls that wait for each other cannot run on the inline engine; use init()"
            )
        return actor

    def pending_calls(self, actor: ActorLink) -> int:
        """None: every call has ended when it returns."""
        return 0

    def kill(self, actor: ActorLink, no_restart: bool) -> None:
        """Forget the instance; make a new one of an actor that may be restarted."""
        self._actors.kill(own(actor), no_restart)

    def actor_names(self) -> list[tuple[str, str]]:
        """Of the living."""
        return self._actors.names()

    def actor_reduce(self, actor: ActorLink) -> tuple[Any, ...]:
        """A reference, which stays with the value, to the actor."""
        ref = self._objects.new(ActorInValue)
        ref.actor = own(actor)
        return (ref,)

    def actor_restore(self, state: tuple[Any, ...]) -> ActorLink:
        """The actor itself."""
        ref: ActorInValue = state[0]
        return ref.actor

    # -- objects -------------------------------------------------------------------------------

    def expose(self, ref: ObjectRef[Any]) -> None:
        """Keep it for the code that names it."""
        self._objects.expose(ref)

    def find_exposed(self, owner: bytes, number: int) -> ObjectRef[Any]:
        """The reference itself."""
        return self._objects.find_exposed(owner, number)

    def put(self, value: Any) -> ObjectRef[Any]:
        """Keep a copy."""
        self._check_open()
        return self._objects.store(value)

    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        """Every reference is ready already."""
        self._check_open()
        return [self._objects.value(ref) for ref in refs]

    def wait(
        self,
        refs: Sequence[Waitable],
        num_returns: int,
        timeout: float | None,
        *,
        fetch_local: bool = True,
    ) -> list[Waitable]:
        """All are ready."""
        return list(refs[:num_returns])

    def when_ready(self, ref: ObjectRef[Any], callback: Callable[[], object]) -> None:
        """At once."""
        callback()

    def error_of(self, ref: ObjectRef[Any]) -> Exception | None:
        """Look at the outcome; the value is not loaded."""
        outcome = ref.outcome if isinstance(ref, InlineRef) else None
        return to_raise(outcome) if isinstance(outcome, Exception) else None

    # -- where things run ----------------------------------------------------------------------

    def _setting_of(self, options: TaskOptions | ActorOptions) -> Setting:
        job = self._executor.job
        parent = self._setting if job is None else job.setting
        return parent.of_child(options)

    def _refusal(self, setting: Setting) -> Exception | None:
        """Why nothing can run in that setting."""
        if setting.strategy is None and not setting.labels:
            return None
        return self._placement().refusal(setting.strategy, setting.labels)

    def _placement(self) -> InlineGroups:
        """Made when the first group or strategy is."""
        if self._groups is None:
            from rllib.core.inline.groups import InlineGroups

            self._groups = InlineGroups(self._node_id, self.labels(), self._amounts)
        return self._groups

    def create_group(
        self,
        bundles: list[dict[str, float]],
        strategy: str,
        name: str,
        selectors: list[dict[str, str]],
    ) -> bytes:
        """Reserve them now."""
        return self._placement().create(bundles, strategy, name, self.namespace, selectors)

    def group_ready(self, group: bytes, value: Any) -> ObjectRef[Any]:
        """Ready in any case: with an error for a group that is not there."""
        return self._objects.ready(self._placement().trouble(group) or stored(value))

    def remove_group(self, group: bytes) -> None:
        """Nobody is in it but who calls this."""
        self._placement().remove(group)

    def groups(self) -> list[GroupFacts]:
        """All."""
        return self._placement().table()

    def labels(self) -> dict[str, str]:
        """Its id, and what was given to `init`."""
        return {**self._labels, NODE_ID: self._node_id}

    def resources(self) -> tuple[dict[str, float], dict[str, float]]:
        """Nothing but bundles is ever held: calls run one after the other."""
        free = dict(self._amounts) if self._groups is None else self._groups.free()
        return dict(self._amounts), free

    # -- what is known -------------------------------------------------------------------------

    @property
    def _node_id(self) -> str:
        return (self._objects.owner.hex() * 2)[:56]  # as long as other nodes' are

    def where(self) -> Where:
        """The driver, or the job that runs in it."""
        owner = self._objects.owner.hex()
        where = Where(
            job_id=owner[:8], node_id=self._node_id, worker_id=owner, namespace=self.namespace
        )
        if self._executor.job is not None:
            self._executor.job.describe(where)
        return where

    def actors(self) -> list[ActorFacts]:
        """Those that somebody still holds."""
        return [actor.facts() for actor in self._actors]

    def workers(self) -> list[WorkerFacts]:
        """This process."""
        return [WorkerFacts(self._objects.owner, os.getpid(), is_driver=True)]

    def task_table(self, timeout: float) -> Found[TaskFacts]:
        """What runs, one call within another, and what has ended where it is recorded."""
        return Found(self._executor.tasks())

    def object_table(self, timeout: float) -> Found[ObjectFacts]:
        """The references in this process."""
        return Found(self._objects.facts())

    def timeline(self) -> list[dict[str, Any]]:
        """What ran in this process, the last of it."""
        return self._executor.timeline()

    def report(self, measurements: list[Measurement]) -> None:
        """Keep them: there is one process only."""
        self._measurements.update(measurements)

    def measurements(self) -> list[Measurement]:
        """What was kept."""
        return self._measurements.all()


def _loader(code: RemoteCode) -> Callable[..., Any]:
    """The function, which is unpickled where it runs: what goes wrong there is the call's error."""
    return lambda *args, **kwargs: unpack(code.blob)(*args, **kwargs)


def _call_of(actor: InlineActor, method: str, options: CallOptions) -> Job:
    name = options.name or f"{actor.code.name}.{method}"
    return Job("actor_task", name, method, {}, actor.setting, actor)
