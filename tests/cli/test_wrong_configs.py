"""Typical slips: each is refused, with words that help, and without a traceback."""

from pathlib import Path

import pytest
from wrong_configs import ARGUMENTS, FILES, GOOD

from rllib.config.file import load_plan
from rllib.errors import ConfigError
from rllib.runs.failures import describe


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def complaint(text: str, *arguments: str) -> str:
    Path("my.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_plan("my.yaml", arguments)
    return describe(caught.value)


def test_there_are_a_hundred() -> None:
    assert len({*FILES, *ARGUMENTS}) >= 100
    Path("my.yaml").write_text(GOOD)
    assert load_plan("my.yaml").config.lr == 1e-3


@pytest.mark.parametrize(("text", "words"), FILES)
def test_a_wrong_file(text: str, words: str) -> None:
    said = complaint(text)
    assert words in said
    assert "Traceback" not in said
    assert "my.yaml" in said or "missing" in said


@pytest.mark.parametrize(("argument", "words"), ARGUMENTS)
def test_a_wrong_argument(argument: str, words: str) -> None:
    said = complaint(GOOD, argument)
    assert said.startswith("command line: ")
    assert words in said
