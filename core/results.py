"""What a call comes to: the values of its references, or the status that it exits with."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence, Sized
from types import GeneratorType
from typing import Any


def exit_code(error: SystemExit) -> int:
    """The status that ``sys.exit(...)`` asks for."""
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.stderr)
    return 1


def split_result(name: Callable[[], str], result: Any, num_returns: int) -> Sequence[Any]:
    """A task's result as ``num_returns`` values; of a generator, as many as asked for.

    Where the count differs, it raises `ValueError` or `TypeError` with the task's ``name``.
    """
    if num_returns == 1 and not isinstance(result, GeneratorType):
        return (result,)
    if num_returns == 0:
        return ()
    if isinstance(result, GeneratorType):
        result = tuple(itertools.islice(result, num_returns))
    if not isinstance(result, Sized):
        kind = type(result).__name__
        raise TypeError(f"{name()} was to return {num_returns} values (num_returns), got a {kind}")
    if len(result) != num_returns:
        raise ValueError(
            f"{name()} was to return {num_returns} values (num_returns), got {len(result)}"
        )
    return tuple(result)  # type: ignore[arg-type]
