"""Whether arguments fit a function, found out where the call is made, not where it runs.

Binding a signature takes as long as a whole remote call, so it is taken apart once, into what can
be compared at a glance; only a call that does not fit at a glance is bound.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import Any

_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_MANY = 2**31


class Signature:
    """The parameters of a function, without annotations, and with ``...`` for every default.

    It is small when pickled, and does not bring along what a default refers to.
    """

    def __init__(self, name: str, parameters: Sequence[Parameter]) -> None:
        self._name = name
        self._signature = inspect.Signature(parameters)
        positional = [each for each in parameters if each.kind in _BY_POSITION]
        needs_names = any(e.kind is e.KEYWORD_ONLY and e.default is e.empty for e in parameters)
        open_ended = any(each.kind is each.VAR_POSITIONAL for each in parameters)
        self._least = _MANY if needs_names else sum(e.default is e.empty for e in positional)
        self._most = _MANY if open_ended else len(positional)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """In order; for a method without the instance."""
        return tuple(self._signature.parameters.values())

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Raise `TypeError` when the arguments do not fit."""
        if not kwargs and self._least <= len(args) <= self._most:
            return
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._name}{self._signature}: {error}") from None

    def __reduce__(self) -> Any:
        return _rebuild, (self._name, tuple(map(_facts, self.parameters)))


_Facts = tuple[str, int, bool]
"""Of a parameter: name, kind, whether it has a default."""


def _facts(parameter: Parameter) -> _Facts:
    return parameter.name, int(parameter.kind), parameter.default is not parameter.empty


_KINDS = {
    int(kind): kind
    for kind in (
        Parameter.POSITIONAL_ONLY,
        Parameter.POSITIONAL_OR_KEYWORD,
        Parameter.VAR_POSITIONAL,
        Parameter.KEYWORD_ONLY,
        Parameter.VAR_KEYWORD,
    )
}
_UNKNOWN: tuple[_Facts, ...] = (("args", 2, False), ("kwargs", 4, False))
"""Takes anything."""


def _rebuild(name: str, facts: Sequence[_Facts]) -> Signature:
    return Signature(
        name,
        [
            Parameter(each, _KINDS[kind], default=... if has_default else Parameter.empty)
            for each, kind, has_default in facts
        ],
    )


def signature_of(function: Callable[..., Any], name: str) -> Signature:
    """Of a function, or of a class and its constructor."""
    return _rebuild(name, _facts_of(function))


def method_signature(cls: type[Any], name: str) -> Signature:
    """Of a method, without the instance."""
    facts = _facts_of(getattr(cls, name))
    is_bound = isinstance(inspect.getattr_static(cls, name), (staticmethod, classmethod))
    takes_instance = not is_bound and bool(facts) and facts[0][1] in map(int, _BY_POSITION)
    return _rebuild(f"{cls.__name__}.{name}", facts[takes_instance:])


def _facts_of(function: Callable[..., Any]) -> tuple[_Facts, ...]:
    try:
        return tuple(map(_facts, inspect.signature(function).parameters.values()))
    except (ValueError, TypeError):  # some builtins have none; the call itself will tell
        return _UNKNOWN
