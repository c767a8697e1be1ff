"""How a module is made: its class, its shape, and where it is to be used."""

from collections.abc import Collection, Mapping
from dataclasses import InitVar, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from rllib.actions import Fit
from rllib.config.model import ModelConfig
from rllib.config.multi_agent import DEFAULT_POLICY_ID
from rllib.envs.make import Spaces
from rllib.errors import ConfigError, Problem
from rllib.modules.rl_module import RLModule, max_seq_len_of, refuse_catalog
from rllib.policies.policy import Policy

if TYPE_CHECKING:
    from rllib.modules.multi_rl_module import MultiRLModule


@dataclass
class RLModuleSpec:
    """A module that is still to be made; what is ``None`` comes from algorithm and environment.

    Attributes:
        module_class: a subclass of ``RLModule``.
        observation_space: of a single environment.
        action_space: of a single environment.
        inference_only: made to act with.
        learner_only: made to train with, never to act with.
        model_config: the networks' shape.
        load_state_path: a checkpoint whose weights the module begins with, named as for
            ``RLModule.from_checkpoint``.
        catalog_class: RLlib's argument; refused, as there are no catalogs.

    Raises:
        ConfigError: there is a ``catalog_class``.
    """

    module_class: type[RLModule] | None = None
    observation_space: gym.Space[Any] | None = None
    action_space: gym.Space[Any] | None = None
    inference_only: bool = False
    learner_only: bool = False
    model_config: ModelConfig | Mapping[str, Any] | None = None
    load_state_path: str | None = None
    catalog_class: InitVar[None] = None

    def __post_init__(self, catalog_class: Any) -> None:
        """Refuse a catalog, which would be ignored."""
        refuse_catalog(catalog_class)

    def build(self) -> RLModule:
        """Make the module of a spec that names class and spaces.

        Raises:
            ConfigError: it leaves one of them open.
        """
        needed = ("module_class", "observation_space", "action_space")
        spaces: Any = (self.observation_space, self.action_space)
        if missing := [name for name in needed if getattr(self, name) is None]:
            text = (
                f"RLModuleSpec.build() needs {', '.join(missing)}; config.get_rl_module_spec(env="
            )
            raise ConfigError(f"{text}...) fills in what an algorithm and environment know")
        full = self.completed(RLModule, Spaces(*spaces), ModelConfig())
        return full.build(inference_only=self.inference_only)

    @classmethod
    def from_module(cls, module: RLModule) -> "RLModuleSpec":
        """What a module was made of, without its weights."""
        spaces = (module.observation_space, module.action_space)
        how = (module.inference_only, module.learner_only)
        return cls(type(module), *spaces, *how, module.model_config)

    def update(self, other: "RLModuleSpec", override: bool = True) -> None:
        """Take over what another spec says; without ``override``, only what is open here."""
        for field in fields(self):
            value, own = getattr(other, field.name), getattr(self, field.name)
            if value not in (None, False) and (override or own in (None, False)):
                setattr(self, field.name, value)

    def as_multi_rl_module_spec(self) -> "MultiRLModuleSpec":
        """The spec of several modules of which this is the only one."""
        return MultiRLModuleSpec({DEFAULT_POLICY_ID: self})

    def completed(
        self,
        default: type[RLModule],
        spaces: Spaces,
        model: ModelConfig,
        action_fit: Fit = "stretch",
    ) -> "FullSpec":
        """The same with everything that was left open.

        Args:
            default: the class where none is named; its ``model_config``, and that of subclasses of
                this package's modules, is ``model`` with what is said here. That of another class
                is what is said here, and nothing else.
            spaces: where none are named.
            model: the networks' shape where nothing is said of it.
            action_fit: how continuous actions are fitted to their space.

        Raises:
            ConfigError: the class that is named is none of modules.
        """
        named: Any = self.module_class or default
        if not issubclass(named, RLModule):
            text = f"{named.__name__} is no RLModule: subclass that, and make networks in setup()"
            raise ConfigError(Problem(text, "rl_module_spec"))
        shape: ModelConfig | Mapping[str, Any] = model
        if self.model_config is not None:
            takes_rest = self.module_class is None or self.module_class.has_model_config
            shape = model.updated(self.model_config) if takes_rest else self.model_config
        return FullSpec(
            self.module_class or default,
            self.observation_space or spaces.observation,
            self.action_space or spaces.action,
            shape,
            action_fit,
            self.load_state_path,
        )


