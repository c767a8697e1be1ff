"""Whether a checkpoint asks for no more than it holds, before anything is made of it.

A file of a kilobyte may name networks, spaces and processes of any number. What it holds of them is
as large as the file, so what it asks for is compared with that, on torch's device without memory.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rllib.config.spaces import read_space
from rllib.cores import usable_cores
from rllib.envs.make import Spaces
from rllib.errors import CheckpointError, RLlibError
from rllib.modules.spec import FullSpec
from rllib.multi_agent.modules import module_config

if TYPE_CHECKING:
    from rllib.config import AlgorithmConfig

MOST_ELEMENTS = 2**24
"""Of all spaces of a checkpoint together."""
MOST_ENVS = 1024
"""Of an env runner, if nothing tells how many there were."""

State = Mapping[str, Any]


@contextmanager
def making(path: str | Path, what: str) -> Iterator[None]:
    """Whatever goes wrong while something is made of a file, the file is to blame."""
    try:
        yield
    except RLlibError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path}: no {what} can be made of it: {reason}") from error


def check_spaces(path: str | Path, metadata: Any) -> None:
    """Refuse spaces whose bounds alone would fill the memory.

    Raises:
        CheckpointError: all of them together are too large.
    """
    total = sum(_elements(metadata))
    if total > MOST_ELEMENTS:
        text = f"its spaces have {total:,} elements, the limit is {MOST_ELEMENTS:,}"
        raise CheckpointError(f"{path}: {text}")


def _elements(node: Any) -> Iterator[int]:
    """Of each space with a shape, in whatever place."""
    if isinstance(node, list):
        for part in node:
            yield from _elements(part)
    elif isinstance(node, Mapping):
        shape = node.get("shape")
        if isinstance(shape, list) and all(isinstance(size, int) for size in shape):
            yield abs(prod(shape))
        for part in node.values():
            yield from _elements(part)


def check_weights(path: str | Path, module_id: str, spec: FullSpec, weights: State) -> None:
    """Compare the weights that a module would have with those that there are.

    Args:
        path: of the checkpoint, for the message.
        module_id: of the module.
        spec: how it would be made.
        weights: by name.

    Raises:
        CheckpointError: they differ in names or shapes.
    """
    lists = (value for value in dict(spec.model_config.items()).values() if _is_list(value))
    if (longest := max(map(len, lists), default=0)) > max(64, len(weights)):
        raise CheckpointError(
            f"{path}: {module_id} should have {longest:,} layers, but has {len(weights)} tensors"
        )
    found = {name: list(np.shape(each)) for name, each in weights.items()}
    shapes = _shapes_of(path, spec) or found
    for name in [*shapes, *found]:
        asked, held = shapes.get(name, "absent"), found.get(name, "absent")
        if asked != held:
            text = f"{name} should be {asked}, but is {held}"
            raise CheckpointError(f"{path}: {module_id} is not what its settings say: {text}")


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _shapes_of(path: str | Path, spec: FullSpec) -> dict[str, list[int]] | None:
    """Shapes by name; None of a class of the user's own that cannot be made without memory."""
    is_ours = spec.module_class.__module__.startswith("rllib.")
    try:
        with making(path, "module"), torch.device("meta"):
            module = replace(spec, load_state_path=None).build()
    except CheckpointError:
        if is_ours:
            raise
        return None
    return {name: list(tensor.shape) for name, tensor in module.state_dict().items()}


def check_demands(
    path: str | Path, config: "AlgorithmConfig", state: State, metadata: State
) -> None:
    """Compare what an algorithm of these settings would consist of with its state.

    Args:
        path: of the checkpoint, for the message.
        config: the settings that are in it.
        state: its state tree.
        metadata: about it.

    Raises:
        CheckpointError: networks, processes or environments are others.
    """
    _check_counts(path, config, state)
    learner = state["learner"]
    if "modules" not in learner:
        module_id = config.policy_ids[0]
        spec = config.get_rl_module_spec(_spaces(metadata["modules"][module_id]))
        check_weights(path, module_id, spec, learner["module"])
    for module_id, each in learner.get("modules", {}).items():
        own = module_config(config, module_id)
        spec = own.get_rl_module_spec(_spaces(metadata["modules"][module_id]))
        check_weights(path, module_id, spec, each["module"])


def _spaces(facts: State) -> Spaces:
    return Spaces(*(read_space(facts[f"{name}_space"]) for name in Spaces._fields))


def _check_counts(path: str | Path, config: "AlgorithmConfig", state: State) -> None:
    runners, streams = state["env_runners"], state["learner"]["streams"]
    _compare(path, "num_env_runners", max(1, config.num_env_runners), len(runners))
    _compare(path, "num_learners", max(1, config.num_learners), len(streams))
    num_envs = config.num_envs_per_env_runner
    held = {_num_envs(each["episodes"]) for each in runners.values() if "episodes" in each}
    for number in held:
        _compare(path, "num_envs_per_env_runner", num_envs, number)
    evaluation = config.get_evaluation_config_object()
    limits = (
        (config, "num_envs_per_env_runner", num_envs if held else MOST_ENVS),
        (evaluation, "num_envs_per_env_runner", max(num_envs, MOST_ENVS)),
        (evaluation, "num_env_runners", max(config.num_env_runners, 4 * usable_cores())),
    )
    for settings, name, limit in limits:
        if settings[name] > limit:
            of = " of evaluation" * settings.in_evaluation
            text = f"its settings ask for {settings[name]:,} {name}{of}, the limit is {limit:,}"
            raise CheckpointError(f"{path}: {text}; {_WAY_OUT}")


def _num_envs(episodes: Any) -> int:
    """How many play them: those of several agents are told one by one, others by column."""
    return len(episodes if isinstance(episodes, list) else episodes["returns"])


def _compare(path: str | Path, name: str, asked: int, held: int) -> None:
    if asked != held:
        text = f"its settings ask for {asked:,} {name}, its state is of {held:,}"
        raise CheckpointError(f"{path}: {text}; {_WAY_OUT}")


_WAY_OUT = "if that is meant, pass the config that it was written with"
