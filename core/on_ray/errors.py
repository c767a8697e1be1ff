"""Ray's exceptions as ours: every class of Ray's has a namesake in `rllib.core.exceptions`."""

from __future__ import annotations

import re

import ray.exceptions

from rllib.core import exceptions
from rllib.core.exceptions import CoreError, TaskError

_COLOURS = re.compile(r"\x1b\[\d*m")
_HEAD = re.compile(r"ray::(?P<function>.+?)\(\) \(pid=(?P<pid>\d+)")
"""How Ray begins the story of an exception in a task."""


class translated:
    """What Ray raises within the block leaves it as an exception of ours; `StopIteration`, too,
    which a context manager that is a generator cannot let pass."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, ray.exceptions.RayError):
            raise translate(error) from None


def translate(error: BaseException) -> BaseException:
    """Our exception for one of Ray's; others are returned as they are."""
    if isinstance(error, ray.exceptions.RayTaskError):
        return _task_error(error)
    if not isinstance(error, ray.exceptions.RayError):
        return error
    text = _COLOURS.sub("", str(error)).strip()
    return _namesake(type(error))(text or "the call was cancelled")


def _task_error(error: ray.exceptions.RayTaskError) -> BaseException:
    cause = error.cause
    if isinstance(cause, TaskError):  # told by our own code in the worker
        return cause.as_user_error()
    if isinstance(cause, ray.exceptions.RayError):
        return translate(cause)
    story = _COLOURS.sub("", str(error))
    head = _HEAD.search(story)
    function, pid = (head["function"], int(head["pid"])) if head else ("a task of Ray's", 0)
    return TaskError(function, story, pid, cause).as_user_error()


def _namesake(kind: type[BaseException]) -> type[CoreError]:
    for base in kind.__mro__:
        ours = getattr(exceptions, base.__name__, None)
        if isinstance(ours, type) and issubclass(ours, CoreError):
            return ours
    return CoreError
