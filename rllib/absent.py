"""An attribute that there is not is an error that names the nearest, or what there is instead."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from rllib.config.names import nearest


def no_attribute(owner: str, name: str, known: Iterable[str], instead: Mapping[str, str]) -> str:
    """What to say of ``owner.name``.

    Args:
        owner: name of the class.
        name: what was asked for.
        known: public names that there are.
        instead: what there is instead of names of RLlib's.
    """
    if name in instead:
        return f"{owner}.{name} is not supported: {instead[name]}"
    near = nearest(name, (each for each in known if not each.startswith("_")))
    hint = f"; did you mean {near!r}?" if near else ""
    return f"{owner!r} object has no attribute {name!r}{hint}"


def refuse_overrides(cls: type, instead: Mapping[str, str]) -> None:
    """Refuse a subclass with methods that RLlib would call and nobody calls here.

    Args:
        cls: the subclass.
        instead: what there is instead of such methods.

    Raises:
        TypeError: it has one; left alone, it would be ignored without a word.
    """
    for name in instead.keys() & vars(cls).keys():
        if callable(vars(cls)[name]):
            raise TypeError(f"{cls.__name__}.{name} would never be called: {instead[name]}")


def refuse_arguments(call: str, given: Mapping[str, Any], instead: Mapping[str, str]) -> None:
    """Refuse arguments of RLlib's that a method does not have, unless they ask for nothing.

    Args:
        call: ``EnvRunner.sample``.
        given: arguments that the method does not know, by name.
        instead: what there is instead of those that RLlib's has.

    Raises:
        TypeError: there is one.
    """
    for name, value in given.items():
        if value is None or (value is False and name in instead):
            continue
        hint = instead.get(name, "there is no such argument")
        raise TypeError(f"{call}({name}=...) is not supported: {hint}")


class NamesNearest:
    """Mixin of classes with RLlib's names.

    Attributes:
        INSTEAD: what there is instead of RLlib's names that are missing.
    """

    INSTEAD: ClassVar[Mapping[str, str]] = {}

    if not TYPE_CHECKING:  # checkers would take every attribute to be there

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):  # asked for by copy and pickle, before there is anything
                raise AttributeError(name)
            known = {*dir(type(self)), *vars(self)}
            raise AttributeError(no_attribute(type(self).__name__, name, known, self.INSTEAD))
