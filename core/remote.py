"""What a remote call looks like: ``@remote``, ``.remote()``, ``.options()``, actor handles."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, overload

from rllib.core import api
from rllib.core.options import actor_options, task_options
from rllib.core.runtime import ActorLink, ActorOptions, RemoteCode, TaskOptions
from rllib.core.serialization import dump_code


def _returned(refs: list[Any]) -> Any:
    """One reference alone, several as a list, none as ``None``."""
    if len(refs) == 1:
        return refs[0]
    return refs or None


class RemoteFunction:
    """A function whose calls run as tasks: ``f.remote(...)`` returns at once with a reference."""

    def __init__(
        self, function: Callable[..., Any], given: Mapping[str, Any], code: RemoteCode | None = None
    ) -> None:
        self._function = function
        self._given = dict(given)
        self._options: TaskOptions = task_options(given)
        self._code = code
        self.__name__ = getattr(function, "__name__", repr(function))
        self.__doc__ = function.__doc__

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Start the task; a reference, a list of them (``num_returns`` > 1) or ``None`` (0)."""
        if self._code is None:  # pickled at the first call, when its globals are complete
            self._code = RemoteCode(self._function, self.__name__, dump_code(self._function))
        return _returned(api.runtime().submit(self._code, args, kwargs, self._options))

    def options(self, **given: Any) -> RemoteFunction:
        """The same function with other options."""
        return RemoteFunction(self._function, {**self._given, **given}, self._code)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse, and say what to write instead."""
        raise TypeError(
            f"{self.__name__} is a remote function and cannot be called directly; "
            f"use {self.__name__}.remote(...)"
        )

    def __reduce__(self) -> Any:
        return RemoteFunction, (self._function, self._given)


class ActorClass:
    """A class whose instances live in processes of their own: ``Cls.remote(...)`` starts one."""

    def __init__(
        self, cls: type[Any], given: Mapping[str, Any], code: RemoteCode | None = None
    ) -> None:
        self._cls = cls
        self._given = dict(given)
        self._options: ActorOptions = actor_options(given)
        self._code = code
        self.__name__ = cls.__name__
        self.__doc__ = cls.__doc__

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle:
        """Start an actor; errors of its constructor surface at its first call."""
        if self._code is None:
            self._code = _actor_code(self._cls)
        link = api.runtime().create_actor(self._code, args, kwargs, self._options)
        return ActorHandle(link, self._code.name, self._code.methods)

    def options(self, **given: Any) -> ActorClass:
        """The same class with other options."""
        return ActorClass(self._cls, {**self._given, **given}, self._code)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse, and say what to write instead."""
        raise TypeError(
            f"{self.__name__} is an actor class and cannot be instantiated directly; "
            f"use {self.__name__}.remote(...)"
        )

    def __reduce__(self) -> Any:
        return ActorClass, (self._cls, self._given)


def _actor_code(cls: type[Any]) -> RemoteCode:
    members = [
        (name, member)
        for name, member in inspect.getmembers(cls, callable)
        if not name.startswith("__") or name == "__call__"
    ]
    returns = {name: getattr(member, "__num_returns__", 1) for name, member in members}
    is_async = any(inspect.iscoroutinefunction(member) for _, member in members)
    return RemoteCode(cls, cls.__name__, dump_code(cls), returns, is_async)


class ActorMethod:
    """A method of a living actor: ``handle.method.remote(...)``."""

    __slots__ = ("_handle", "_link", "_name", "_num_returns")

    def __init__(self, handle: ActorHandle, name: str, num_returns: int) -> None:
        self._handle = handle  # the actor lives as long as somebody can call it
        self._link = handle._link
        self._name = name
        self._num_returns = num_returns

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Call it; a reference, a list of them (``num_returns`` > 1) or ``None`` (0)."""
        runtime = api.runtime()
        refs = runtime.call(self._link, self._name, args, kwargs, self._num_returns)
        return refs[0] if len(refs) == 1 else (refs or None)

    def options(self, *, num_returns: int | None = None) -> ActorMethod:
        """The same method with another number of returns."""
        count = self._num_returns if num_returns is None else num_returns
        return ActorMethod(self._handle, self._name, count)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse, and say what to write instead."""
        raise TypeError(
            f"{self._name} is a method of an actor and cannot be called directly; "
            f"use .{self._name}.remote(...)"
        )


class ActorHandle:
    """A living actor. Picklable: hand it to tasks and other actors.

    The actor ends when the last handle is gone, wherever handles went.
    """

    def __init__(self, link: ActorLink, class_name: str, methods: Mapping[str, int]) -> None:
        self._link = link
        self._class_name = class_name
        self._methods = methods

    def __getattr__(self, name: str) -> ActorMethod:
        methods = self.__dict__.get("_methods", {})
        if name not in methods:
            raise AttributeError(f"actor class {self._class_name} has no method {name!r}")
        return ActorMethod(self, name, methods[name])

    def __repr__(self) -> str:
        return f"Actor({self._class_name}, {self._link.actor_id.hex()[:16]})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorHandle) and self._link.actor_id == other._link.actor_id

    def __hash__(self) -> int:
        return hash(self._link.actor_id)

    def __reduce__(self) -> Any:
        state = api.runtime().actor_reduce(self._link)
        return _restore_handle, (state, self._class_name, dict(self._methods))


def _restore_handle(
    state: tuple[Any, ...], class_name: str, methods: Mapping[str, int]
) -> ActorHandle:
    return ActorHandle(api.runtime().actor_restore(state), class_name, methods)


def method(*, num_returns: int = 1) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Set defaults of an actor's method: ``@method(num_returns=2)``."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__num_returns__ = num_returns  # type: ignore[attr-defined]
        return function

    return mark


@overload
def remote(target: type[Any]) -> ActorClass: ...
@overload
def remote(target: Callable[..., Any]) -> RemoteFunction: ...
@overload
def remote(**options: Any) -> Callable[[Any], Any]: ...
def remote(target: Any = None, **options: Any) -> Any:
    """Make a function a task and a class an actor class: ``@remote`` or ``@remote(num_cpus=2)``.

    Raises `TypeError` for ``@remote()`` without options, as Ray does.
    """
    if target is not None:
        if options or not callable(target):
            raise TypeError("remote takes a function or class, or keyword options, not both")
        return _decorate(target, {})
    if not options:
        raise TypeError("use @remote without parentheses, or with options: @remote(num_cpus=1)")
    return lambda decorated: _decorate(decorated, options)


def _decorate(target: Any, options: Mapping[str, Any]) -> RemoteFunction | ActorClass:
    if inspect.isclass(target):
        return ActorClass(target, options)
    if inspect.iscoroutinefunction(target):
        raise ValueError(f"{target.__name__} is async; only methods of actors may be async")
    if not callable(target):
        raise TypeError(f"remote decorates functions and classes, not {target!r}")
    return RemoteFunction(target, options)
