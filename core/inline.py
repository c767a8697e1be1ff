"""Engine 1: everything in the calling process, serial and deterministic.

A call runs to its end inside ``.remote()``; its reference is ready when it returns. Values take
the same way through serialisation as on the other engines, so that what works here works there:
arguments are copies, arrays come back read-only. What a serial engine cannot mean is that a call
waits for another one that has not been made yet; such a call fails and says so.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
import itertools
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rllib.core import trace
from rllib.core.actor import ActorExit, bound_method
from rllib.core.exceptions import (
    ActorAlreadyExistsError,
    ActorDiedError,
    ObjectLostError,
    RuntimeClosedError,
    TaskCancelledError,
    TaskError,
    WorkerCrashedError,
    to_raise,
)
from rllib.core.facts import ActorFacts, GroupFacts, Where, WorkerFacts
from rllib.core.measurements import Measurement, Measurements
from rllib.core.object_ref import ObjectRef
from rllib.core.records import (
    ActorOptions,
    ActorShape,
    Args,
    CallOptions,
    Kwargs,
    RemoteCode,
    RetryOn,
    TaskOptions,
)
from rllib.core.results import exit_code, split_result
from rllib.core.runtime import ActorLink, ResultStream, Runtime, Waitable
from rllib.core.serialization import Packed, detached, pack, unpack

if TYPE_CHECKING:
    from rllib.core.inline_groups import InlineGroups


MAX_SPANS = 100_000


class InlineRef(ObjectRef[Any]):
    """A reference that holds its value, or the error instead of it."""

    __slots__ = ("outcome",)

    outcome: Packed | Exception


class LastRef(InlineRef):
    """The reference of a stream's end: who looks at it, or waits for it, drives the generator."""

    __slots__ = ("drain",)

    drain: Callable[[], Packed]

    def __getattr__(self, name: str) -> Any:
        if name != "outcome":
            raise AttributeError(name)
        self.outcome = self.drain()
        return self.outcome


class InlineStream(ResultStream):
    """A generator that is driven by whoever takes: every result is made when it is asked for."""

    def __init__(
        self,
        results: Iterator[Any],
        to_ref: Callable[[Any], InlineRef],
        failure: Callable[[BaseException], Exception],
        completed: LastRef,
    ) -> None:
        self._results = results
        self._to_ref = to_ref
        self._failure = failure
        self._completed = completed
        self._ahead: deque[InlineRef] = deque()
        self._ended = False
        completed.drain = self._drain

    def _advance(self) -> None:
        """Make one more result, or find that there is none."""
        try:
            self._ahead.append(self._to_ref(next(self._results)))
        except StopIteration:
            self._ended = True
        except Exception as error:
            self.stop(self._failure(error))

    def stop(self, error: Exception) -> None:
        """End it here; the error is the last result."""
        if not self._ended:
            self._ended = True
            self._ahead.append(self._to_ref(error))

    def _drain(self) -> Packed:
        while not self._ended:
            self._advance()
        return pack(None)

    @property
    def completed(self) -> ObjectRef[Any]:
        """See `ResultStream`."""
        return self._completed

    def take(self, timeout: float | None) -> ObjectRef[Any] | None:
        """See `ResultStream`."""
        if not (self._ahead or self._ended):
            self._advance()
        return self._ahead.popleft() if self._ahead else None

    def when_ready(self, callback: Callable[[], object]) -> None:
        """At once: `take` makes the next result itself."""
        callback()

    @property
    def is_ready(self) -> bool:
        """See `ResultStream`."""
        return True

    @property
    def is_finished(self) -> bool:
        """See `ResultStream`."""
        return self._ended and not self._ahead


@dataclass(frozen=True, slots=True)
class Setting:
    """Where something runs: what it has of its options, and of whoever started it."""

    strategy: Any = None
    runtime_env: Mapping[str, Any] = field(default_factory=dict)

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
        key: tuple[str, str],
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


class ActorInValue(InlineRef):
    """Goes with a handle inside a value, and keeps the actor alive as long as the value."""

    __slots__ = ("actor",)

    actor: InlineActor


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


