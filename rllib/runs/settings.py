"""The settings of a run as loggers show them: flat, and plain."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from rllib.config import AlgorithmConfig
from rllib.config.plain import differences
from rllib.registry import default_config

Settings = dict[str, bool | int | float | str]
"""By ``section.key``; what is no number and no text is JSON."""


def settings_in(folder: Path) -> Settings:
    """All of them, from a run's ``config.yaml``."""
    tree = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    return {path: _plain(value) for path, value in _leaves(tree) if value is not None}


def telling(config: AlgorithmConfig) -> Settings:
    """Those that are not the algorithm's defaults, by which runs are told apart."""
    default = default_config(config.algo_name).to_sections()
    found = {path: now for path, _, now in differences(default, config.to_sections())}
    values = {path: _plain(now) for path, now in found.items() if now is not None}
    return {"algorithm": config.algo_name} | values


def _leaves(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else json.dumps(value, default=str)
