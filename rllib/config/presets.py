"""The configs that come with the package, by name."""

import importlib.resources
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rllib.config import yaml_tree

SUFFIXES = (".yaml", ".yml")
GOALS = ("env_runners/episode_return_mean", "evaluation/env_runners/episode_return_mean")


def preset_paths() -> dict[str, Path]:
    """Path of every preset by its name."""
    folder = importlib.resources.files("rllib.configs")
    files = [Path(str(file)) for file in folder.iterdir()]
    return {file.stem: file for file in files if file.suffix in SUFFIXES}


@dataclass(frozen=True)
class Preset:
    """What a preset trains, as its file says.

    Attributes:
        threshold: mean return that ends the run.
        env_steps: at which it ends at the latest.
    """

    name: str
    algorithm: str
    env: str
    threshold: float | None
    env_steps: float | None


def presets() -> Iterator[Preset]:
    """All presets by name."""
    for name, path in sorted(preset_paths().items()):
        yield _preset(name, yaml_tree.parse(path.read_text(encoding="utf-8"), name).value)


def _preset(name: str, tree: dict[str, Any]) -> Preset:
    stop = tree.get("stop") or {}
    threshold = next((stop[goal] for goal in GOALS if goal in stop), None)
    steps = stop.get("num_env_steps_sampled_lifetime")
    return Preset(name, tree["algorithm"], tree["environment"]["env"], threshold, steps)


def presets_table() -> str:
    """A line for each preset, and how to start one."""
    heads = ("preset", "algorithm", "environment", "return", "env steps")
    rows = [heads, *map(_row, presets())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join([*(_line(row, widths) for row in rows), "", "rllib train --config NAME"])


def _row(preset: Preset) -> tuple[str, ...]:
    env = preset.env.rpartition(":")[2]
    numbers = (preset.threshold, preset.env_steps)
    return preset.name, preset.algorithm, env, *("" if n is None else f"{n:,}" for n in numbers)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    """Texts to the left, numbers to the right."""
    cells = zip(row, widths, "<<<>>", strict=True)
    return " ".join(f"{cell:{side}{width}}" for cell, width, side in cells).rstrip()
