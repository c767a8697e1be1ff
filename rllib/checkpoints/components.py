"""RLlib's ``components``: paths to parts of a state tree. Here a part is the weights of modules.

    learner_group/learner/rl_module/default_policy
                          rl_module/default_policy   ... of a learner
                                    default_policy   ... of a MultiRLModule

All else of a state tree comes with the whole.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import reduce, wraps
from inspect import isfunction, signature
from typing import Any

from rllib.errors import CheckpointError

OF_LEARNER = "rl_module"
OF_GROUP = f"learner/{OF_LEARNER}"
OF_ALGORITHM = f"learner_group/{OF_GROUP}"

Paths = str | Collection[str] | None


def chosen_modules(
    call: str,
    parent: str,
    module_ids: Sequence[str],
    components: Paths,
    not_components: Paths,
    inference_only: bool,
) -> list[str] | None:
    """Ids of the modules whose weights are asked for; None if it is the whole state tree.

    Args:
        call: ``Learner.get_state``, for messages.
        parent: path of all modules together.
        module_ids: of the modules that there are.
        components: paths that are asked for.
        not_components: paths that are not, of those.
        inference_only: whether only what acting needs is asked for, which is of modules.

    Raises:
        TypeError: a path is not that of modules, or only says what is not asked for.
    """
    without = _named(call, "not_components", parent, module_ids, not_components)
    if components is not None:
        names = _named(call, "components", parent, module_ids, components)
        return [name for name in module_ids if name in names and name not in without]
    for argument, value in (("not_components", not_components), ("inference_only", inference_only)):
        if value:
            text = f"name components, too: {parent!r} is the weights of all modules"
            raise TypeError(f"{call}({argument}={value!r}) is not supported alone: {text}")
    return None


def _named(
    call: str, argument: str, parent: str, module_ids: Sequence[str], paths: Paths
) -> set[str]:
    """Ids of the modules that the paths mean."""
    meant = {f"{parent}/{name}": {name} for name in module_ids} | {parent: {*module_ids}}
    found = set[str]()
    for path in [paths] if isinstance(paths, str) else paths or ():
        if path not in meant:
            known = f"there is {parent} and, below it, {', '.join(module_ids)}"
            raise TypeError(f"{call}({argument}={path!r}) is not supported: {known}")
        found |= meant[path]
    return found


def let_ask_for_components(cls: type[Any]) -> None:
    """Let the state of a class be asked for components also where its ``get_state`` takes no
    arguments: the class above it answers, as nothing that a subclass adds is one of them."""
    own = vars(cls).get("get_state")
    if not isfunction(own) or len(signature(own).parameters) != 1:
        return

    @wraps(own)
    def get_state(self: Any, *paths: Any, **arguments: Any) -> Any:
        if not any((*paths, *arguments.values())):
            return own(self)
        return super(cls, self).get_state(*paths, **arguments)

    cls.get_state = get_state


def at(path: str, part: Any) -> dict[str, Any]:
    """The state tree that has nothing but ``part`` at ``path``."""
    tree: dict[str, Any] = reduce(
        lambda below, name: {name: below}, reversed(path.split("/")), part
    )
    return tree


def weights_at(path: str, state: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Weights by module id, if that is what the state tree consists of; None if it is another.

    Raises:
        CheckpointError: it begins like that, and goes on otherwise.
    """
    part: Any = state
    for name in path.split("/"):
        if not isinstance(part, Mapping) or name not in part:
            if part is state:
                return None
            known = sorted(part) if isinstance(part, Mapping) else type(part).__name__
            raise CheckpointError(f"in the state, instead of {path!r}, there is {known}")
        part = part[name]
    weights: Mapping[str, Any] = part
    return weights
