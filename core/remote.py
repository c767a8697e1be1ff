"""What a remote call looks like: ``@remote``, ``.remote()``, ``.options()``, actor handles."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, overload

from rllib.core import api
from rllib.core.actor import BUILTIN_METHODS, BUILTIN_SIGNATURES
from rllib.core.exceptions import ActorClassInheritanceException, PendingCallsLimitExceeded
from rllib.core.generator import ObjectRefGenerator
from rllib.core.options import (
    actor_options,
    call_options,
    max_pending_calls,
    max_task_retries,
    task_options,
)
from rllib.core.records import (
    STREAMING,
    ActorOptions,
    ActorShape,
    CallOptions,
    RemoteCode,
    TaskOptions,
)
from rllib.core.runtime import ActorLink
from rllib.core.serialization import dump_remote
from rllib.core.signature import Signature, method_signature, signature_of

if TYPE_CHECKING:
    from rllib.core.ids import ActorID


def _returned(refs: list[Any]) -> Any:
    """One reference alone, several as a list, none as ``None``."""
    if len(refs) == 1:
        return refs[0]
    return refs or None


def _remote_code(target: Any, name: str, is_async: bool = False) -> RemoteCode:
    """Pickled at the first call, when its globals are complete."""
    blob, captures = dump_remote(target)
    return RemoteCode(
        target, name, blob, is_async, weakref.ref(api.runtime()) if captures else None
    )


def _is_foreign(code: RemoteCode) -> bool:
    """Whether it refers to what belonged to a runtime that has ended."""
    return code.home is not None and code.home() is not api.current()


def _is_generator(function: Any) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


class RemoteFunction:
    """A function whose calls run as tasks: ``f.remote(...)`` returns at once with a reference."""

    def __init__(
        self,
        function: Callable[..., Any],
        given: Mapping[str, Any],
        code: RemoteCode | None = None,
        signature: Signature | None = None,
    ) -> None:
        self._function = function
        self._given = dict(given)
        self._options: TaskOptions = task_options(given, is_generator=_is_generator(function))
        self._code = code
        self.__name__ = getattr(function, "__name__", repr(function))
        self._signature = signature or signature_of(function, self.__name__)
        self.__doc__ = function.__doc__

    def remote(self, /, *args: Any, **kwargs: Any) -> Any:
        """Start the task.

        Returns a reference, a list of them (``num_returns`` > 1), ``None`` (0), or for a generator
        an `ObjectRefGenerator`. Raises `TypeError` for arguments that do not fit.
        """
        self._signature.check(args, kwargs)
        if self._code is None or _is_foreign(self._code):
            self._code = _remote_code(self._function, self.__name__)
        if self._options.num_returns == STREAMING:
            stream = api.runtime().stream(self._code, args, kwargs, self._options)
            return ObjectRefGenerator(stream)
        return _returned(api.runtime().submit(self._code, args, kwargs, self._options))

    def options(self, **given: Any) -> RemoteFunction:
        """The same function with other options. Raises `ValueError` for ``max_calls``."""
        if "max_calls" in given:  # it counts what a worker does, not what a caller wants
            raise ValueError("max_calls can only be set by @remote(...), not by options()")
        return RemoteFunction(self._function, {**self._given, **given}, self._code, self._signature)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse, and say what to write instead."""
        raise TypeError(
            f"{self.__name__} is a remote function and cannot be called directly; "
            f"use {self.__name__}.remote(...)"
        )

    def __reduce__(self) -> Any:
        # A function that calls itself is not complete yet where this is unpickled within it.
        return RemoteFunction, (self._function, self._given, None, self._signature)