class _Job:
    """What runs: the facts behind `RuntimeContext`."""

    def __init__(
        self,
        name: str,
        function: str,
        resources: Mapping[str, float],
        setting: Setting,
        actor: InlineActor | None = None,
    ) -> None:
        self.name = name
        self.setting = setting
        self._function = function
        self._resources = resources
        self._actor = actor
        self._id = os.urandom(24).hex()

    def span(self, began: int) -> trace.Span:
        """For the timeline, now that it has ended."""
        kind = "task" if self._actor is None else "actor_task"
        if self.name == self._function and self._actor is not None:
            kind = "actor_creation"
        failed = sys.exc_info()[0] is not None
        thread = threading.get_native_id()
        return trace.Span(self.name, kind, began, time.time_ns(), thread, self._id, failed)

    def describe(self, where: Where) -> None:
        """Fill in what is known."""
        where.task_id = self._id
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


_END = object()
_NOWHERE = Setting()


class InlineRuntime(Runtime):
    """See the module's text."""

    serial = True

    def __init__(
        self, namespace: str, amounts: dict[str, float], runtime_env: Mapping[str, Any]
    ) -> None:
        self.namespace = namespace
        self._setting = Setting(runtime_env=runtime_env)  # of what the driver starts
        self._amounts = {"CPU": float(os.cpu_count() or 1), **amounts}
        self._owner = os.urandom(16)
        self._count = 0
        # Weak, so that an actor ends with its last handle.
        self._actors: weakref.WeakSet[InlineActor] = weakref.WeakSet()
        self._names: weakref.WeakValueDictionary[tuple[str, str], InlineActor] = (
            weakref.WeakValueDictionary()
        )
        self._detached: set[InlineActor] = set()
        self._measurements = Measurements()
        self._job: _Job | None = None
        self._spans: deque[trace.Span] | None = (
            deque(maxlen=MAX_SPANS) if trace.is_wanted() else None
        )
        self._groups: InlineGroups | None = None
        self._closed = False

    # -- tasks ---------------------------------------------------------------------------------

    def submit(
        self, code: RemoteCode, args: Args, kwargs: Kwargs, options: TaskOptions
    ) -> list[ObjectRef[Any]]:
        """Run the task now."""
        self._check_open()
        setting = self._setting_of(options)
        refusal = self._refusal(setting)
        if refusal is not None:
            return [self._ref(refusal) for _ in range(options.num_returns)]
        job = _Job(options.name or code.name, code.name, options.resources, setting)
        policy = Policy(options.num_returns, options.max_retries, options.retry_exceptions)
        try:
            return self._run(job, unpack(code.blob), args, kwargs, policy)
        except SystemExit as error:
            story = f"task {job.name} failed: it exited with code {exit_code(error)}"
            return [self._ref(WorkerCrashedError(story)) for _ in range(options.num_returns)]

    def stream(
        self, code: RemoteCode, args: Args, kwargs: Kwargs, options: TaskOptions
    ) -> InlineStream:
        """Begin the generator."""
        self._check_open()
        setting = self._setting_of(options)
        job = _Job(options.name or code.name, code.name, options.resources, setting)
        refusal = self._refusal(setting)
        if refusal is not None:
            return self._failed_stream(job, refusal)
        policy = Policy(1, options.max_retries, options.retry_exceptions)
        return self._stream(job, unpack(code.blob), args, kwargs, policy)

    def _setting_of(self, options: TaskOptions | ActorOptions) -> Setting:
        parent = self._setting if self._job is None else self._job.setting
        strategy, given = options.strategy, options.runtime_env
        if strategy is None and parent.captures:
            strategy = parent.strategy
        if strategy is None and not (given or parent.runtime_env):
            return _NOWHERE
        from rllib.core.runtime_env import merge

        return Setting(strategy, merge(parent.runtime_env, given))

    def _refusal(self, setting: Setting) -> Exception | None:
        """Why nothing can run in that setting."""
        if setting.strategy is None:
            return None
        return self._placement().refusal(setting.strategy)

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
        existing = self._names.get(key)
        if options.name and existing is not None:
            if options.get_if_exists:
                return existing
            raise ActorAlreadyExistsError(
                f"the actor name {options.name!r} is taken in namespace {key[0]!r}"
            )
        setting = self._setting_of(options)
        actor = InlineActor(code, shape, key, options, setting, detached(pack((args, kwargs))))
        self._actors.add(actor)
        if options.name:
            self._names[key] = actor
        if options.detached:
            self._detached.add(actor)
        actor.death = self._refusal(setting)
        if actor.death is None:
            self._construct(actor)
        return actor

    def _construct(self, actor: InlineActor) -> None:
        name = f"{actor.code.name}.__init__"
        try:
            own_args, own_kwargs = self._arguments(actor.arguments)
            with self._running(_Job(name, name, actor.options.resources, actor.setting, actor)):
                actor.instance = unpack(actor.code.blob)(*own_args, **own_kwargs)
        except SystemExit as error:
            self._bury(actor, f"its constructor exited with code {exit_code(error)}")
        except Exception as error:
            story = TaskError.from_exception(name, error, os.getpid())
            self._bury(actor, f"its constructor raised:\n{story}", to_raise(story))

    def find_actor(self, name: str, namespace: str) -> tuple[ActorLink, ActorShape]:
        """Look ``name`` up among the living."""
        actor = self._names.get((namespace or self.namespace, name))
        if actor is None:
            raise ValueError(f"there is no living actor named {name!r}")
        return actor, actor.shape

    def call(
        self, actor: ActorLink, method: str, args: Args, kwargs: Kwargs, options: CallOptions
    ) -> list[ObjectRef[Any]]:
        """Run the method now."""
        actor = self._callable(actor, method)
        if actor.death is not None:
            return [self._ref(actor.death) for _ in range(options.num_returns)]
        job = _Job(options.name or f"{actor.code.name}.{method}", method, {}, actor.setting, actor)
        policy = Policy(options.num_returns, options.max_task_retries, options.retry_exceptions)
        nested, actor.running = actor.running, True
        try:
            return self._run(job, bound_method(actor.instance, method), args, kwargs, policy)
        except SystemExit as error:
            death = self._bury(actor, _how_it_exited(error))
            return [self._ref(death) for _ in range(options.num_returns)]
        finally:
            actor.running = nested

    def stream_call(
        self, actor: ActorLink, method: str, args: Args, kwargs: Kwargs, options: CallOptions
    ) -> InlineStream:
        """Begin the generator."""
        actor = self._callable(actor, method)
        job = _Job(options.name or f"{actor.code.name}.{method}", method, {}, actor.setting, actor)
        if actor.death is None:
            policy = Policy(1, options.max_task_retries, options.retry_exceptions)
            return self._stream(job, bound_method(actor.instance, method), args, kwargs, policy)
        return self._failed_stream(job, actor.death)

    def _failed_stream(self, job: _Job, error: Exception) -> InlineStream:
        stream = self._new_stream(job, iter(()))
        stream.stop(error)
        return stream

    def _callable(self, actor: ActorLink, method: str) -> InlineActor:
        self._check_open()
        actor = _own(actor)
        if actor.running and not actor.code.is_async:
            raise RuntimeError(
                f"{actor.code.name}.{method} was called while a call of the same actor is running: "
                "two calls that wait for each other cannot run on the inline engine; use init()"
            )
        return actor

    def pending_calls(self, actor: ActorLink) -> int:
        """None: every call has ended when it returns."""
        return 0

    # -- running -------------------------------------------------------------------------------

    def _run(
        self, job: _Job, function: Callable[..., Any], args: Args, kwargs: Kwargs, policy: Policy
    ) -> list[ObjectRef[Any]]:
        packed = detached(pack((args, kwargs)))
        while True:
            try:
                with self._running(job):
                    result = self._result(function, packed)
                    values = split_result(job.name, result, policy.num_returns)
                return [self._ref(detached(pack(value))) for value in values]
            except (Exception, asyncio.CancelledError) as error:
                failure = TaskError.from_exception(job.name, error, os.getpid())
                if not policy.retries_after(failure):
                    return [self._ref(failure) for _ in range(policy.num_returns)]

    def _result(self, function: Callable[..., Any], packed: Packed) -> Any:
        own_args, own_kwargs = self._arguments(packed)
        result = function(*own_args, **own_kwargs)
        return _run_coroutine(result) if inspect.iscoroutine(result) else result

    def _stream(
        self, job: _Job, function: Callable[..., Any], args: Args, kwargs: Kwargs, policy: Policy
    ) -> InlineStream:
        packed = detached(pack((args, kwargs)))

        def results() -> Iterator[Any]:
            sent = 0
            while True:
                try:
                    for value in itertools.islice(self._results(job, function, packed), sent, None):
                        sent += 1
                        yield value
                    return
                except Exception as error:
                    failure = TaskError.from_exception(job.name, error, os.getpid())
                    if not policy.retries_after(failure):
                        raise

        return self._new_stream(job, results())

    def _results(self, job: _Job, function: Callable[..., Any], packed: Packed) -> Iterator[Any]:
        result = self._result(function, packed)
        if isinstance(result, AsyncIterator):  # lives on an event loop, so it runs as a whole
            result = _run_coroutine(_collect(result))
        if not isinstance(result, Iterable):
            raise TypeError(f"{job.name} was to yield, but returned {type(result).__name__}")
        yield from result

    def _new_stream(self, job: _Job, results: Iterator[Any]) -> InlineStream:
        def advance() -> Iterator[Any]:
            while True:
                with self._running(job):
                    value = next(results, _END)
                if value is _END:
                    return
                yield value

        def to_ref(value: Any) -> InlineRef:
            return self._ref(value if isinstance(value, Exception) else detached(pack(value)))

        def failure(error: BaseException) -> Exception:
            return TaskError.from_exception(job.name, error, os.getpid())

        self._count += 1
        completed = LastRef(self._owner, self._count)
        return InlineStream(advance(), to_ref, failure, completed)

    @contextlib.contextmanager
    def _running(self, job: _Job) -> Iterator[None]:
        """The job is the one that runs, for `where`, and runs in its environment."""
        before, self._job = self._job, job
        began = time.time_ns()
        try:
            with contextlib.ExitStack() as stack:
                if job.setting.runtime_env:
                    from rllib.core.runtime_env import entered

                    stack.enter_context(entered(job.setting.runtime_env))
                yield
        finally:
            self._job = before
            if self._spans is not None:
                self._spans.append(job.span(began))

    def actors(self) -> list[ActorFacts]:
        """Those that somebody still holds."""
        return [_facts(actor) for actor in self._actors]

    def workers(self) -> list[WorkerFacts]:
        """This process."""
        return [WorkerFacts(self._owner, os.getpid(), is_driver=True)]

    def timeline(self) -> list[dict[str, Any]]:
        """What ran in this process, the last of it."""
        if self._spans is None:
            raise RuntimeError(trace.not_recorded())
        return trace.chrome_events([trace.Process("driver", os.getpid(), list(self._spans))])

    def where(self) -> Where:
        """The driver, or the job that runs in it."""
        where = Where(
            job_id=self._owner.hex()[:8],
            node_id=self._owner.hex() * 2,
            worker_id=self._owner.hex(),
            namespace=self.namespace,
        )
        if self._job is not None:
            self._job.describe(where)
        return where

    def cancel(self, what: ObjectRef[Any] | ResultStream, force: bool, recursive: bool) -> None:
        """What was called has ended, except for a generator, which goes no further."""
        if isinstance(what, InlineStream):
            what.stop(TaskCancelledError("the generator was cancelled"))

    def _arguments(self, packed: Packed) -> tuple[Args, Kwargs]:
        """Arguments as the other side would see them; references at the top level resolved."""
        own_args, own_kwargs = unpack(packed.body, packed.buffers, packed.refs)
        return (
            tuple(self._resolved(arg) for arg in own_args),
            {key: self._resolved(arg) for key, arg in own_kwargs.items()},
        )

    def _resolved(self, arg: Any) -> Any:
        return self._value(arg) if isinstance(arg, ObjectRef) else arg

    # -- objects -------------------------------------------------------------------------------

    def put(self, value: Any) -> ObjectRef[Any]:
        """Keep a copy."""
        self._check_open()
        return self._ref(detached(pack(value)))

    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        """Every reference is ready already."""
        self._check_open()
        return [self._value(ref) for ref in refs]

    def wait(
        self, refs: Sequence[Waitable], num_returns: int, timeout: float | None
    ) -> list[Waitable]:
        """All are ready."""
        return list(refs[:num_returns])

    def error_of(self, ref: ObjectRef[Any]) -> Exception | None:
        """Look at the outcome; the value is not loaded."""
        outcome = ref.outcome if isinstance(ref, InlineRef) else None
        return to_raise(outcome) if isinstance(outcome, Exception) else None

    def when_ready(self, ref: ObjectRef[Any], callback: Callable[[], object]) -> None:
        """At once."""
        callback()

    def _ref(self, outcome: Packed | Exception) -> InlineRef:
        self._count += 1
        ref = InlineRef(self._owner, self._count)
        ref.outcome = outcome
        return ref

    def _value(self, ref: ObjectRef[Any]) -> Any:
        if not isinstance(ref, InlineRef) or ref._owner != self._owner:
            raise ObjectLostError(f"{ref!r} belongs to a runtime that was shut down")
        if isinstance(ref.outcome, Exception):
            raise to_raise(ref.outcome)
        packed = ref.outcome
        return unpack(packed.body, packed.buffers, packed.refs)

    # -- the rest ------------------------------------------------------------------------------

    def kill(self, actor: ActorLink, no_restart: bool) -> None:
        """Forget the instance; make a new one of an actor that may be restarted."""
        actor = _own(actor)
        if no_restart or actor.death is not None or not actor.may_restart:
            self._bury(actor, "it was killed by kill()")
        else:
            actor.restarts += 1
            self._construct(actor)

    def _bury(self, actor: InlineActor, reason: str, cause: Exception | None = None) -> Exception:
        if actor.death is None:
            actor.death = ActorDiedError(f"actor {actor.code.name} is dead: {reason}")
            actor.death.__cause__ = cause
        actor.instance = None
        self._detached.discard(actor)
        if self._names.get(actor.key) is actor:
            del self._names[actor.key]
        return actor.death

    def resources(self) -> tuple[dict[str, float], dict[str, float]]:
        """Nothing but bundles is ever held: calls run one after the other."""
        free = dict(self._amounts) if self._groups is None else self._groups.free()
        return dict(self._amounts), free

    def actor_names(self) -> list[tuple[str, str]]:
        """Of the living."""
        return sorted(self._names)

    def _placement(self) -> InlineGroups:
        """Made when the first group or strategy is."""
        if self._groups is None:
            from rllib.core.inline_groups import InlineGroups

            self._groups = InlineGroups(self._owner.hex() * 2, self._amounts)
        return self._groups

    def create_group(self, bundles: list[dict[str, float]], strategy: str, name: str) -> bytes:
        """Reserve them now."""
        return self._placement().create(bundles, strategy, name, self.namespace)

    def group_ready(self, group: bytes, value: Any) -> ObjectRef[Any]:
        """Ready in any case: with an error for a group that is not there."""
        return self._ref(self._placement().trouble(group) or detached(pack(value)))

    def remove_group(self, group: bytes) -> None:
        """Nobody is in it but who calls this."""
        self._placement().remove(group)

    def groups(self) -> list[GroupFacts]:
        """All."""
        return self._placement().table()

    def report(self, measurements: list[Measurement]) -> None:
        """Keep them: there is one process only."""
        self._measurements.update(measurements)

    def measurements(self) -> list[Measurement]:
        """What was kept."""
        return self._measurements.all()

    def actor_reduce(self, actor: ActorLink) -> tuple[Any, ...]:
        """A reference, which stays with the value, to the actor."""
        self._count += 1
        ref = ActorInValue(self._owner, self._count)
        ref.actor = _own(actor)
        return (ref,)

    def actor_restore(self, state: tuple[Any, ...]) -> ActorLink:
        """The actor itself."""
        ref: ActorInValue = state[0]
        return ref.actor

    def shutdown(self) -> None:
        """Drop all actors and values."""
        self._closed = True
        for actor in list(self._actors):
            self._bury(actor, "the runtime was shut down")

    def after_fork(self) -> InlineRuntime:
        """A child goes on with its own copy."""
        return self

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeClosedError("the runtime was shut down; call init() again")


def _facts(actor: InlineActor) -> ActorFacts:
    """What is known of it."""
    alive = actor.death is None
    where = Where()
    actor.setting.describe(where)
    return ActorFacts(
        id=actor.actor_id,
        class_name=actor.code.name,
        state="ALIVE" if alive else "DEAD",
        name=actor.options.name,
        namespace=actor.key[0],
        pid=os.getpid() if alive else 0,
        restarts=actor.restarts,
        detached=actor.options.detached,
        group=bytes.fromhex(where.placement_group_id or ""),
        resources=actor.options.resources,
        death="" if alive else str(actor.death),
    )


def _own(actor: ActorLink) -> InlineActor:
    if not isinstance(actor, InlineActor):
        raise RuntimeClosedError("the handle belongs to a runtime that was shut down")
    return actor


def _how_it_exited(error: SystemExit) -> str:
    if isinstance(error, ActorExit):
        return "exit_actor() was called"
    return f"it exited with code {exit_code(error)}"


async def _collect(results: AsyncIterator[Any]) -> list[Any]:
    return [value async for value in results]


def _run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run it to its end, also where an event loop runs already, as in notebooks."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
