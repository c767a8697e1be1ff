"""When a wait is over: conditions on references."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from rllib.core.native.objects import NativeRef


def ready(refs: Sequence[Any], count: int) -> list[Any]:
    """The first ``count`` that have an outcome."""
    return list(itertools.islice((ref for ref in refs if ref.outcome is not None), count))


def known(refs: Sequence[Any], count: int) -> list[Any]:
    """The first ``count`` that have an outcome, here or on another node."""
    there = (ref for ref in refs if ref.outcome is not None or _is_away(ref))
    return list(itertools.islice(there, count))


def _is_away(ref: Any) -> bool:
    return isinstance(ref, NativeRef) and ref.is_away


def arrival(missing: list[Any], count: int, or_error: bool) -> Callable[[], bool]:
    """Whether ``count`` of the missing references are there, or one of them has failed."""
    awaited = list(missing)
    failures, has_failed = NativeRef.failures, False

    def failed() -> bool:
        nonlocal failures, has_failed
        if failures != NativeRef.failures:
            failures = NativeRef.failures
            has_failed = any(isinstance(ref.outcome, Exception) for ref in missing)
        return has_failed

    def all_there() -> bool:
        while awaited and awaited[-1].outcome is not None:
            awaited.pop()
        return not awaited or (or_error and failed())

    def enough_there() -> bool:
        return len(ready(awaited, count)) == count

    return all_there if count == len(missing) else enough_there