class ActorClass:
    """A class whose instances live in processes of their own: ``Cls.remote(...)`` starts one."""

    def __init__(
        self,
        cls: type[Any],
        given: Mapping[str, Any],
        code: RemoteCode | None = None,
        known: tuple[Signature, ActorShape] | None = None,
    ) -> None:
        self._cls = cls
        self._given = dict(given)
        self._options: ActorOptions = actor_options(given)
        self._signature, self._shape = known or (
            signature_of(cls, cls.__name__),
            _shape(cls, given, self._options),
        )
        self._code = code
        self.__name__ = cls.__name__
        self.__doc__ = cls.__doc__

    def remote(self, /, *args: Any, **kwargs: Any) -> ActorHandle:
        """Start an actor; errors of its constructor surface at its first call.

        Raises `TypeError` for arguments that do not fit.
        """
        self._signature.check(args, kwargs)
        if self._code is None or _is_foreign(self._code):
            self._code = _remote_code(self._cls, self.__name__, _is_async(self._cls))
        link = api.runtime().create_actor(self._code, self._shape, args, kwargs, self._options)
        return ActorHandle(link, self._shape)

    def options(self, **given: Any) -> ActorClass:
        """The same class with other options. Raises `ValueError` for ``concurrency_groups``."""
        if "concurrency_groups" in given:  # methods name them, so they belong to the class
            raise ValueError("concurrency_groups can only be set by @remote(...), not by options()")
        return ActorClass(self._cls, {**self._given, **given}, self._code)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse, and say what to write instead."""
        raise TypeError(
            f"{self.__name__} is an actor class and cannot be instantiated directly; "
            f"use {self.__name__}.remote(...)"
        )

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        raise ActorClassInheritanceException(
            f"{self.__name__} is an actor class and cannot be inherited from; make a plain class "
            "of it, inherit from that, and apply @remote to the classes to be used"
        )

    def __reduce__(self) -> Any:
        # A class that makes actors of its own has no methods yet where this is unpickled within it.
        return _restore_class, (self._cls, self._given, self._signature, self._shape.dump())


def _restore_class(
    cls: type[Any], given: Mapping[str, Any], signature: Signature, shape: bytes
) -> ActorClass:
    return ActorClass(cls, given, known=(signature, ActorShape.load(shape)))


def _methods(cls: type[Any]) -> list[tuple[str, Any]]:
    return [
        (name, member)
        for name, member in inspect.getmembers(cls, callable)
        if not name.startswith("__") or (inspect.isfunction(member) and name != "__init__")
    ]


def _is_async(cls: type[Any]) -> bool:
    return any(
        inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member)
        for _, member in _methods(cls)
    )


def _shape(cls: type[Any], given: Mapping[str, Any], options: ActorOptions) -> ActorShape:
    """What handles are to know of the class. Raises `ValueError` for a group that is not there."""
    retries = max_task_retries(given)
    methods = dict(BUILTIN_METHODS)
    signatures = dict(BUILTIN_SIGNATURES)
    for name, member in _methods(cls):
        signatures[name] = method_signature(cls, name)
        generator = _is_generator(member)
        defaults = CallOptions(
            num_returns=STREAMING if generator else 1,
            is_generator=generator,
            max_task_retries=retries,
        )
        methods[name] = call_options(getattr(member, "__call_options__", {}), defaults)
        _check_group(methods[name].concurrency_group, options.concurrency_groups)
    groups = tuple(options.concurrency_groups)
    return ActorShape(cls.__name__, methods, signatures, groups, max_pending_calls(given))


def _check_group(name: str, groups: Collection[str]) -> None:
    if name and name not in groups:
        known = ", ".join(map(repr, groups)) or "none"
        raise ValueError(f"there is no concurrency group {name!r} in this actor; it has {known}")


class ActorMethod:
    """A method of a living actor: ``handle.method.remote(...)``."""

    __slots__ = ("_link", "_name", "_options", "_shape", "_signature")

    def __init__(self, link: ActorLink, shape: ActorShape, name: str, options: CallOptions) -> None:
        self._link = link  # not the handle, which knows its methods: they would outlive their use
        self._shape = shape
        self._name = name
        self._options = options
        self._signature = shape.signatures[name]

    def remote(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call it.

        Returns a reference, a list of them (``num_returns`` > 1), ``None`` (0), or for a generator
        an `ObjectRefGenerator`. Raises `TypeError` for arguments that do not fit, and
        `PendingCallsLimitExceeded`.
        """
        self._signature.check(args, kwargs)
        runtime = api.runtime()
        if self._shape.max_pending_calls > 0:
            self._check_pending(runtime.pending_calls(self._link))
        options = self._options
        if options.num_returns == STREAMING:
            stream = runtime.stream_call(self._link, self._name, args, kwargs, options)
            return ObjectRefGenerator(stream)
        refs = runtime.call(self._link, self._name, args, kwargs, options)
        return refs[0] if len(refs) == 1 else (refs or None)

    def options(self, **given: Any) -> ActorMethod:
        """The same method with other options. Raises `ValueError` or `TypeError` naming one."""
        options = call_options(given, self._options)
        _check_group(options.concurrency_group, self._shape.groups)
        return ActorMethod(self._link, self._shape, self._name, options)

    def _check_pending(self, pending: int) -> None:
        if pending >= self._shape.max_pending_calls:
            actor = _actor_text(self._link, self._shape)
            raise PendingCallsLimitExceeded(
                f"{pending} calls of {actor} are unanswered, as many as its max_pending_calls "
                "allows; get some of their results first"
            )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse, and say what to write instead."""
        raise TypeError(
            f"{self._name} is a method of an actor and cannot be called directly; "
            f"use .{self._name}.remote(...)"
        )

    def __reduce__(self) -> Any:
        handle = ActorHandle(self._link, self._shape)
        return _restore_method, (handle, self._name, self._options)


class ActorHandle:
    """A living actor. Picklable: hand it to tasks and other actors.

    The actor ends when the last handle is gone, wherever handles went.
    """

    def __init__(self, link: ActorLink, shape: ActorShape) -> None:
        self._link = link
        self._shape = shape

    def __getattr__(self, name: str) -> ActorMethod:
        shape: ActorShape | None = self.__dict__.get("_shape")
        options = None if shape is None else shape.methods.get(name)
        if options is None:
            class_name = "?" if shape is None else shape.class_name
            raise AttributeError(f"actor class {class_name} has no method {name!r}")
        assert shape is not None
        method = self.__dict__[name] = ActorMethod(self._link, shape, name, options)
        return method  # from now on it is found without coming here

    @property
    def _actor_id(self) -> ActorID:
        from rllib.core.ids import ActorID

        return ActorID(self._link.actor_id)

    def __repr__(self) -> str:
        return _actor_text(self._link, self._shape)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorHandle) and self._link.actor_id == other._link.actor_id

    def __hash__(self) -> int:
        return hash(self._link.actor_id)

    def __copy__(self) -> ActorHandle:
        """Itself: what it refers to is one actor, however often it is copied."""
        return self

    def __deepcopy__(self, memo: object) -> ActorHandle:
        return self

    def __reduce__(self) -> Any:
        state = api.runtime().actor_reduce(self._link)
        return _restore_handle, (state, self._shape.dump())


def _actor_text(link: ActorLink, shape: ActorShape) -> str:
    return f"Actor({shape.class_name}, {link.actor_id.hex()[:16]})"


def _restore_handle(state: tuple[Any, ...], shape: bytes) -> ActorHandle:
    return ActorHandle(api.runtime().actor_restore(state), ActorShape.load(shape))


def _restore_method(handle: ActorHandle, name: str, options: CallOptions) -> ActorMethod:
    return ActorMethod(handle._link, handle._shape, name, options)


def method(**given: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Set defaults of an actor's method: ``@method(num_returns=2)``.

    Takes ``num_returns``, ``concurrency_group``, ``max_task_retries``, ``retry_exceptions``,
    ``name``. Raises `ValueError` or `TypeError` naming what is wrong.
    """
    call_options(given, CallOptions(is_generator=True))

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__call_options__ = given  # type: ignore[attr-defined]
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
    if isinstance(target, (RemoteFunction, ActorClass)):
        raise TypeError(f"{target.__name__} is remote already; use .options(...) to change it")
    if inspect.isclass(target):
        return ActorClass(target, options)
    if inspect.iscoroutinefunction(target):
        raise ValueError(f"{target.__name__} is async; only methods of actors may be async")
    if not callable(target):
        raise TypeError(f"remote decorates functions and classes, not {target!r}")
    return RemoteFunction(target, options)
