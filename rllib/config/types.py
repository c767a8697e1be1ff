"""Types of settings: numbers within limits, schedules, code by name, spaces."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveInt,
    Tag,
    WithJsonSchema,
)

from rllib import plugins
from rllib.config.spaces import read_space
from rllib.errors import ConfigError


def _public_name(attribute: str) -> str:
    """pydantic keeps the attribute ``model_config`` to itself, so in Python it is ``model``."""
    return "model_config" if attribute == "model" else attribute


SETTINGS = ConfigDict(
    strict=True,
    defer_build=True,
    extra="forbid",
    validate_assignment=True,
    use_attribute_docstrings=True,
    allow_inf_nan=False,
    populate_by_name=True,
    alias_generator=_public_name,
)

T = TypeVar("T")
PositiveFloat = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Sizes = Annotated[tuple[PositiveInt, ...], Field(strict=False)]


# Schedules.


def _kind_of_value(value: object) -> str:
    return "schedule" if isinstance(value, list | tuple) else "value"


def _whole(value: object) -> object:
    """``1e6`` is how timesteps are written; YAML and Python read it as a float."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_points(points: tuple[tuple[int, Any], ...]) -> tuple[tuple[int, Any], ...]:
    steps = [step for step, _ in points]
    if not steps or steps[0] != 0:
        raise ValueError("a schedule [[timestep, value], ...] begins at timestep 0")
    if sorted(set(steps)) != steps:
        raise ValueError(f"the timesteps of a schedule rise from point to point, got {steps}")
    return points


Timestep = Annotated[NonNegativeInt, BeforeValidator(_whole)]
Schedule = Annotated[
    tuple[Annotated[tuple[Timestep, T], Field(strict=False)], ...],
    Field(strict=False),
    AfterValidator(_check_points),
]


def _kind_of_pair(value: object) -> str:
    """Of what may be a pair of numbers itself."""
    is_points = isinstance(value, list | tuple) and any(isinstance(x, list | tuple) for x in value)
    return "schedule" if is_points else "value"


NStep = PositiveInt | Annotated[tuple[PositiveInt, PositiveInt], Field(strict=False)]
"""A number of steps, or the fewest and the most."""

if TYPE_CHECKING:
    # What trains reads ``config.at(timestep)``, where a setting has the type of its values.
    ScheduleOr = Annotated[T, "or a schedule"]
    NStepSetting = NStep
else:
    ScheduleOr = Annotated[
        Annotated[T, Tag("value")] | Annotated[Schedule[T], Tag("schedule")],
        Discriminator(_kind_of_value),
    ]
    """A value, or ``[[timestep, value], ...]``: piecewise linear in the env steps sampled so far,
    whole numbers rounded to such, the first point at timestep 0; after the last one its value stays
    (``rllib.schedules.value_at``)."""

    NStepSetting = Annotated[
        Annotated[NStep, Tag("value")] | Annotated[Schedule[PositiveInt], Tag("schedule")],
        Discriminator(_kind_of_pair),
    ]
    """The same of ``NStep``; the values of a schedule are numbers."""


@dataclass(frozen=True)
class Once:
    """Marks a number that a run has but once, and says why it cannot have a schedule."""

    reason: str = "it holds for a whole run"


def looks_scheduled(value: object) -> bool:
    """Whether ``[[timestep, value], ...]`` was meant."""
    return _kind_of_pair(value) == "schedule" and all(_is_point(x) for x in value)  # type: ignore[attr-defined]


def _is_point(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], int | float)


class Mark(Enum):
    """Marks settings that are more than data, besides those of code."""

    SETTINGS = "has settings within, at whatever depth"
    ENVIRON = "sets environment variables"


def _no_limit(value: object) -> object:
    """An infinite limit, by which RLlib's scripts say that there is none."""
    return None if value == float("inf") else value


Limit = Annotated[ScheduleOr[PositiveFloat] | None, BeforeValidator(_no_limit)]
"""Of something that may be as large as it likes where this is null, or infinite."""

VERY_LONG_S = 1e6


def _very_long(value: object) -> object:
    return VERY_LONG_S if value is None else value


Patience = Annotated[PositiveFloat, BeforeValidator(_very_long)]
"""Seconds until it is an error; null for a million, which is eleven days."""


# Code: classes and functions, in a file by name.


def _load(value: object, group: str = "") -> object:
    try:
        return plugins.load(value, group) if isinstance(value, str) else value
    except ConfigError as error:
        raise ValueError(str(error)) from error


CODE = WithJsonSchema({"type": "string", "description": "module:Name"})
"""Marks the settings whose text is imported."""

Code = Annotated[Callable[..., Any], BeforeValidator(_load), CODE]
"""A class or function; ``module:Name`` in a file."""
ModuleClass = Annotated[
    Callable[..., Any], BeforeValidator(partial(_load, group=plugins.MODULES)), CODE
]
"""The same, or the name of an entry point of the group ``rllib.modules``."""
CallbackClass = Annotated[
    Callable[..., Any], BeforeValidator(partial(_load, group=plugins.CALLBACKS)), CODE
]
"""The same, or the name of an entry point of the group ``rllib.callbacks``."""


def _one_or_many(value: object) -> object:
    """A single item is a list of one; None is none."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Codes = Annotated[tuple[Code, ...], BeforeValidator(_one_or_many)]
"""A class or function, or a list of them."""
CallbackClasses = Annotated[tuple[CallbackClass, ...], BeforeValidator(_one_or_many)]
"""A callback class, or a list of them."""

LoggerClass = Annotated[
    Callable[..., Any], BeforeValidator(partial(_load, group=plugins.LOGGERS)), CODE
]
LoggerClasses = Annotated[tuple[LoggerClass, ...], BeforeValidator(_one_or_many)]
"""What makes a ``rllib.runs.logger_thread.Logger``, by a name of the group ``rllib.loggers`` or as
``module:Name``; or a list of such."""


# Others.


def explicit(config: object) -> object:
    """Of a config, what was set in it; anything else as it is."""
    if not isinstance(config, BaseModel):
        return config
    fields = type(config).model_fields
    return {str(fields[name].alias): getattr(config, name) for name in config.model_fields_set}


Overrides = Annotated[dict[str, Any], BeforeValidator(explicit), Mark.SETTINGS]
"""Settings that differ, by name, or a config, of which those count that were set in it."""


def _enum_value(value: object) -> object:
    return value.value if isinstance(value, Enum) else value


VectorizeMode = Annotated[
    Literal["auto", "sync", "async", "vector_entry_point", "ale", "envpool"],
    BeforeValidator(_enum_value),
]
"""A word, or a member of ``gymnasium.VectorizeMode``."""


def _activation(value: object) -> object:
    """RLlib's other names for the same functions."""
    if value is None:
        return "linear"
    return "silu" if value == "swish" else value


Activation = Annotated[Literal["tanh", "relu", "silu", "linear"], BeforeValidator(_activation)]
"""Also ``"swish"`` for ``"silu"`` and null for ``"linear"``."""

Space = Annotated[Any, BeforeValidator(read_space), WithJsonSchema({"type": "object"})]
"""A ``gymnasium.Space``; in a file ``{Box: {low: -1, high: 1, shape: [4], dtype: float32}}``."""
