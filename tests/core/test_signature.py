"""Calls that do not fit fail where they are made."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from rllib import core
from rllib.core.exceptions import ActorClassInheritanceException
from rllib.core.signature import method_signature, signature_of


def plain(a: int, b: int = 2) -> None: ...
def open_ended(a: int, *rest: int, key: int = 1, **more: int) -> None: ...
def named(a: int, *, key: int) -> None: ...


FITS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (plain, (1,), {}),
    (plain, (1, 2), {}),
    (plain, (1,), {"b": 3}),
    (plain, (), {"a": 1}),
    (open_ended, (1, 2, 3, 4), {"key": 1, "x": 2}),
    (named, (1,), {"key": 2}),
    (max, (1, 2), {"key": abs}),
]
DOES_NOT_FIT: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (plain, (), {}),
    (plain, (1, 2, 3), {}),
    (plain, (1,), {"c": 3}),
    (plain, (1,), {"a": 1}),
    (open_ended, (), {}),
    (named, (1,), {}),
    (named, (1, 2), {"key": 2}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), FITS)
def test_what_fits(function: Any, args: Any, kwargs: Any) -> None:
    signature = signature_of(function, "f")
    signature.check(args, kwargs)
    pickle.loads(pickle.dumps(signature)).check(args, kwargs)


@pytest.mark.parametrize(("function", "args", "kwargs"), DOES_NOT_FIT)
def test_what_does_not_fit(function: Any, args: Any, kwargs: Any) -> None:
    signature = signature_of(function, "f")
    for each in (signature, pickle.loads(pickle.dumps(signature))):
        with pytest.raises(TypeError, match=r"^f\("):
            each.check(args, kwargs)


def test_methods_are_seen_without_their_instance() -> None:
    class Thing:
        def method(self, a: int) -> None: ...
        @staticmethod
        def static(a: int) -> None: ...
        @classmethod
        def of_class(cls, a: int) -> None: ...

    for name in ("method", "static", "of_class"):
        signature = method_signature(Thing, name)
        signature.check((1,), {})
        with pytest.raises(TypeError, match=rf"^Thing\.{name}\(a\): too many"):
            signature.check((1, 2), {})


@pytest.mark.usefixtures("engine")
def test_remote_calls_are_checked_before_anything_is_sent() -> None:
    @core.remote
    class Counter:
        def __init__(self, start: int) -> None:
            self.n = start

        def add(self, k: int) -> int:
            return self.n + k

    with pytest.raises(TypeError, match="too many"):
        core.remote(plain).remote(1, 2, 3)
    with pytest.raises(TypeError, match="missing a required argument: 'start'"):
        Counter.remote()
    counter = Counter.remote(1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'j'"):
        counter.add.remote(1, j=1)
    assert core.get(counter.add.remote(k=1)) == 2


def test_an_actor_class_cannot_be_inherited_from() -> None:
    @core.remote
    class Base: ...

    with pytest.raises(ActorClassInheritanceException, match="plain class"):

        class Derived(Base): ...  # type: ignore[misc, valid-type]


def test_what_is_remote_is_not_made_remote_again() -> None:
    with pytest.raises(TypeError, match="already"):
        core.remote(core.remote(plain))
