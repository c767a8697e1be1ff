"""The living instances of a class: the collector knows them, so that nobody else must."""

from __future__ import annotations

import gc
from typing import Any, TypeVar

T = TypeVar("T")


def instances(kind: type[T]) -> list[T]:
    """All that there are in this process, also of subclasses."""
    found: list[Any] = gc.get_objects()
    return [each for each in found if issubclass(type(each), kind)]
