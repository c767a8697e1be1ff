"""The page of the command line: its programs run, its commands and options exist."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from rllib.cli import app

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group


def test_the_programs_shown_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for program in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(program, names)


def test_the_commands_shown_exist_with_their_options() -> None:
    lines = [line.partition("#")[0] for line in PAGE.splitlines() if line.startswith("rllib ")]
    assert lines
    for line in lines:
        _, name, *arguments = shlex.split(line)
        options = {option for each in COMMANDS[name].params for option in each.opts}
        given = {word for word in arguments if word.startswith("--")}
        assert given <= options, line


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_says_what_it_does(name: str) -> None:
    assert len(COMMANDS[name].help or "") > 20
    assert all(each.help for each in COMMANDS[name].params if each.name != "help"), name
