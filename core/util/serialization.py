"""How values of a class are pickled, and why something cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

from rllib.core import reducers
from rllib.core.serialization import parts

__all__ = [
    "FailureTuple",
    "deregister_serializer",
    "inspect_serializability",
    "register_serializer",
]


def register_serializer(
    cls: type, *, serializer: Callable[[Any], Any], deserializer: Callable[[Any], Any]
) -> None:
    """Have values of class ``cls``, wherever they are nested, pickled as ``serializer(value)``.

    ``deserializer`` makes the value again, in any process: it travels along. The registration
    holds in this process and for this very class, not for its subclasses; a worker that sends
    such values registers for itself. Raises `TypeError` for what is no class or not callable.
    """
    if not isinstance(cls, type):
        raise TypeError(f"register_serializer takes a class, got {cls!r}")
    for name, given in (("serializer", serializer), ("deserializer", deserializer)):
        if not callable(given):
            raise TypeError(f"{name} must be callable, got {given!r}")
    reducers.register(cls, serializer, deserializer)


def deregister_serializer(cls: type) -> None:
    """Forget what was registered for ``cls``; does nothing where nothing was."""
    reducers.reducers.pop(cls, None)


@dataclass(frozen=True, eq=False)
class FailureTuple:
    """A part that cannot be pickled: itself, its name, and what it is a part of."""

    obj: Any
    name: str
    parent: Any


def inspect_serializability(
    base_obj: Any, name: str | None = None, depth: int = 3, print_file: TextIO | None = None
) -> tuple[bool, set[FailureTuple]]:
    """Look for what keeps ``base_obj`` from being pickled, and print the way there.

    Returns whether it can be pickled, and the innermost parts that cannot, looked for ``depth``
    levels deep. The text goes to ``print_file``, by default to standard output.
    """
    search = _Search(print_file)
    search.say(0, f"Checking whether {base_obj!r} can be pickled")
    sound = search.examine(
        base_obj, name or str(getattr(base_obj, "__name__", repr(base_obj))), depth
    )
    search.conclude(sound)
    return sound, search.failures


class _Search:
    """Goes down to the parts that fail."""

    def __init__(self, out: TextIO | None) -> None:
        self._out = out
        self.failures: set[FailureTuple] = set()

    def say(self, level: int, text: str) -> None:
        """Print a line, as deep as the part lies."""
        print("    " * level + text, file=self._out)

    def examine(
        self, value: Any, name: str, depth: int, parent: Any = None, level: int = 0
    ) -> bool:
        """Whether it can be pickled; if not, the innermost parts that cannot are noted."""
        try:
            reducers.code_dumps(value)
        except Exception as error:
            self.say(level, f"FAIL {name}: {error}")
        else:
            return True
        found = [
            not self.examine(part, part_name.lstrip("."), depth - 1, value, level + 1)
            for part_name, part in (parts(value) if depth else ())
        ]
        if not any(found):
            self.failures.add(FailureTuple(value, name, parent))
        return False

    def conclude(self, sound: bool) -> None:
        """Say what came of it."""
        if sound:
            self.say(0, "It can.")
        for failure in self.failures:
            owner = "" if failure.parent is None else f", a part of {failure.parent!r}"
            self.say(0, f"It cannot because of {failure.name} = {failure.obj!r}{owner}")
