"""What the page for users of RLlib says is so: its programs run, its lists are complete."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from rllib.config import AlgorithmConfig
from rllib.config.model import ModelConfig
from rllib.config.names import UNSUPPORTED, UNSUPPORTED_METHODS
from rllib.registry import get_config_class

PAGE = (Path(__file__).parents[2] / "docs" / "coming-from-rllib.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_programs_shown_run(program: str) -> None:
    exec(program, {"__name__": "program"})


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def first_column(title: str) -> set[str]:
    rows = [line for line in section(title).splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split(" | ")[0])}


def test_all_settings_without_effect_are_listed() -> None:
    fields = AlgorithmConfig.public_fields()
    said = {key for key, field in fields.items() if "No effect here" in (field.description or "")}
    assert first_column("Settings without effect") == said


def test_the_defaults_shown_are_ours() -> None:
    for row in section("Defaults that differ").splitlines():
        if row.startswith("| `"):
            name, ours = (cell.strip(" `") for cell in row.split("|")[1:3])
            first, *keys = name.split(".")
            shared = first in AlgorithmConfig.public_names()
            found: Any = AlgorithmConfig() if shared else get_config_class(first)()
            for key in [first, *keys] if shared else keys:
                found = found[key]
            assert yaml.safe_load(ours) == found, name


def test_all_settings_that_there_are_not_are_listed_with_the_nearest() -> None:
    shown = {}
    for row in section("Settings that there are not").splitlines():
        if row.startswith("| `"):
            names, nearest = row.split("|")[1:3]
            shown |= dict.fromkeys(re.findall(r"`(\w+)`", names), nearest.strip(" `"))
    assert shown == UNSUPPORTED
    assert all(f"`{method}`" in PAGE for method in UNSUPPORTED_METHODS)


def test_the_imports_shown_are_the_changes_that_scripts_need() -> None:
    for row in PAGE.partition("## Programs")[0].splitlines():
        theirs, *ours = re.findall(r"`((?:from|import) [^`]*)`", row) or [""]
        if theirs and "ray.rllib" in theirs:
            assert ours == [theirs.replace("ray.rllib", "rllib")]
        for line in ours:
            exec(line, {})


def test_the_config_shown_has_right_names() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    for heading, settings in yaml.safe_load(text).items():
        if heading != "algorithm":
            assert {AlgorithmConfig.section_of(key) for key in settings} == {heading}
    assert "width" not in ModelConfig.model_fields
