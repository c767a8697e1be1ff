"""RLlib's import paths: ``from ray.rllib.X import Y`` works as ``from rllib.X import Y``.

::

    import rllib.core.rl_module       a module of RLlib's: its names are found on first use
    from rllib.core import Columns    a name of RLlib's in a package of ours: put there on demand
    import rllib.callbacks.callbacks  a module of RLlib's below one of ours, which is no package

An import hook does it rather than files, because ``rllib.core`` is the runtime, which knows nothing
of RL, and an algorithm is one file. It costs nothing until such a path is imported.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, cast

from rllib.compat.table import ABSENT, ABSENT_NAMES, ALIASES

_PARENTS = frozenset(
    path.rsplit(".", depth)[0]
    for path in (*ALIASES, *ABSENT, *ABSENT_NAMES)
    for depth in range(path.count(".") + 1)
)
"""Every module of the table and all that are above one."""


class AliasModule(ModuleType):
    """A module of RLlib's whose names are found on first use.

    Importing puts it into its parent, where ``rllib.algorithms.ppo.torch`` takes the place of torch
    itself: what an algorithm's file looks for there is found as well.

    Args:
        name: the whole path.
        shadowed: what stood in its place.
    """

    def __init__(self, name: str, shadowed: Any = None) -> None:
        super().__init__(name)
        self._shadowed = shadowed

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":  # of ``from module import *``
            return dir(self)
        try:
            value = resolve(self.__name__, name)
        except AttributeError:
            if not hasattr(self._shadowed, name):
                raise
            value = getattr(self._shadowed, name)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        names = ALIASES.get(self.__name__, {})
        home = import_module(names["*"]).__all__ if "*" in names else ()
        return sorted({*names, *home} - {"*"})


def resolve(module: str, name: str) -> Any:
    """What RLlib's ``module`` has under ``name``.

    Raises:
        AttributeError: nothing that is known here.
        ImportError: it is known that there is not; says what to do instead.
    """
    table = ALIASES.get(module, {})
    home, _, attribute = table.get(name, table.get("*", "")).partition(":")
    if name in ABSENT_NAMES.get(module, ()):
        raise ImportError(f"no {name!r} in {module!r}: {ABSENT_NAMES[module][name]}", name=module)
    if not home or name.startswith("_"):
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    return getattr(import_module(home), attribute or name)


class AliasFinder:
    """Finds RLlib's modules; goes before the other finders, which it asks for real ones."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module of RLlib's, or of one of ours that such modules lie below."""
        if not name.startswith("rllib."):
            return None
        parent, _, child = name.rpartition(".")
        if child in ALIASES.get(parent, ()):
            _put(parent, child)
            return None
        if name in ABSENT or name in _PARENTS:
            return self._package(name, self._real(name, path, target))
        if parent not in _PARENTS:
            return None
        real = self._real(name, path, target)
        if real is None:
            _refuse(parent, child)
        return real

    def _real(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        others = [finder for finder in sys.meta_path if finder is not self]
        specs = (finder.find_spec(name, path, target) for finder in others)
        return next((spec for spec in specs if spec), None)

    def _package(self, name: str, real: ModuleSpec | None) -> ModuleSpec:
        if real is None and name in ABSENT:
            raise _not_found(name, f"no module {name!r}: {ABSENT[name]}")
        spec = real or ModuleSpec(name, cast(Any, self), is_package=True)
        if spec.submodule_search_locations is None:
            spec.submodule_search_locations = []
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty module."""
        parent, _, child = spec.name.rpartition(".")
        return AliasModule(spec.name, vars(sys.modules[parent]).get(child))

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: names are found on first use."""


def _not_found(name: str, message: str) -> ModuleNotFoundError:
    """The error, named after the parent: ``from parent import name`` drops one about ``name``."""
    return ModuleNotFoundError(message, name=name.rpartition(".")[0])


def _refuse(parent: str, child: str) -> None:
    """Say what there is instead of ``parent.child``, be it a module or a name."""
    from rllib.compat.unknown import what_instead  # loads what only an error needs

    if not child.startswith("_"):
        raise _not_found(f"{parent}.{child}", what_instead(parent, child))


def _put(parent: str, child: str) -> None:
    """``from package import name``: not a module, so none will be found, but the name is there."""
    package = sys.modules[parent]
    if child not in vars(package):
        setattr(package, child, resolve(parent, child))


def install() -> None:
    """Let Python import RLlib's paths."""
    if not any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, AliasFinder())
