"""Modules alone: out of an algorithm's checkpoint, and in one of their own."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from rllib import plugins
from rllib.checkpoints import checkpoint
from rllib.checkpoints.plausible import check_spaces, check_weights, making
from rllib.checkpoints.torch_state import set_module_state
from rllib.config.model import ModelConfig
from rllib.config.plain import code_name, plain
from rllib.config.spaces import read_space
from rllib.errors import CheckpointError, ConfigError, Problem
from rllib.modules.rl_module import RLModule
from rllib.modules.spec import FullSpec
from rllib.registry import get_config_class

MODULES = ("actor_critic:ActorCriticModule", "q_module:QModule", "actor_q_module:ActorQModule")
"""Modules of this package, which a checkpoint of modules alone may name."""


def load_module(path: str | Path, module_class: type[RLModule] | None = None) -> RLModule:
    """See ``RLModule.from_checkpoint``.

    Raises:
        CheckpointError: the checkpoint is damaged, has no such module, or one of another class.
    """
    found = _Saved(path)
    return found.module(found.module_id, module_class)


def load_modules(path: str | Path) -> dict[str, RLModule]:
    """All modules of a checkpoint, by id; see ``MultiRLModule.from_checkpoint``."""
    found = _Saved(path)
    return {module_id: found.module(module_id) for module_id in found.facts}


def read_weights(path: Path, module_id: str | None = None) -> dict[str, Any]:
    """Weights of a module, by name: the one that the path names, or ``module_id``.

    Raises:
        CheckpointError: the checkpoint is damaged, or has no such module.
    """
    found = _Saved(path)
    return found.weights(module_id or found.module_id)


def weights_of_component(
    path: str | Path, component: str, module_ids: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Weights by module id and name, for what RLlib calls a component of an algorithm.

    Args:
        path: the checkpoint of an algorithm, or of modules, or a path to a module in it.
        component: ``learner_group/learner/rl_module``, with or without ``/`` and a module's id.
        module_ids: of the modules that there are.

    Raises:
        ConfigError: there is no such component, or no such module.
        CheckpointError: the checkpoint is damaged, or has no such module.
    """
    *parents, last = component.strip("/").split("/")
    if [*parents, last] == MODULES_COMPONENT:
        wanted = list(module_ids)
    elif parents == MODULES_COMPONENT and last in module_ids:
        wanted = [last]
    else:
        text = f"{component!r} is none; there are {'/'.join(MODULES_COMPONENT)} and, below it, "
        raise ConfigError(Problem(text + ", ".join(module_ids), "component"))
    found = _Saved(path)
    # A module that is named, or alone, is meant whatever its id was where it was saved.
    is_meant = len(wanted) == 1 and (found.is_named or len(found.facts) == 1)
    return {name: found.weights(found.module_id if is_meant else name) for name in wanted}


def save_modules(path: str | Path, modules: Mapping[str, RLModule]) -> str:
    """Write modules alone; returns the path.

    Raises:
        CheckpointError: see ``checkpoint.save``.
    """
    states = {name: {"module": module.get_state()} for name, module in modules.items()}
    facts = {name: plain(FullSpec.of(module)) for name, module in modules.items()}
    checkpoint.save(path, {"learner": {"modules": states}}, metadata={"modules": facts})
    return str(path)


MODULES_COMPONENT = ["learner_group", "learner", "rl_module"]


class _Saved:
    """What a checkpoint, or a path that goes on within it, says of modules."""

    def __init__(self, path: str | Path) -> None:
        self.folder, named = _located(Path(path))
        state, self.metadata = checkpoint.load(self.folder)
        with making(self.folder, "module"):
            self.facts: dict[str, Any] = dict(self.metadata["modules"])
            self.is_named = named not in (None, *MODULES_COMPONENT)
            self.module_id = named if named and self.is_named else next(iter(self.facts), "")
            self.learner = state["learner"]
        check_spaces(self.folder, self.metadata)

    def weights(self, module_id: str) -> dict[str, Any]:
        self._check(module_id)
        with making(self.folder, "module"):
            of_modules = self.learner.get("modules", {module_id: self.learner})
            weights: dict[str, Any] = dict(of_modules[module_id]["module"])
        return weights

    def module(self, module_id: str, module_class: type[RLModule] | None = None) -> RLModule:
        weights, facts = self.weights(module_id), self.facts[module_id]
        with making(self.folder, "module"):
            module_class = module_class or self._known_class(facts["module_class"])
            spec = _spec(facts, module_class, self.folder)
            check_weights(self.folder, module_id, spec, weights)
            module = spec.build()
            set_module_state(module, weights)
        return module.eval()

    def _check(self, module_id: str) -> None:
        if module_id not in self.facts:
            known = ", ".join(self.facts)
            raise CheckpointError(f"{self.folder} has no module {module_id!r}, but {known}")

    def _known_class(self, name: str) -> type[RLModule]:
        """The class of that name, if it is ours; else the algorithm's default, to be refused."""
        for known in MODULES:
            if name == f"rllib.modules.{known}":
                found: type[RLModule] = plugins.load(name)
                return found
        algorithm = str(self.metadata.get("algorithm", ":"))
        if ":" in algorithm:  # nothing that a file names is imported
            return RLModule
        return get_config_class(algorithm)().get_default_rl_module_class()


def _located(path: Path) -> tuple[Path, str | None]:
    """The checkpoint's folder, and which module is meant by a path that goes on within it."""
    for folder in (path, *path.parents):
        if (checkpoint.standing(folder) / checkpoint.MANIFEST).exists():
            return folder, None if folder == path else path.name
    raise CheckpointError(f"{path}: no such checkpoint")


def _spec(facts: dict[str, Any], module_class: type[RLModule], folder: Path) -> FullSpec:
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
    )


def _is_ours(model: dict[str, Any]) -> bool:
    """Whether it was a ``ModelConfig``, and no dict of a module of one's own."""
    return model.keys() >= ModelConfig.model_fields.keys()
