"""A module alone out of an algorithm's checkpoint, to act with."""

from pathlib import Path
from typing import Any

from rllib.checkpoints import checkpoint
from rllib.checkpoints.torch_state import set_module_state
from rllib.config.model import ModelConfig
from rllib.config.plain import code_name
from rllib.config.spaces import read_space
from rllib.errors import CheckpointError
from rllib.modules.rl_module import RLModule
from rllib.modules.spec import FullSpec
from rllib.registry import get_config_class


def load_module(path: str | Path, module_class: type[RLModule] | None = None) -> RLModule:
    """See ``RLModule.from_checkpoint``.

    Raises:
        CheckpointError: the checkpoint is damaged, has no such module, or one of another class.
    """
    folder, module_id = _located(Path(path))
    state, metadata = checkpoint.load(folder)
    modules = metadata["modules"]
    module_id = module_id or next(iter(modules))
    if module_id not in modules:
        raise CheckpointError(f"{folder} has no module {module_id!r}, but {', '.join(modules)}")
    module = _build(modules[module_id], module_class or _default_class(metadata), folder)
    learner = state["learner"]
    set_module_state(module, learner.get("modules", {module_id: learner})[module_id]["module"])
    return module.eval()


def _located(path: Path) -> tuple[Path, str | None]:
    """The checkpoint's folder, and which module is meant by a path that goes on within it."""
    for folder in (path, *path.parents):
        if (folder / checkpoint.MANIFEST).exists():
            return folder, None if folder == path else path.name
    raise CheckpointError(f"{path}: no such checkpoint")


def _default_class(metadata: dict[str, Any]) -> type[RLModule]:
    config_class = get_config_class(metadata["algorithm"])
    return config_class().get_default_rl_module_class()


def _build(facts: dict[str, Any], module_class: type[RLModule], folder: Path) -> RLModule:
    if (name := facts["module_class"]) != code_name(module_class):
        raise CheckpointError(
            f"{folder} was written with a {name}, not a {code_name(module_class)}; import that "
            "class, and call from_checkpoint on it"
        )
    model = facts["model_config"]
    return FullSpec(
        module_class,
        read_space(facts["observation_space"]),
        read_space(facts["action_space"]),
        ModelConfig(**model) if _is_ours(model) else model,
        facts.get("action_fit", "stretch"),
    ).build()


def _is_ours(model: dict[str, Any]) -> bool:
    """Whether it was a ``ModelConfig``, and no dict of a module of one's own."""
    return model.keys() >= ModelConfig.model_fields.keys()
