"""State of the user's own: checked, when it is loaded, against what the present objects tell.

What ``get_state`` returns declares what ``set_state`` takes: names, kinds, and shapes and dtypes of
arrays. An empty dict or list, or None, says nothing of what is in it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rllib.checkpoints.rows import StateTree
from rllib.checkpoints.tree import decode, encode
from rllib.errors import CheckpointError


def added_by(owner: Any) -> StateTree:
    """What a class of the user's adds to the state of its base in this package; nothing of ours.

    Raises:
        CheckpointError: it cannot be saved; names the key.
    """
    base: Any = next(
        cls for cls in type(owner).__mro__ if _is_ours(cls) and "get_state" in vars(cls)
    )
    if type(owner).get_state is base.get_state:
        return {}
    kit = base.get_state(owner)
    added: StateTree = as_loaded(
        {key: part for key, part in owner.get_state().items() if key not in kit}
    )
    return added


def added_by_learner(learner: Any) -> dict[tuple[str, ...], StateTree]:
    """The same of a learner, or of each module's, by their place in the state of all."""
    if hasattr(learner, "learners"):
        return {("modules", name): added_by(each) for name, each in learner.learners.items()}
    return {(): added_by(learner)}


def _is_ours(cls: type[Any]) -> bool:
    return cls.__module__.split(".")[0] == "rllib"


def as_loaded(state: Any, name: str = "") -> Any:
    """A copy of a state tree as it comes out of a checkpoint.

    Args:
        state: the tree.
        name: of whom it is, for messages.

    Raises:
        CheckpointError: it holds something else than plain data and arrays; names the key.
    """
    tensors: dict[str, Any] = {}
    try:
        plain = encode(state, f"/{name}" if name else "", tensors)
        return decode(plain, {key: np.array(each) for key, each in tensors.items()})
    except RecursionError:
        text = f"the state of {name or 'an object'} is nested too deeply, or contains itself"
        raise CheckpointError(text) from None


def check_declared(owner: str, found: StateTree, own: StateTree) -> None:
    """Compare a state with that of the object that is to take it.

    Args:
        owner: of the state, for the message.
        found: in a checkpoint.
        own: of the present object, ``as_loaded``.

    Raises:
        CheckpointError: names every difference.
    """
    if differences := list(_differences(found, own, "")):
        text = "; ".join(differences)
        raise CheckpointError(f"the state of {owner} is not what its get_state declares: {text}")


def _differences(found: Any, own: Any, path: str) -> Iterator[str]:
    if own is None:
        return
    if isinstance(own, Mapping) and isinstance(found, Mapping):
        for key in dict.fromkeys([*own, *found]) if own else ():
            if key not in found:
                yield f"{path}/{key} is missing"
            elif key not in own:
                yield f"{path}/{key} is unknown"
            else:
                yield from _differences(found[key], own[key], f"{path}/{key}")
    elif _kind(found) != _kind(own) and (_kind(own), _kind(found)) != ("float", "int"):
        yield f"{path} should be {_kind(own)}, but is {_kind(found)}"


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return type(value).__name__
