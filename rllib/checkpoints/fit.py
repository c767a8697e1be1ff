"""Whether a checkpoint's weights mean here what they meant where they were written.

Weights of the right shapes load into a network with another activation, behind another normaliser
or for other actions, and would then be nonsense without anybody noticing.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from inspect import signature
from typing import Any

from rllib.config.plain import plain
from rllib.connectors.base import Pipeline
from rllib.errors import CheckpointError
from rllib.modules.spec import FullSpec

FACTS = ("module_class", "model_config", "action_fit")
"""Of a module's spec; what its spaces are shows by its weights."""

_ONLY_WHEN_MADE = ("_initializer", "_initializer_kwargs")
_ONLY_AT_FIRST = ("initial_log_std", "initial_alpha", "sigma0")
_ONLY_WHILE_TRAINED = ("max_seq_len", "epsilon", "exploration_noise")
_SETTINGS = {"action_fit": "actions fitted to their space (normalize_actions, clip_actions)"}


def connectors_of(pipeline: Pipeline) -> list[str]:
    """Each connector of a pipeline with what it was made with, as far as that is plain."""
    return [f"{type(each).__name__}({_arguments(each)})" for each in pipeline]


def _arguments(connector: Any) -> str:
    names = {
        name: None
        for cls in type(connector).__mro__[:-1]
        if "__init__" in vars(cls)
        for name in signature(cls).parameters
    }
    found = {name: vars(connector).get(name, ...) for name in sorted(names)}
    return ", ".join(f"{k}={v!r}" for k, v in found.items() if isinstance(v, int | float | str))


def check_fit(
    path: Any,
    written: Mapping[str, Any],
    specs: Mapping[str, FullSpec],
    pipelines: Mapping[str, Pipeline],
) -> None:
    """Compare a checkpoint's metadata with the modules and connectors of an algorithm.

    Args:
        path: of the checkpoint, for the message.
        written: its metadata.
        specs: of the algorithm's modules, by id.
        pipelines: their connectors.

    Raises:
        CheckpointError: names everything in which they differ.
    """
    found = [
        *_of_modules(written.get("modules", {}), specs),
        *_of_connectors(written.get("connectors", {}), pipelines),
    ]
    if found:
        raise CheckpointError(
            f"{path} was written with other settings, by which its weights would mean something "
            f"else: {'; '.join(found)}"
        )


def _of_modules(written: Mapping[str, Any], specs: Mapping[str, FullSpec]) -> Iterator[str]:
    if written and written.keys() != specs.keys():
        yield _told("modules", sorted(written), sorted(specs))
        return
    for module_id, facts in written.items():
        here = json.loads(json.dumps(plain(specs[module_id]), default=str))
        for fact in FACTS:
            for name, old, new in _different(fact, facts.get(fact), here[fact]):
                yield _told(f"{module_id}: {_SETTINGS.get(name, name)}", old, new)


def _different(name: str, old: Any, new: Any) -> Iterable[tuple[str, Any, Any]]:
    """What a module's weights depend on: of classes the name alone, which scripts may move."""
    if name == "module_class":
        old, new = (str(each).rpartition(":")[2] for each in (old, new))
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        names = [*old, *(key for key in new if key not in old)]
        pairs = [(f"{name}.{key}", old.get(key), new.get(key)) for key in names if _counts(key)]
        return [(key, a, b) for key, a, b in pairs if a != b]
    return [(name, old, new)] if old != new else []


def _counts(key: str) -> bool:
    free = (*_ONLY_AT_FIRST, *_ONLY_WHILE_TRAINED)
    return not key.endswith(_ONLY_WHEN_MADE) and key not in free


def _of_connectors(written: Mapping[str, Any], pipelines: Mapping[str, Pipeline]) -> Iterator[str]:
    for module_id, old in written.items():
        new = connectors_of(pipelines[module_id]) if module_id in pipelines else old
        if new != old:
            yield _told(f"{module_id}: connectors", old, new)


def _told(what: str, old: Any, new: Any) -> str:
    return f"{what} was {old!r}, is {new!r}"
