"""Several modules by their ids, as one: to act with, to keep and to look at.

Each module of an algorithm has a learner of its own; this holds them together where RLlib's scripts
have them together.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from torch import nn

from rllib.errors import ConfigError
from rllib.modules.rl_module import Batch, RLModule


class MultiRLModule(nn.Module):
    """Modules by id; a batch is one for each of them, by id.

    Args:
        rl_modules: by id.

    Raises:
        ConfigError: it was subclassed with a ``setup`` of its own: what modules share cannot be
            trained by learners that know of one module each.
    """

    framework = "torch"

    def __init__(self, rl_modules: Mapping[str, RLModule] | None = None) -> None:
        super().__init__()
        if hasattr(type(self), "setup"):
            raise ConfigError(
                f"{type(self).__name__}: modules that share parts are not supported; give "
                "MultiRLModuleSpec(rl_module_specs={...}) with a RLModule of its own for each id, "
                "or let policy_mapping_fn give the same module to several agents"
            )
        self._modules_by_id = nn.ModuleDict(dict(rl_modules or {}))

    # As a mapping.

    def __getitem__(self, module_id: str) -> RLModule:
        if module_id not in self:
            raise KeyError(f"no module {module_id!r}; there are: {', '.join(self.keys())}")
        module: Any = self._modules_by_id[module_id]
        return module  # type: ignore[no-any-return]  # a ModuleDict knows no more than Module

    def __contains__(self, module_id: object) -> bool:
        return module_id in self.keys()

    def __len__(self) -> int:
        return len(self._modules_by_id)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def get(self, module_id: str, default: RLModule | None = None) -> RLModule | None:
        """The module of that id, or ``default``."""
        known = self.keys()
        return self[module_id] if module_id in known else default

    def keys(self) -> list[str]:
        """All ids."""
        return list(self._modules_by_id.keys())

    def values(self) -> list[RLModule]:
        """All modules."""
        return [self[name] for name in self.keys()]

    def items(self) -> list[tuple[str, RLModule]]:
        """Ids and modules."""
        return [(name, self[name]) for name in self.keys()]

    def add_module(  # type: ignore[override]  # RLlib's meaning of the name
        self, module_id: str, module: RLModule, *, override: bool = False
    ) -> None:
        """Add a module here; an algorithm that is built is not changed by it.

        Raises:
            ValueError: there is one of that id, and ``override`` is False.
        """
        if module_id in self and not override:
            raise ValueError(f"there is a module {module_id!r} already; override=True replaces it")
        self._modules_by_id[module_id] = module

    def remove_module(self, module_id: str, *, raise_err_if_not_found: bool = True) -> None:
        """Remove a module here.

        Raises:
            KeyError: there is none of that id, unless ``raise_err_if_not_found`` is False.
        """
        if raise_err_if_not_found:
            self[module_id]
        if module_id in self:
            del self._modules_by_id[module_id]

    def foreach_module(
        self, func: Callable[[str, RLModule], Any], *, return_dict: bool = False
    ) -> Any:
        """A list, or a dict by id, of what ``func(module_id, module)`` returns."""
        found = {name: func(name, module) for name, module in self.items()}
        return found if return_dict else list(found.values())

    # As a module.

    def forward_inference(self, batch: Mapping[str, Batch], **kwargs: Any) -> dict[str, Batch]:
        """Outputs to act greedily by, by id."""
        return {name: self[name].forward_inference(b, **kwargs) for name, b in batch.items()}

    def forward_exploration(self, batch: Mapping[str, Batch], **kwargs: Any) -> dict[str, Batch]:
        """Outputs to sample actions from, by id."""
        return {name: self[name].forward_exploration(b, **kwargs) for name, b in batch.items()}

    def forward_train(self, batch: Mapping[str, Batch], **kwargs: Any) -> dict[str, Batch]:
        """Outputs with gradients, by id."""
        return {name: self[name].forward_train(b, **kwargs) for name, b in batch.items()}

    def forward(self, batch: Mapping[str, Batch], **kwargs: Any) -> dict[str, Batch]:
        """torch's name for the train forward."""
        return self.forward_train(batch, **kwargs)

    def get_initial_state(self) -> dict[str, dict[str, Any]]:
        """State of sequences that begin, by id."""
        return {name: module.get_initial_state() for name, module in self.items()}

    def is_stateful(self) -> bool:
        """Whether any of them has a memory."""
        return any(module.is_stateful() for module in self.values())

    def as_multi_rl_module(self) -> "MultiRLModule":
        """Itself."""
        return self

    def unwrapped(self) -> "MultiRLModule":
        """Itself."""
        return self

    # State.

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        inference_only: bool = False,
    ) -> dict[str, dict[str, Any]]:
        """Copies of the weights, by id and name.

        Args:
            components: ids; by default all.
            not_components: ids that are left out.
            inference_only: leave out what acting does not need.

        Raises:
            KeyError: there is no module of an id.
        """
        names = self.keys() if components is None else self._ids(components)
        without = self._ids(not_components or ())
        return {
            name: self[name].get_state(inference_only=inference_only)
            for name in names
            if name not in without
        }

    def _ids(self, named: str | Collection[str]) -> list[str]:
        """Those that are named, each of which there is."""
        names = [named] if isinstance(named, str) else list(named)
        for name in names:
            self[name]
        return names

    def set_state(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over weights by id; modules that are not named stay as they are.

        Raises:
            KeyError: there is no module of an id.
            CheckpointError: the weights are those of another network.
        """
        for name, each in state.items():
            self[name].set_state(each)

    def save_to_path(self, path: str | Path) -> str:
        """Write all into a checkpoint folder; returns its path."""
        from rllib.checkpoints.module_checkpoint import save_modules

        return save_modules(path, dict(self.items()))

    def restore_from_path(self, path: str | Path) -> None:
        """Take over weights that an algorithm or modules saved.

        Raises:
            CheckpointError: they are damaged, miss a module, or are those of another network.
        """
        from rllib.checkpoints.module_checkpoint import read_weights

        self.set_state({name: read_weights(Path(path), name) for name in self.keys()})

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> Self:
        """All modules out of a checkpoint; those of a class of one's own cannot be made by it.

        Raises:
            CheckpointError: see ``RLModule.from_checkpoint``.
        """
        from rllib.checkpoints.module_checkpoint import load_modules

        return cls(load_modules(path))
