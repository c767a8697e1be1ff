"""Every error that the runtime raises, under its own name and under Ray's.

An exception raised by user code in a task or actor method arrives at ``get`` as a `TaskError`
that is *also* an instance of the user's own class, so that both ``except TaskError`` and
``except ValueError`` catch it, and whose text starts with the remote traceback.
"""

from __future__ import annotations

import contextlib
import copy
import traceback
from pathlib import Path
from types import GetSetDescriptorType, MemberDescriptorType, TracebackType
from typing import Any

import cloudpickle

causes_pickler: Any = cloudpickle
"""Pickles the exceptions of user code. An engine that pickles all else by a cloudpickle of its own
puts that here: only the one that has pickled a local class knows it again."""


class CoreError(Exception):
    """Base of everything that the runtime raises on its own account."""


class CoreSystemError(CoreError):
    """The runtime itself cannot go on with what was asked of it."""


class RuntimeClosedError(CoreSystemError):
    """The runtime was shut down, or its node service is gone."""


class TaskError(CoreError):
    """User code raised in a task, a method or a constructor.

    Attributes: ``function`` (its name), ``remote_traceback`` (text), ``pid`` of the process that
    ran it, and ``cause``, the user's exception where it could be pickled, else ``None``.
    """

    def __init__(
        self, function: str, remote_traceback: str, pid: int, cause: BaseException | None = None
    ) -> None:
        self.function = function
        self.remote_traceback = remote_traceback
        self.pid = pid
        self.cause = cause
        self._blob: bytes | None = None
        super().__init__(function, remote_traceback, pid)

    @classmethod
    def from_exception(cls, function: str, error: BaseException, pid: int) -> TaskError:
        """Describe ``error``, caught in user code, for the process that waits for the result."""
        if isinstance(error, TaskError):  # a get() inside the task failed: keep the first story
            text = f"{error.remote_traceback.rstrip()}\n(raised through {function})"
            return cls(function, text, pid, error.cause)
        own = _without_runtime_frames(error.__traceback__)
        text = "".join(traceback.format_exception(type(error), error, own))
        return cls(function, text, pid, error)

    def as_user_error(self) -> TaskError:
        """A new instance of this error, of the user's exception class as well where possible."""
        plain = TaskError(self.function, self.remote_traceback, self.pid, self.cause)
        plain._blob = self._blob
        if self.cause is None or isinstance(self.cause, TaskError):
            return plain
        try:
            dual: TaskError = _dual_class(type(self.cause))(self)
        except Exception:  # a class that cannot be combined, e.g. a final one
            return plain
        return dual

    as_instanceof_cause = as_user_error
    """Ray's name of it."""

    def __str__(self) -> str:
        return f"{self.remote_traceback.rstrip()}\n(in {self.function}, process {self.pid})"

    def __reduce__(self) -> tuple[Any, ...]:
        blob = self._blob  # as it came: a process in between need not know its classes
        if blob is None and self.cause is not None:
            blob = _dump_cause(self.cause)
        return _task_error, (self.function, self.remote_traceback, self.pid, blob)


