"""``init(_system_config=...)``: the settings of Ray's by that name which mean something here.

Each has an environment variable of the same name behind ``RLLIB_``, which ``_system_config``
overrules.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

_LONGEST_MS = 86_400_000
"""Who looks less often than once a day does not look."""


class SystemConfig(NamedTuple):
    """See the module's text."""

    memory_usage_threshold: float = 0.95
    """Share of the machine's memory above which workers are ended; 0 to 1."""
    memory_monitor_refresh_ms: int = 250
    """How often to look, in milliseconds; 0 for never."""


def system_config(given: Mapping[str, Any] | None = None) -> SystemConfig:
    """The settings from ``given`` and the environment.

    Raises `TypeError` for what is no mapping, `ValueError` for an unknown name, and for a value
    that is no number or out of range.
    """
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"_system_config must map names of settings to values, got {given!r}")
    for name in given or {}:
        if name not in SystemConfig._fields:
            raise ValueError(f"_system_config has no {name!r} here{_nearest(name)}")
    threshold = _number("memory_usage_threshold", given)
    refresh_ms = _number("memory_monitor_refresh_ms", given)
    if not 0 <= threshold <= 1:
        raise ValueError(f"memory_usage_threshold is {threshold}: it is a share, from 0 to 1")
    if not 0 <= refresh_ms <= _LONGEST_MS:
        raise ValueError(
            f"memory_monitor_refresh_ms is {refresh_ms:g}: give milliseconds, up to those of a "
            "day, or 0 to switch the monitor off"
        )
    return SystemConfig(threshold, int(refresh_ms))


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name, SystemConfig._fields, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint or ':'} it has {', '.join(SystemConfig._fields)}"


def _number(name: str, given: Mapping[str, Any] | None) -> float:
    variable = f"RLLIB_{name.upper()}"
    value = (given or {}).get(name)
    if value is None:
        value = os.environ.get(variable) or SystemConfig._field_defaults[name]
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} (or {variable}) is {value!r}: give a number") from None
