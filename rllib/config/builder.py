"""How settings are set, named, copied and shown; their meaning is in ``algorithm_config``."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, cast

from pydantic import ConfigDict, PrivateAttr, ValidationError, model_serializer
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from rllib.config.hints import value_hint
from rllib.config.model import ModelConfig
from rllib.config.names import (
    ALSO_IN,
    FIXED,
    RENAMED,
    UNSUPPORTED,
    UNSUPPORTED_METHODS,
    explain_unknown,
    nearest,
)
from rllib.config.plain import plain
from rllib.config.sections import SECTIONS, Section, Sections
from rllib.config.types import Once, explicit, looks_scheduled
from rllib.errors import ConfigError, Problem

MODEL_NAMES = ("model", "model_config")
"""The attribute and the setting of the networks' shape."""

# RLlib's names of settings in dicts, where they differ from those of its builder.
_DICT_NAMES = {"lambda": "lambda_", "callbacks": "callbacks_class", "framework_str": "framework"}


class _ModelConfig:
    """``model_config`` of a class is pydantic's; of a config, as in RLlib, the networks' shape."""

    def __init__(self, of_class: ConfigDict) -> None:
        self.of_class = of_class

    def __get__(self, config: "ConfigBuilder | None", owner: type) -> ConfigDict | ModelConfig:
        return self.of_class if config is None else config.model


