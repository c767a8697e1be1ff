"""The program on the page "Coming from Ray" prints what the page says, on every engine."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from engines import ENGINES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "coming-from-ray.md").read_text()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_program_of_the_page(engine: str, tmp_path: Path) -> None:
    if engine == "ray" and find_spec("ray") is None:
        pytest.skip('Ray is not installed: pip install "rllib-scale[ray]"')
    program, printed = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", PAGE, re.S).groups()  # type: ignore[union-attr]
    script = tmp_path / "program.py"
    script.write_text(program)
    done = subprocess.run(
        [sys.executable, script, ENGINES[engine]],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed
