"""The configuration of an algorithm: one flat, typed, validated record.

Python builder, YAML file, ``key=value`` on the command line and JSON schema are four views of it::

    PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=2).training(lr=3e-4)

An algorithm subclasses ``AlgorithmConfig`` and adds its own settings as fields; they belong to the
section ``training``. The names are those of RLlib's new API stack.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from pydantic import PrivateAttr, ValidationError, model_serializer
from pydantic_core import ErrorDetails

from rllib.config_names import UNSUPPORTED_METHODS, explain_unknown
from rllib.config_sections import (
    CheckpointingSection,
    DebuggingSection,
    EnvironmentSection,
    EnvRunnersSection,
    LearnersSection,
    ModelConfig,
    ReportingSection,
    RLModuleSection,
    Section,
    TrainingSection,
)
from rllib.errors import ConfigError, Problem

if TYPE_CHECKING:
    from rllib.algorithm import Algorithm
    from rllib.envs.make import Spaces
    from rllib.module_spec import FullSpec
    from rllib.rl_module import RLModule

__all__ = ["AlgorithmConfig", "ModelConfig"]


class AlgorithmConfig(
    EnvironmentSection,
    EnvRunnersSection,
    TrainingSection,
    LearnersSection,
    RLModuleSection,
    DebuggingSection,
    ReportingSection,
    CheckpointingSection,
):
    """Base configuration; every field is documented in ``rllib.config_sections``.

    Raises:
        ConfigError: from the constructor, the builder methods, assignment and ``validate``, naming
            every key that is wrong and the nearest right one.
    """

    section = "training"
    algo: ClassVar[str] = ""
    """Name of the algorithm in the registry; by default the class name without ``Config``."""

    _algo_name: str = PrivateAttr("")
    _is_frozen: bool = PrivateAttr(False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(self.explain(error)) from None

    # The builder: one method per section.

    def environment(self, env: str | Callable[..., Any] | None = None, **settings: Any) -> Self:
        """Set what to train in (``EnvironmentSection``)."""
        return self._set("environment", settings if env is None else settings | {"env": env})

    def env_runners(self, **settings: Any) -> Self:
        """Set who collects experience (``EnvRunnersSection``)."""
        return self._set("env_runners", settings)

    def training(self, **settings: Any) -> Self:
        """Set the optimisation (``TrainingSection`` and the algorithm's own settings)."""
        return self._set("training", settings)

    def learners(self, **settings: Any) -> Self:
        """Set who computes the updates (``LearnersSection``)."""
        return self._set("learners", settings)

    def rl_module(self, **settings: Any) -> Self:
        """Set the networks (``RLModuleSection``): ``rl_module(model_config={...})``."""
        return self._set("rl_module", settings)

    def debugging(self, **settings: Any) -> Self:
        """Set the seed (``DebuggingSection``)."""
        return self._set("debugging", settings)

    def reporting(self, **settings: Any) -> Self:
        """Set what is written while training (``ReportingSection``)."""
        return self._set("reporting", settings)

    def checkpointing(self, **settings: Any) -> Self:
        """Set when checkpoints are written (``CheckpointingSection``)."""
        return self._set("checkpointing", settings)

    def _set(self, section: str, settings: dict[str, Any]) -> Self:
        problems: list[Problem] = []
        for key, value in settings.items():
            home = self.section_of(key)
            if home not in (None, section):
                text = f"belongs to another section: write .{home}({key}=...)"
                problems.append(Problem(text, key, f"{section}()"))
                continue
            try:
                setattr(self, key, value)
            except ConfigError as error:
                problems += [Problem(p.text, p.key, f"{section}()") for p in error.problems]
        if problems:
            raise ConfigError(problems)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            return super().__setattr__(name, value)
        if self._is_frozen:
            raise ConfigError(Problem("the config is frozen; change a .copy() of it", name))
        fields = {public: field for field, public in self._public_names().items()}
        if name not in fields and name not in type(self).model_fields:
            raise ConfigError(Problem(explain_unknown(name, fields), name))
        try:
            super().__setattr__(fields.get(name, name), value)
        except ValidationError as error:
            raise ConfigError(self.explain(error)) from None

    def __getattr__(self, name: str) -> Any:
        if name in UNSUPPORTED_METHODS:
            raise AttributeError(f"{type(self).__name__}.{name}() is not supported yet")
        return super().__getattr__(name)  # type: ignore[misc]  # pydantic hides it from checkers

    # Names and sections.

    @classmethod
    def _public_names(cls) -> dict[str, str]:
        """Attribute -> name in builder, YAML and command line; they differ for the model only."""
        return {name: field.alias or name for name, field in cls.model_fields.items()}

    @classmethod
    def section_of(cls, key: str) -> str | None:
        """The section that the setting ``key`` belongs to; None if there is no such setting."""
        return next((name for name, keys in cls.section_keys().items() if key in keys), None)

    @classmethod
    def section_keys(cls) -> dict[str, list[str]]:
        """Every section with its keys, in the order in which they are written out."""
        sections: dict[str, list[str]] = {}
        for base in cast(tuple[type[Section], ...], AlgorithmConfig.__bases__):
            sections[base.section] = []
        for name, public in cls._public_names().items():
            owners = [base for base in cls.__mro__ if name in getattr(base, "model_fields", ())]
            # The last owner is the one that introduced it: a subclass may only change a default.
            sections.setdefault(cast(type[Section], owners[-1]).section, []).append(public)
        return sections

    @classmethod
    def explain(cls, error: ValidationError) -> list[Problem]:
        """Turn pydantic's findings into ours, with the nearest right name for an unknown key."""
        found: dict[str, list[ErrorDetails]] = {}
        for detail in error.errors(include_url=False):
            found.setdefault(_key_path(cls, detail["loc"]), []).append(detail)
        return [_problem(cls, key, details) for key, details in found.items()]

    # Copies and plain views.

    def copy(self, copy_frozen: bool = False) -> Self:  # type: ignore[override]  # RLlib's meaning
        """A deep copy; it can be changed unless ``copy_frozen`` keeps a frozen one frozen."""
        twin = self.model_copy(deep=True)
        twin._is_frozen = self._is_frozen and copy_frozen
        return twin

    def freeze(self) -> Self:
        """Refuse all further changes to this config."""
        self._is_frozen = True
        return self

    @property
    def is_frozen(self) -> bool:
        """Whether changes are refused."""
        return self._is_frozen

    @model_serializer(mode="plain")
    def to_dict(self) -> dict[str, Any]:
        """Flat plain data: JSON scalars, lists, dicts; a class or function as ``module:name``."""
        return {key: value for keys in self.to_sections().values() for key, value in keys.items()}

    def to_sections(self) -> dict[str, dict[str, Any]]:
        """The same as ``to_dict``, sectioned as in a YAML file."""
        values = {public: getattr(self, name) for name, public in self._public_names().items()}
        return {
            section: {key: _plain(values[key]) for key in keys}
            for section, keys in self.section_keys().items()
        }

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Show the settings that differ from their defaults, and no others."""
        for name, field in type(self).model_fields.items():
            if getattr(self, name) != field.get_default(call_default_factory=True):
                yield name, getattr(self, name)

    # Derived settings and checks.

    @property
    def total_train_batch_size(self) -> int:
        """Env steps per training iteration over all learners."""
        return self.train_batch_size_per_learner * max(1, self.num_learners)

    def get_rollout_fragment_length(self) -> int:
        """Env steps per environment in one sample, with "auto" worked out (rounded up)."""
        if self.rollout_fragment_length != "auto":
            return self.rollout_fragment_length
        num_envs = max(1, self.num_env_runners) * self.num_envs_per_env_runner
        return -(-self.total_train_batch_size // num_envs)

    def problems(self) -> Iterator[Problem]:
        """Impossible combinations; an algorithm extends this with its own."""
        yield from self._beyond_shared_limits()
        if self.env is None:
            yield Problem('missing: name an environment, for example "CartPole-v1"', "env")
        if self.num_learners > 1:
            yield Problem("more than one learner is not supported yet; use 0 or 1", "num_learners")
        if (self.minibatch_size or 0) > self.train_batch_size_per_learner:
            limit = self.train_batch_size_per_learner
            text = f"{self.minibatch_size} is more than train_batch_size_per_learner, {limit}"
            yield Problem(text, "minibatch_size")

    def _beyond_shared_limits(self) -> Iterator[Problem]:
        """A subclass that gives a shared setting another default may have lost its limits."""
        for section in cast(tuple[type[Section], ...], AlgorithmConfig.__bases__):
            try:
                section(**{name: getattr(self, name) for name in section.model_fields})
            except ValidationError as error:
                yield from self.explain(error)

    def validate(self) -> None:  # type: ignore[override]  # RLlib's name; pydantic's is deprecated
        """Raise ``ConfigError`` with every impossible combination of settings."""
        problems = list(self.problems())
        if problems:
            raise ConfigError(problems)

    # The algorithm.

    def get_default_rl_module_class(self) -> "type[RLModule]":
        """The module that this algorithm trains unless it is given another one."""
        from rllib.actor_critic import ActorCriticModule

        return ActorCriticModule

    def get_rl_module_spec(self, spaces: "Spaces") -> "FullSpec":
        """How the module for these spaces is made."""
        from rllib.module_spec import RLModuleSpec

        spec = RLModuleSpec()
        return spec.completed(self.get_default_rl_module_class(), spaces, self.model)

    @property
    def algo_name(self) -> str:
        """Name of the algorithm as the registry knows it (``PPO``, or ``module:Class``)."""
        return self._algo_name or type(self).algo or type(self).__name__.removesuffix("Config")

    @property
    def algo_class(self) -> "type[Algorithm]":
        """The algorithm's class, found by name through the registry."""
        from rllib.registry import get_algorithm_class

        return get_algorithm_class(self.algo_name)

    def build_algo(self) -> "Algorithm":
        """Check the settings and build the algorithm from a frozen copy of them."""
        self.validate()
        return self.algo_class(self.copy().freeze())


def _plain(value: Any) -> Any:
    if isinstance(value, ModelConfig):
        return value.model_dump(mode="json")
    if callable(value):
        return f"{value.__module__}:{value.__qualname__}"
    return value


def _problem(cls: type[AlgorithmConfig], key: str, details: list[ErrorDetails]) -> Problem:
    """What pydantic found at one key; a union gives one finding per member, joined by "or"."""
    if details[0]["type"] == "extra_forbidden":
        known = ModelConfig.model_fields if "." in key else cls._public_names().values()
        return Problem(explain_unknown(key.rpartition(".")[2], known), key)
    wants = " or ".join(detail["msg"].removeprefix("Input should be ") for detail in details)
    return Problem(f"should be {wants}, got {details[0]['input']!r}", key)


def _key_path(cls: type[AlgorithmConfig], location: tuple[str | int, ...]) -> str:
    """``model_config.fcnet_hiddens[1]``: names and indices, without the tags of union members."""
    head, *rest = location
    key = cls._public_names().get(str(head), str(head))
    if key == "model_config" and rest:
        key, rest = f"{key}.{rest[0]}", rest[1:]
    return key + "".join(f"[{part}]" for part in rest if isinstance(part, int))