class ConfigBuilder(Sections):
    """All settings of all sections, with one builder method per section.

    Raises:
        ConfigError: from the constructor, the builder methods and assignment, naming every key that
            is wrong and the nearest right one.
    """

    _is_frozen: bool = PrivateAttr(False)

    @classmethod
    def __pydantic_init_subclass__(cls, **others: Any) -> None:
        super().__pydantic_init_subclass__(**others)
        type.__setattr__(cls, "model_config", _ModelConfig(cls.model_config))

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            hidden = hidden_by_another("model_config", values.get("model_config"))
            raise ConfigError([*self.explain(error), *hidden]) from None

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
        return self._set("rl_module", self._merged(settings))

    def evaluation(self, **settings: Any) -> Self:
        """Set when and how the policy is evaluated (``EvaluationSection``)."""
        return self._set("evaluation", self._merged(settings))

    def fault_tolerance(self, **settings: Any) -> Self:
        """Set what happens when an env runner fails (``FaultToleranceSection``)."""
        return self._set("fault_tolerance", settings)

    def multi_agent(self, **settings: Any) -> Self:
        """Set which policy acts for which agent (``MultiAgentSection``)."""
        return self._set("multi_agent", self._merged(settings))

    def callbacks(self, callbacks_class: Any = None, **settings: Any) -> Self:
        """Set code of one's own (``CallbacksSection``): one or several classes, or functions."""
        given = {} if callbacks_class is None else {"callbacks_class": callbacks_class}
        return self._set("callbacks", settings | given)

    def resources(self, **settings: Any) -> Self:
        """Set who is placed where (``ResourcesSection``)."""
        return self._set("resources", settings)

    def python_environment(self, **settings: Any) -> Self:
        """Set environment variables (``PythonEnvironmentSection``)."""
        return self._set("python_environment", settings)

    def debugging(self, **settings: Any) -> Self:
        """Set the seed (``DebuggingSection``)."""
        return self._set("debugging", settings)

    def reporting(self, **settings: Any) -> Self:
        """Set what is written while training (``ReportingSection``)."""
        return self._set("reporting", settings)

    def checkpointing(self, **settings: Any) -> Self:
        """Set when checkpoints are written (``CheckpointingSection``)."""
        return self._set("checkpointing", settings)

    def framework(self, framework: str = "torch", **settings: Any) -> Self:
        """Accept ``"torch"``, which is the only one."""
        return self._set("framework", settings | {"framework": framework})

    def api_stack(self, **settings: Any) -> Self:
        """Accept RLlib's new API stack, which is the only one."""
        return self._set("api_stack", settings)

    def experimental(self, **settings: Any) -> Self:
        """Accept those of RLlib's experimental settings that change nothing."""
        return self._set("experimental", settings)

    def _set(self, method: str, settings: Mapping[str, Any]) -> Self:
        """Set everything, and report all that is wrong with it."""
        problems: list[Problem] = []
        for key, value in settings.items():
            try:
                self._set_in(method, key, value)
            except ConfigError as error:
                problems += [Problem(p.text, p.key, f"{method}()") for p in error.problems]
        if problems:
            raise ConfigError(problems)
        return self

    def _set_in(self, method: str, key: str, value: Any) -> None:
        home = self.section_of(key)
        if home not in (None, method) and ALSO_IN.get(key) != method:
            text = f"belongs to another section: write .{home}({key}=...)"
            raise ConfigError(Problem(text, key))
        if key in FIXED.get(method, ()):
            _check_fixed(method, key, value)
        else:
            self._assign(key, value)

    def _assign(self, key: str, value: Any) -> None:
        if self._field_of(key) is None:  # also of names with an underscore, as RLlib has them
            raise ConfigError(Problem(explain_unknown(key, self.public_names()), key))
        setattr(self, key, value)

    def _merged(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Overrides are added to those that are there, so that an algorithm's own stay."""
        for key in ("evaluation_config", "algorithm_config_overrides_per_module"):
            given = explicit(settings.get(key))
            if isinstance(given, dict):
                settings = settings | {key: (self[key] or {}) | given}
        return settings

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            return super().__setattr__(name, value)
        if self._is_frozen:
            raise ConfigError(Problem("the config is frozen; change a .copy() of it", name))
        if self._field_of(name) is None:
            raise ConfigError(Problem(explain_unknown(name, self.public_names()), name))
        try:
            super().__setattr__(cast(str, self._field_of(name)), value)
        except ValidationError as error:
            hidden = hidden_by_another("model_config", value) if name in MODEL_NAMES else ()
            raise ConfigError([*self.explain(error), *hidden]) from None

    def __getattr__(self, name: str) -> Any:
        if name in UNSUPPORTED_METHODS:
            reason = UNSUPPORTED_METHODS[name]
            raise AttributeError(f"{type(self).__name__}.{name}() is not supported: {reason}")
        if name.startswith("_"):
            return super().__getattr__(name)  # type: ignore[misc]  # pydantic hides it
        raise AttributeError(f"{type(self).__name__}.{name}: {self._explain_attribute(name)}")

    def _explain_attribute(self, name: str) -> str:
        """What was probably meant: a setting, a builder method or another attribute."""
        text = explain_unknown(name, self.public_names())
        classes = [cls for cls in type(self).__mro__ if issubclass(cls, ConfigBuilder)]
        methods = [each for cls in classes for each in vars(cls) if not each.startswith("_")]
        if name in (*RENAMED, *UNSUPPORTED) or not (near := nearest(name, methods)):
            return text.replace("key", "setting or method")
        settings = nearest(name, self.public_names())
        best = nearest(name, [near, settings]) if settings else near
        return f"unknown setting or method; did you mean {best!r}?"

    # As a dict, which RLlib's configs pretend to be.

    def __getitem__(self, key: str) -> Any:
        field = self._field_of(_DICT_NAMES.get(key, key))
        if field is None:
            raise KeyError(f"{key}: {explain_unknown(key, self.public_names())}")
        return getattr(self, field)

    def __setitem__(self, key: str, value: Any) -> None:
        name = _DICT_NAMES.get(key, key)
        method = next((method for method, keys in FIXED.items() if name in keys), None)
        if method:
            _check_fixed(method, name, value)
        else:
            self._assign(name, value)

    def __contains__(self, key: object) -> bool:
        return self._field_of(_DICT_NAMES.get(str(key), str(key))) is not None

    def get(self, key: str, default: Any = None) -> Any:
        """The setting ``key``, or ``default`` if there is none of that name."""
        try:
            return self[key]
        except KeyError:
            return default

    def keys(self) -> list[str]:
        """Names of all settings."""
        return list(self.public_names())

    def items(self) -> Iterator[tuple[str, Any]]:
        """Names and values of all settings."""
        return ((key, self[key]) for key in self.keys())

    def update_from_dict(self, config_dict: Mapping[str, Any]) -> Self:
        """Set everything in ``config_dict``, whatever its section; reports all that is wrong."""
        problems: list[Problem] = []
        for key, value in config_dict.items():
            try:
                self[key] = value
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)
        return self

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any]) -> Self:
        """Defaults, and what ``config_dict`` says."""
        return cls().update_from_dict(config_dict)

    @classmethod
    def overrides(cls, **settings: Any) -> dict[str, Any]:
        """Check ``settings`` and give them back: for evaluation, a policy or a module.

        Raises:
            ConfigError: naming every key that is wrong.
        """
        cls.from_dict(settings)
        return settings

    # Names and sections.

    @classmethod
    def public_names(cls) -> list[str]:
        """Names in builder, YAML and command line."""
        return list(cls.public_fields())

    @classmethod
    def public_fields(cls) -> dict[str, FieldInfo]:
        """Every setting by its public name, which differs from the attribute's for the model."""
        return {str(field.alias): field for field in cls.model_fields.values()}

    @classmethod
    def _field_of(cls, name: str) -> str | None:
        """The attribute behind a public name or an attribute's name."""
        if name in cls.model_fields:
            return name
        return next((f for f, field in cls.model_fields.items() if field.alias == name), None)

    @classmethod
    def field_behind(cls, key: str) -> FieldInfo | None:
        """The field that ``update_from_dict`` sets for a key, if there is one."""
        return cls.model_fields.get(cls._field_of(_DICT_NAMES.get(key, key)) or "")

    @classmethod
    def section_of(cls, key: str) -> str | None:
        """The section that the setting ``key`` belongs to; None if there is no such setting."""
        return next((name for name, keys in cls.section_keys().items() if key in keys), None)

    @classmethod
    def section_keys(cls) -> dict[str, list[str]]:
        """Every section with its keys, in the order in which they are written out."""
        sections: dict[str, list[str]] = {base.section: [] for base in SECTIONS}
        for name, field in cls.model_fields.items():
            owners = [base for base in cls.__mro__ if name in getattr(base, "model_fields", ())]
            # The last owner is the one that introduced it: a subclass may only change a default.
            section = cast(type[Section], owners[-1]).section
            sections.setdefault(section, []).append(str(field.alias))
        return sections

    @classmethod
    def explain(cls, error: ValidationError) -> list[Problem]:
        """Turn pydantic's findings into ours, with the nearest right name for an unknown key."""
        found: dict[str, list[ErrorDetails]] = {}
        for detail in error.errors(include_url=False):
            location = detail["loc"][:1] if _is_list_of_values(detail) else detail["loc"]
            found.setdefault(_key_path(cls, location), []).append(detail)
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

    @property
    def framework_str(self) -> str:
        """``"torch"``."""
        return "torch"

    @model_serializer(mode="plain")
    def to_dict(self) -> dict[str, Any]:
        """Flat plain data: JSON scalars, lists, dicts; a class or function as ``module:name``."""
        return {key: value for keys in self.to_sections().values() for key, value in keys.items()}

    def to_sections(self) -> dict[str, dict[str, Any]]:
        """The same as ``to_dict``, sectioned as in a YAML file."""
        return {
            section: {key: plain(self[key]) for key in keys}
            for section, keys in self.section_keys().items()
        }

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Show the settings that differ from their defaults, and no others."""
        for name, field in type(self).model_fields.items():
            if getattr(self, name) != field.get_default(call_default_factory=True):
                yield name, getattr(self, name)


def hidden_by_another(key: str, settings: Any) -> Iterator[Problem]:
    """Misspelt keys of a model that has a wrong value besides, which is found before them.

    A module of one's own has keys of its own, so only those count that are near to another.
    """
    if isinstance(settings, Mapping):
        known = ModelConfig.model_fields
        for name in (name for name in settings if name not in known and nearest(name, known)):
            yield Problem(explain_unknown(name, known), f"{key}.{name}")


def _check_fixed(method: str, key: str, value: Any) -> None:
    only, reason = FIXED[method][key]
    if value != only:
        raise ConfigError(Problem(f"{value!r} is not supported: {reason}", key))


def _problem(cls: type[ConfigBuilder], key: str, details: list[ErrorDetails]) -> Problem:
    """What pydantic found at one key; a union gives one finding per member, joined by "or"."""
    for detail in details:
        if detail["type"] == "value_error":  # one of ours, which says all there is to say
            return Problem(str(detail["ctx"]["error"]), key)
    if details[0]["type"] == "extra_forbidden":
        return Problem(explain_unknown(key, cls.public_names()), key)
    if looks_scheduled(details[0]["input"]) and key in cls.public_fields():
        return Problem(f"takes no schedule: {_once(cls.public_fields()[key]).reason}", key)
    if _is_list_of_values(details[0]):
        text = "should be a number, or a schedule [[timestep, value], ...] from timestep 0 on"
        return Problem(text, key)
    wants = " or ".join(detail["msg"].removeprefix("Input should be ") for detail in details)
    wants, value = wants.replace("a valid tuple", "a list"), details[0]["input"]
    return Problem(f"should be {wants}, got {value!r}{value_hint(value, wants)}", key)


def _is_list_of_values(detail: ErrorDetails) -> bool:
    """Whether a schedule was written as values without timesteps."""
    return "schedule" in detail["loc"] and detail["type"] == "tuple_type"


def _once(field: FieldInfo) -> Once:
    """Why a setting has one value."""
    return next((item for item in field.metadata if isinstance(item, Once)), Once())


def _key_path(cls: type[ConfigBuilder], location: tuple[str | int, ...]) -> str:
    """``model_config.fcnet_hiddens[1]``: names and indices, without the tags of union members."""
    head, *rest = location
    field = cls.model_fields.get(str(head))
    key = (field.alias if field else None) or str(head)
    if key == "model_config" and rest:
        key, rest = f"{key}.{rest[0]}", rest[1:]
    return key + "".join(f"[{part}]" for part in rest if isinstance(part, int))
