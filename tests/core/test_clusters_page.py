"""The page on many machines: its program runs, its numbers and commands are the code's."""

import os
import re
import subprocess
import sys
from pathlib import Path

from rllib.cli import app
from rllib.core.cluster import gateway

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clusters.md").read_text()


def test_the_program_of_the_page(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    script = tmp_path / "program.py"
    script.write_text(program)
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_what_the_page_says_of_time_and_size_is_so() -> None:
    assert f"of a node for {gateway.SILENT_S:g} s" in PAGE
    assert f"for {gateway.DEAD_S:g} s" in PAGE
    assert f"at most {gateway.MAX_MESSAGE // 2**20} MiB" in PAGE


def test_the_commands_of_the_page_are_there() -> None:
    known = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    assert set(re.findall(r"\brllib (start|stop|status|token|train)\b", PAGE)) <= known