def _without_runtime_frames(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame of user code on."""
    here = str(Path(__file__).parent)
    start = trace
    while start is not None and start.tb_frame.f_code.co_filename.startswith(here):
        start = start.tb_next
    return start or trace


def _dump_cause(cause: BaseException) -> bytes | None:
    """The user's exception in a stream of its own, so that the story outlives what cannot be
    pickled here or unpickled there."""
    try:
        blob: bytes = causes_pickler.dumps(cause, 5)
    except Exception:
        return None
    return blob


def _task_error(function: str, remote_traceback: str, pid: int, blob: bytes | None) -> TaskError:
    try:
        cause = None if blob is None else causes_pickler.loads(blob)
    except Exception:  # e.g. a constructor that wants other arguments than ``args``
        cause = None
    error = TaskError(function, remote_traceback, pid, cause)
    error._blob = blob
    return error


def to_raise(error: Exception) -> Exception:
    """A new instance of a stored error: one that is raised twice collects tracebacks, and keeps
    alive what their frames hold."""
    if isinstance(error, TaskError):
        return error.as_user_error()
    fresh = copy.copy(error)
    fresh.__cause__ = error.__cause__
    return fresh


def _dual_class(user_class: type[BaseException]) -> Any:
    """A subclass of both `TaskError` and the user's class, shown under the latter's name."""

    class Dual(TaskError, user_class):  # type: ignore[misc, valid-type]
        def __init__(self, error: TaskError) -> None:
            # The user's constructor may demand anything, so its state is copied, not rebuilt.
            _copy_state(error.cause, self)
            for name in ("function", "remote_traceback", "pid", "cause", "_blob"):
                setattr(self, name, getattr(error, name))

        __str__ = TaskError.__str__

    if issubclass(user_class, BaseExceptionGroup):
        Dual.__new__ = _new_group  # type: ignore[method-assign]
    Dual.__name__ = f"TaskError({user_class.__name__})"
    Dual.__qualname__ = Dual.__name__
    return Dual


def _new_group(cls: Any, error: TaskError) -> Any:
    """A group is made with its members."""
    cause = error.cause
    assert isinstance(cause, BaseExceptionGroup)
    members = [_of_user(each) for each in cause.exceptions]
    return BaseExceptionGroup.__new__(cls, cause.message, members)


def _of_user(error: BaseException) -> BaseException:
    return error.as_user_error() if isinstance(error, TaskError) else error


def _copy_state(source: Any, target: Any) -> None:
    """Copy attributes, also those that live in slots, as ``errno`` of an `OSError` does."""
    target.__dict__.update(getattr(source, "__dict__", {}))
    for cls in type(source).__mro__:
        for name, member in vars(cls).items():
            in_slot = isinstance(member, (MemberDescriptorType, GetSetDescriptorType))
            if in_slot and not name.startswith("__"):
                with contextlib.suppress(AttributeError, TypeError):  # not set, or read-only
                    setattr(target, name, getattr(source, name))


class GetTimeoutError(CoreError, TimeoutError):
    """``get(timeout=...)`` ran out before the value was there."""


class TaskCancelledError(CoreError):
    """`cancel` stopped the call, or kept it from beginning."""


class WorkerCrashedError(CoreError):
    """The process that ran a task died; the text names it, its exit code or signal."""


class NodeDiedError(CoreError):
    """The machine that ran a task or an actor is gone."""


class LocalNodeDiedError(CoreError):
    """The node service of this machine is gone."""


class OutOfMemoryError(CoreError):
    """A worker was ended because the machine ran out of memory."""


class RuntimeEnvSetupError(CoreError):
    """The ``runtime_env`` of a task or actor could not be set up."""


class TaskUnschedulableError(CoreError):
    """No node can ever run the task."""


class TaskPlacementGroupRemoved(CoreError):
    """The placement group of a task was removed."""


class StreamReplayError(CoreSystemError):
    """A generator that was run again yielded another number of results than before."""


# -- actors ----------------------------------------------------------------------------------------


class ActorError(CoreError):
    """An actor cannot answer."""


class ActorDiedError(ActorError):
    """The actor is dead: killed, crashed, or its constructor raised, which then is the cause."""


class ActorUnavailableError(ActorError):
    """The actor's process died while it had the call; the actor is being restarted."""


class ActorUnschedulableError(CoreError):
    """No node can ever run the actor."""


class ActorPlacementGroupRemoved(CoreError):
    """The placement group of an actor was removed."""


class PendingCallsLimitExceeded(CoreError):
    """As many calls of the actor are unanswered as its ``max_pending_calls`` allows."""


class ActorAlreadyExistsError(CoreError, ValueError):
    """A living actor has that name already."""


class ActorClassInheritanceException(CoreError, TypeError):
    """A class inherits from an actor class."""


class ActorHandleNotFoundError(CoreError, ValueError):
    """The handle belongs to another runtime."""


# -- objects ---------------------------------------------------------------------------------------


class ObjectLostError(CoreError):
    """The value of a reference cannot be had any more."""


class ForeignReferenceError(ObjectLostError, ValueError):
    """The reference belongs to a runtime that was shut down, or to none of this process."""


class OwnerDiedError(ObjectLostError):
    """The process that created the reference died, and the value with it."""


class ObjectFreedError(ObjectLostError):
    """The value was freed although references to it are left."""


class ObjectFetchTimedOutError(ObjectLostError):
    """The value could not be copied from another node in time."""


class ObjectReconstructionFailedError(ObjectLostError):
    """The value was lost, and the task that made it may not be run again."""


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """The value was freed too early: a defect of the runtime."""


class ObjectStoreFullError(CoreError):
    """A value does not fit into ``object_store_memory``."""


class OutOfDiskError(CoreError):
    """A value had to be spilled to disk, and the disk did not take it."""


# -- Ray's names, where ours differ ----------------------------------------------------------------

RayError = CoreError
RaySystemError = CoreSystemError
RayTaskError = TaskError
RayActorError = ActorError
LocalRayletDiedError = LocalNodeDiedError
StreamingGeneratorReplayInconsistentError = StreamReplayError
