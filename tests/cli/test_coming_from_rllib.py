"""What the page for users of RLlib says is so: its programs run, its lists are complete."""

import re
from pathlib import Path

import pytest
import yaml

from rllib.config import AlgorithmConfig
from rllib.config_model import ModelConfig

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
    config = AlgorithmConfig()
    for row in section("Defaults that differ").splitlines():
        if row.startswith("| `"):
            name, ours = (cell.strip(" `") for cell in row.split("|")[1:3])
            key, _, inner = name.partition(".")
            assert yaml.safe_load(ours) == (config[key][inner] if inner else config[key])


def test_the_config_shown_has_right_names() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    for heading, settings in yaml.safe_load(text).items():
        if heading != "algorithm":
            assert {AlgorithmConfig.section_of(key) for key in settings} == {heading}
    assert "width" not in ModelConfig.model_fields
