"""What every actor can do besides its own methods, and how an actor ends itself."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from rllib.core.records import CallOptions
from rllib.core.signature import Signature, signature_of

if TYPE_CHECKING:
    from rllib.core.remote import ActorClass, ActorHandle, ActorMethod

__all__ = ["ActorClass", "ActorHandle", "ActorMethod", "exit_actor"]


def __getattr__(name: str) -> Any:
    """The classes of actors are made after this module, and found here by who knows Ray."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("rllib.core.remote"), name)


class ActorExit(SystemExit):
    """Raised by `exit_actor`: ends the process in order, and for good."""


def exit_actor() -> NoReturn:
    """End the actor that this is called in, after the call; it is not restarted.

    The call itself, and whatever comes later, gets `ActorDiedError`. Raises `TypeError` outside of
    an actor.
    """
    from rllib.core import api

    if api.runtime().where().actor_id is None:
        raise TypeError("exit_actor() was called outside of an actor")
    raise ActorExit(0)


def _ready(_instance: Any) -> bool:
    return True


def _call(instance: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(instance, *args, **kwargs)


def _terminate(_instance: Any) -> NoReturn:
    raise ActorExit(0)


TERMINATE = "__ray_terminate__"

BUILTINS: Mapping[str, Callable[..., Any]] = {
    "__ray_ready__": _ready,
    "__ray_call__": _call,
    TERMINATE: _terminate,
}
"""Methods of every actor, called with its instance first: whether it is constructed, a function
of the caller's to run with the instance, and the end after what came before."""

BUILTIN_METHODS: Mapping[str, CallOptions] = {name: CallOptions() for name in BUILTINS}
BUILTIN_SIGNATURES: Mapping[str, Signature] = {
    "__ray_ready__": signature_of(lambda: None, "__ray_ready__"),
    "__ray_call__": signature_of(lambda function, *args, **kwargs: None, "__ray_call__"),
    TERMINATE: signature_of(lambda: None, TERMINATE),
}


def bound_method(instance: Any, name: str) -> Callable[..., Any]:
    """The method of that name, built in or its own."""
    builtin = BUILTINS.get(name)
    if builtin is None:
        return getattr(instance, name)  # type: ignore[no-any-return]
    return lambda *args, **kwargs: builtin(instance, *args, **kwargs)
