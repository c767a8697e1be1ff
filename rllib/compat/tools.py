"""Small tools of RLlib's that its users' scripts import."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from rllib.absent import no_attribute
from rllib.columns import Columns
from rllib.compat.table import EPISODES

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
AnyT = TypeVar("AnyT")

FLOAT_MIN = -3.4e38
FLOAT_MAX = 3.4e38
"""RLlib's nearly greatest float32, which in sums does not become infinite."""


class SampleBatch(Columns):
    """The names of columns, which some scripts of the new API stack take from here.

    Raises:
        TypeError: it is made; says what a sample is here.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError(EPISODES)


def override(parent_cls: type) -> Callable[[FunctionT], FunctionT]:
    """Decorator that says of a method whose it replaces.

    Raises:
        NameError: ``parent_cls`` has no method of that name.
    """

    def decorator(method: FunctionT) -> FunctionT:
        if not hasattr(parent_cls, method.__name__):
            name, instead = parent_cls.__name__, getattr(parent_cls, "INSTEAD", {})
            why = no_attribute(name, method.__name__, dir(parent_cls), instead)
            raise NameError(f"@override({name}): {why}")
        return method

    return decorator


def annotation(obj: AnyT) -> AnyT:
    """Decorator that changes nothing: ``PublicAPI``, ``DeveloperAPI`` and their like."""
    return obj


def try_import_torch(error: bool = False) -> tuple[Any, Any]:
    """``torch`` and ``torch.nn``, which are always there."""
    import torch

    return torch, torch.nn


def check(
    x: Any,
    y: Any,
    decimals: int = 5,
    atol: float | None = None,
    rtol: float | None = None,
    false: bool = False,
) -> None:
    """Assert that two nested structures hold nearly the same numbers.

    Args:
        x: dicts, lists and tuples of numbers, arrays and tensors.
        y: what it should be.
        decimals: digits after the point that count, unless a tolerance is given.
        atol: absolute tolerance.
        rtol: relative tolerance.
        false: assert the opposite.

    Raises:
        AssertionError: they are not, with both in its message.
    """
    tolerances = {
        "atol": 10.0**-decimals if atol is None and rtol is None else atol or 0.0,
        "rtol": rtol or 0.0,
    }
    same = _close(x, y, tolerances)
    assert same is not false, f"{x!r} {'is' if false else 'is not'} {y!r} ({tolerances})"


def _close(x: Any, y: Any, tolerances: dict[str, float]) -> bool:
    if isinstance(x, dict):
        same_keys = isinstance(y, dict) and x.keys() == y.keys()
        return same_keys and all(_close(x[key], y[key], tolerances) for key in x)
    if isinstance(x, list | tuple):
        same_length = isinstance(y, list | tuple) and len(x) == len(y)
        return same_length and all(_close(a, b, tolerances) for a, b in zip(x, y, strict=True))
    if x is None or y is None or isinstance(x, str | bool):
        return bool(x == y)
    x, y = (np.asarray(each.detach() if hasattr(each, "detach") else each) for each in (x, y))
    return x.shape == y.shape and bool(np.allclose(x, y, equal_nan=True, **tolerances))
