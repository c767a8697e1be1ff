"""Every error that the runtime raises, under its own name and under Ray's.

An exception raised by user code in a task or actor method arrives at ``get`` as a `TaskError`
that is *also* an instance of the user's own class, so that both ``except TaskError`` and
``except ValueError`` catch it, and whose text starts with the remote traceback.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType
from typing import Any


class CoreError(Exception):
    """Base of everything that the runtime raises on its own account."""


class RuntimeClosedError(CoreError):
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
        """This error as an instance of the user's exception class as well."""
        if self.cause is None or isinstance(self.cause, TaskError):
            return self
        try:
            dual: TaskError = _dual_class(type(self.cause))(self)
        except TypeError:  # a class that cannot be combined, e.g. a final one
            return self
        return dual

    def __str__(self) -> str:
        return f"{self.remote_traceback.rstrip()}\n(in {self.function}, process {self.pid})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _task_error, (self.function, self.remote_traceback, self.pid, self.cause)


def _without_runtime_frames(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame of user code on."""
    here = str(Path(__file__).parent)
    start = trace
    while start is not None and start.tb_frame.f_code.co_filename.startswith(here):
        start = start.tb_next
    return start or trace


def _task_error(
    function: str, remote_traceback: str, pid: int, cause: BaseException | None
) -> TaskError:
    return TaskError(function, remote_traceback, pid, cause)


def _dual_class(user_class: type[BaseException]) -> Any:
    """A subclass of both `TaskError` and the user's class, shown under the latter's name."""

    class Dual(TaskError, user_class):  # type: ignore[misc, valid-type]
        def __init__(self, error: TaskError) -> None:
            # The user's constructor may demand anything, so its state is copied, not rebuilt.
            TaskError.__init__(self, error.function, error.remote_traceback, error.pid, error.cause)
            self.__dict__.update(getattr(error.cause, "__dict__", {}))
            self.args = getattr(error.cause, "args", self.args)

        __str__ = TaskError.__str__

    Dual.__name__ = f"TaskError({user_class.__name__})"
    Dual.__qualname__ = Dual.__name__
    return Dual


class GetTimeoutError(CoreError, TimeoutError):
    """``get(timeout=...)`` ran out before the value was there."""


class WorkerCrashedError(CoreError):
    """The process that ran a task died; the text names it, its exit code or signal."""


class ActorError(CoreError):
    """An actor cannot answer."""


class ActorDiedError(ActorError):
    """The actor is dead: killed, crashed, or its constructor raised."""


class ObjectLostError(CoreError):
    """The value of a reference cannot be had any more."""


class OwnerDiedError(ObjectLostError):
    """The process that created the reference died, and the value with it."""


class ObjectStoreFullError(CoreError):
    """A put does not fit into ``object_store_memory``."""


RayError = CoreError
RaySystemError = RuntimeClosedError
RayTaskError = TaskError
RayActorError = ActorError