@dataclass
class MultiRLModuleSpec:
    """Modules that are still to be made, by their ids.

    Attributes:
        rl_module_specs: of the modules; a single one is for all ids.
        inference_only: made to act with.
        model_config: the networks' shape where a module's own spec does not say it.
        load_state_path: a checkpoint with modules of the same ids, which they begin with where
            their own specs name no other.

    Raises:
        ConfigError: there is no module.
    """

    rl_module_specs: Mapping[str, RLModuleSpec] | RLModuleSpec
    inference_only: bool = False
    model_config: ModelConfig | Mapping[str, Any] | None = None
    load_state_path: str | None = None

    def __post_init__(self) -> None:
        if not self.rl_module_specs:
            raise ConfigError("MultiRLModuleSpec(rl_module_specs=...) names no module")

    def spec_for(self, module_id: str) -> RLModuleSpec:
        """The spec of one module, or one that leaves everything open."""
        specs = self.rl_module_specs
        spec = specs if isinstance(specs, RLModuleSpec) else specs.get(module_id, RLModuleSpec())
        if self.load_state_path and spec.load_state_path is None:
            spec = replace(spec, load_state_path=f"{self.load_state_path}/{module_id}")
        return spec if spec.model_config else replace(spec, model_config=self.model_config)

    def __getitem__(self, module_id: str) -> RLModuleSpec:
        if module_id not in self:
            raise KeyError(f"no spec of a module {module_id!r}")
        return self.spec_for(module_id)

    def __contains__(self, module_id: object) -> bool:
        specs = self.rl_module_specs
        return isinstance(specs, RLModuleSpec) or module_id in specs

    @property
    def module_specs(self) -> dict[str, RLModuleSpec]:
        """The specs by id, to be changed.

        Raises:
            ConfigError: one spec is for all ids.
        """
        if isinstance(self.rl_module_specs, RLModuleSpec):
            raise ConfigError("this MultiRLModuleSpec has one spec for all ids, and names none")
        return dict(self.rl_module_specs)

    def add_modules(self, module_specs: Mapping[str, RLModuleSpec], override: bool = True) -> None:
        """Add specs; without ``override`` those that are there take over what they leave open."""
        specs = self.module_specs
        for module_id, spec in module_specs.items():
            if override or module_id not in specs:
                specs[module_id] = spec
            else:
                specs[module_id].update(spec, override=False)
        self.rl_module_specs = specs

    def remove_modules(self, module_ids: str | Collection[str]) -> None:
        """Remove the specs of one or several ids."""
        gone = {module_ids} if isinstance(module_ids, str) else set(module_ids)
        self.rl_module_specs = {k: v for k, v in self.module_specs.items() if k not in gone}

    def build(self, module_id: str | None = None) -> "MultiRLModule | RLModule":
        """Make all modules, or one; see ``RLModuleSpec.build``."""
        from rllib.modules.multi_rl_module import MultiRLModule

        if module_id is not None:
            return self.spec_for(module_id).build()
        return MultiRLModule({name: self.spec_for(name).build() for name in self.module_specs})

    def as_multi_rl_module_spec(self) -> "MultiRLModuleSpec":
        """Itself."""
        return self


@dataclass(frozen=True)
class FullSpec:
    """A module of which everything is known."""

    module_class: type[RLModule]
    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    model_config: ModelConfig | Mapping[str, Any]
    action_fit: Fit = "stretch"
    load_state_path: str | None = None

    @classmethod
    def of(cls, module: RLModule) -> "FullSpec":
        """What a module was made of."""
        spaces = (module.observation_space, module.action_space)
        return cls(type(module), *spaces, module.model_config, module.action_fit)

    @property
    def max_seq_len(self) -> int:
        """Steps of the longest sequence that the module is trained on, if it has a memory."""
        return max_seq_len_of(self.model_config)

    def build(self, *, inference_only: bool = False) -> RLModule:
        """Make the module; its weights are drawn from torch's random numbers, or loaded.

        Raises:
            CheckpointError: those to be loaded are damaged, or those of another network.
        """
        module = self.module_class(
            observation_space=self.observation_space,
            action_space=self.action_space,
            inference_only=inference_only,
            model_config=self.model_config,
        )
        if "head" not in vars(module):
            text = f"{self.module_class.__name__}.__init__ does not call super().__init__(*args, "
            raise TypeError(text + "**kwargs); or leave it out, and make the networks in setup()")
        module.head = module.head.fitted(self.action_fit)
        module.action_fit = self.action_fit
        if self.load_state_path is not None:
            module.restore_from_path(self.load_state_path)
        return module

    def make_policy(self) -> Policy:
        """What an env runner acts by."""
        policy = self.module_class.make_policy(
            self.observation_space, self.action_space, self.model_config
        )
        policy.head = policy.head.fitted(self.action_fit)
        return policy
